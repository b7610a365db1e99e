-- What machines log in with; see `ApiKey`. The digest stands for the key itself, which is kept nowhere.
CREATE TABLE api_keys (
    digest     TEXT    PRIMARY KEY,
    id         TEXT    NOT NULL,
    account    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_of_account ON api_keys (account, created_at, id);

PRAGMA user_version = 5;
