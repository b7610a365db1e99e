//! Accounts, jobs and queue of microserve in one SQLite file.
