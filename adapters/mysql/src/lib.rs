//! Accounts of microserve in MySQL (8 and later) or MariaDB (10.6 and later), for servers that share them.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use microserve_core::account::AuthStore;
//! use microserve_mysql::MySqlAccounts;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let accounts = MySqlAccounts::open(&"mysql://microserve:secret@db.example.com/auth".parse()?).await?;
//! accounts.migrate(Duration::from_secs(30)).await?;
//! let everybody = accounts.list(None, 100).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The tables
//!
//! Accounts live in the table `user`. One that is there already, with `id`, `email` and `password`, is kept: migrating
//! adds columns and gives each row an account id. What can't be an account (no e-mail address, or one that differs from
//! another row's in case only) stays as it is and is not used. Rows that others add get their account id at the next
//! migration. A password in plain text lets nobody in, unless `MICROSERVE_COMPAT=tutorial` says so: then it is hashed
//! when its owner logs in. `microserve user passwd` replaces it at any time. Failed logins are counted in the table
//! `microserve_tally`, under digests; `microserve_api_key` has what API keys may do, and their digests.
//!
//! # Rights
//!
//! Day-to-day work needs four rights on three tables. Making or changing them needs more, so let another user do that, once
//! for each version of microserve (`microserve user list --accounts mysql://owner:…`), and then grant the rest:
//!
//! ```sql
//! GRANT SELECT, INSERT, UPDATE, CREATE, ALTER ON auth.user TO 'owner'@'%';
//! GRANT CREATE ON auth.microserve_tally TO 'owner'@'%';
//! GRANT CREATE ON auth.microserve_api_key TO 'owner'@'%';
//! GRANT SELECT, INSERT, UPDATE, DELETE ON auth.user TO 'microserve'@'%';
//! GRANT SELECT, INSERT, UPDATE, DELETE ON auth.microserve_tally TO 'microserve'@'%';
//! GRANT SELECT, INSERT, DELETE ON auth.microserve_api_key TO 'microserve'@'%';
//! ```
//!
//! # TLS
//!
//! Off the loopback address the server's certificate is verified, for the name in the URL. `?ssl-ca=/path.pem` names an
//! authority of one's own; `?ssl-mode=disabled` does without TLS, in a network where nobody else listens. MySQL's
//! default way to log in (`caching_sha2_password`) wants TLS: without, it works only for users `IDENTIFIED WITH
//! mysql_native_password`, which MySQL 9 no longer has. The other way, encryption by RSA, is left out on purpose
//! (RUSTSEC-2023-0071).

mod accounts;
mod connections;
mod error;
mod inspect;
mod migrate;
mod settings;

pub use accounts::MySqlAccounts;
