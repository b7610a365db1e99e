-- "msrv": says whose file this is, see `file microserve.db`.
PRAGMA application_id = 0x6d737276;

-- Times are milliseconds since 1970; ids are 24 hexadecimal characters.

CREATE TABLE accounts (
    id                  TEXT    PRIMARY KEY,
    email               TEXT    NOT NULL,
    -- The address in lower case: what makes it the same account.
    email_key           TEXT    NOT NULL UNIQUE,
    password            TEXT    NOT NULL,
    admin               INTEGER NOT NULL,
    disabled            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    password_changed_at INTEGER NOT NULL
) STRICT;

-- The body is the whole job as JSON; the other columns are what queries look at.
CREATE TABLE jobs (
    id         TEXT    PRIMARY KEY,
    version    INTEGER NOT NULL,
    owner      TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    due_at     INTEGER,
    body       TEXT    NOT NULL
) STRICT;

CREATE INDEX jobs_of_owner ON jobs (owner, created_at DESC, id DESC);
-- Most jobs are finished and never due again: they cost nothing here.
CREATE INDEX jobs_due ON jobs (due_at, id) WHERE due_at IS NOT NULL;

-- A message is visible from `visible_at` on. Taking it moves that moment to the end of the lease and sets a fresh
-- token; whoever has the token may settle it.
CREATE TABLE messages (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    queue       TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    visible_at  INTEGER NOT NULL,
    token       BLOB,
    dead_reason TEXT
) STRICT;

CREATE INDEX messages_in_line ON messages (queue, visible_at, seq);

PRAGMA user_version = 1;
