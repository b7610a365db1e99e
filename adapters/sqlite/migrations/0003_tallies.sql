-- How often something has happened lately, such as a login with a wrong password: see `TallyName`.
CREATE TABLE tallies (
    name  TEXT    PRIMARY KEY,
    count INTEGER NOT NULL,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tallies_oldest ON tallies (at);

PRAGMA user_version = 3;
