//! The accounts in the table `user`.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest};
use microserve_core::open::SecretUrl;
use microserve_core::pool::PoolState;

use crate::connections::Connections;
use crate::{connections, migrate, settings};

/// Accounts in MySQL or MariaDB. Clones share their connections: at most ten.
#[derive(Clone)]
pub struct MySqlAccounts {
    connections: Connections,
}

const INSERT: &str = "INSERT INTO `user`
    (account_id, email, email_key, password, admin, disabled, created_at, password_changed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const FIND: &str = "SELECT account_id, email, password, admin, disabled, created_at, password_changed_at
    FROM `user` WHERE email_key = ? AND account_id IS NOT NULL";
const GET: &str = "SELECT account_id, email, password, admin, disabled, created_at, password_changed_at
    FROM `user` WHERE account_id = ? AND email_key IS NOT NULL";
const LIST: &str = "SELECT account_id, email, password, admin, disabled, created_at, password_changed_at
    FROM `user` WHERE email_key > ? AND account_id IS NOT NULL ORDER BY email_key LIMIT ?";
const SET_PASSWORD: &str = "UPDATE `user` SET password = ?, password_changed_at = ? WHERE account_id = ?";
// Compared as bytes: the column's own idea of equality may ignore case.
const REHASH: &str = "UPDATE `user` SET password = ?
    WHERE account_id = ? AND CAST(password AS BINARY) = CAST(? AS BINARY)";
const SET_DISABLED: &str = "UPDATE `user` SET disabled = ? WHERE account_id = ?";
const DELETE: &str = "DELETE FROM `user` WHERE account_id = ?";
// Only to an account that is there.
const INSERT_API_KEY: &str = "INSERT INTO microserve_api_key
    (digest, id, account_id, name, scopes, created_at, expires_at)
    SELECT ?, ?, account_id, ?, ?, ?, ? FROM `user` WHERE account_id = ?";
const FIND_API_KEY: &str = "SELECT digest, id, account_id, name, scopes, created_at, expires_at
    FROM microserve_api_key WHERE digest = ?";
const API_KEYS: &str = "SELECT digest, id, account_id, name, scopes, created_at, expires_at
    FROM microserve_api_key WHERE account_id = ? ORDER BY created_at, id";
const DELETE_API_KEY: &str = "DELETE FROM microserve_api_key WHERE account_id = ? AND id = ?";
const DELETE_API_KEYS: &str = "DELETE FROM microserve_api_key WHERE account_id = ?";
const TALLY: &str = "SELECT count, at FROM microserve_tally WHERE name = ?";
const ADD_TALLY: &str = "INSERT INTO microserve_tally (name, count, at) VALUES (?, ?, ?)";
const REMOVE_TALLY: &str = "DELETE FROM microserve_tally WHERE name = ? AND count = ? AND at = ?";
const CHANGE_TALLY: &str = "UPDATE microserve_tally SET count = ?, at = ? WHERE name = ? AND count = ? AND at = ?";
const FORGET_TALLIES: &str = "DELETE FROM microserve_tally WHERE at < ?";
// An empty table will do; one that is missing, or may not be read, will not.
const PING: &str = "SELECT 1 FROM `user` LIMIT 1";

type Row = (String, String, String, bool, bool, i64, i64);
type KeyRow = (String, String, String, String, String, i64, Option<i64>);

impl MySqlAccounts {
    /// Opens `mysql://user:password@host:port/database`. Connects once, for two seconds at most, so that a wrong URL or
    /// a server that is not there shows here and now; later on, connections are made when they are wanted.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the server can't be reached, [`AuthError::Internal`] when the URL or the
    /// password is wrong.
    pub async fn open(url: &SecretUrl) -> Result<Self, AuthError> {
        let connections = Connections::new(settings::parse(url)?);
        connections::close(connections.own().await?).await;
        Ok(Self { connections })
    }

    /// Brings the table up to date, and makes it if it isn't there; then gives an account id to rows that have none.
    /// Waits for others who work on the table for as long as `patience`. With nothing to change, it needs no right to
    /// change the table.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the server can't be reached or the table is in use, [`AuthError::Internal`] when
    /// the user may not change it or it has other columns of the same names.
    pub async fn migrate(&self, patience: Duration) -> Result<(), AuthError> {
        let mut conn = self.connections.own().await?;
        migrate::bring_up_to_date(&self.connections, &mut conn, patience).await?;
        migrate::adopt(&mut conn).await?;
        connections::close(conn).await;
        Ok(())
    }
}

#[async_trait]
impl AuthStore for MySqlAccounts {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        let insert = sqlx::query(INSERT)
            .bind(account.id.to_string())
            .bind(account.email.as_str())
            .bind(account.email.canonical())
            .bind(account.password.as_str())
            .bind(account.admin)
            .bind(account.disabled)
            .bind(account.created_at.as_millisecond())
            .bind(account.password_changed_at.as_millisecond());
        match self.connections.execute(insert).await {
            Err(failure) if failure.is_duplicate() => Err(AuthError::AlreadyExists),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        let rows = self.connections.fetch(sqlx::query_as(FIND).bind(email.canonical())).await?;
        rows.into_iter().next().map(account).transpose()
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        let rows = self.connections.fetch(sqlx::query_as(GET).bind(id.to_string())).await?;
        rows.into_iter().next().map(account).transpose()
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        // Every address is behind the empty text.
        let after = after.map(Email::canonical).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.connections.fetch(sqlx::query_as(LIST).bind(after).bind(limit)).await?;
        rows.into_iter().map(account).collect()
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        let set = sqlx::query(SET_PASSWORD).bind(to.as_str()).bind(changed_at.as_millisecond()).bind(id.to_string());
        if self.connections.execute(set).await? == 0 { Err(AuthError::NotFound) } else { Ok(()) }
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        let set = sqlx::query(REHASH).bind(to.as_str()).bind(id.to_string()).bind(from.as_str());
        Ok(self.connections.execute(set).await? > 0)
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        let set = sqlx::query(SET_DISABLED).bind(disabled).bind(id.to_string());
        if self.connections.execute(set).await? == 0 { Err(AuthError::NotFound) } else { Ok(()) }
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.connections.execute(sqlx::query(DELETE).bind(id.to_string())).await?;
        self.connections.execute(sqlx::query(DELETE_API_KEYS).bind(id.to_string())).await?;
        Ok(())
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        let insert = sqlx::query(INSERT_API_KEY)
            .bind(key.digest.as_str())
            .bind(key.id.to_string())
            .bind(&key.name)
            .bind(key.scopes.to_string())
            .bind(key.created_at.as_millisecond())
            .bind(key.expires_at.map(Timestamp::as_millisecond))
            .bind(key.account.to_string());
        if self.connections.execute(insert).await? == 0 { Err(AuthError::NotFound) } else { Ok(()) }
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        let rows = self.connections.fetch(sqlx::query_as(FIND_API_KEY).bind(digest.as_str())).await?;
        rows.into_iter().next().map(api_key).transpose()
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        let rows = self.connections.fetch(sqlx::query_as(API_KEYS).bind(account.to_string())).await?;
        rows.into_iter().map(api_key).collect()
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        let delete = sqlx::query(DELETE_API_KEY).bind(account.to_string()).bind(id.to_string());
        Ok(self.connections.execute(delete).await? > 0)
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        let rows = self.connections.fetch(sqlx::query_as(TALLY).bind(name.as_str())).await?;
        rows.into_iter().next().map(tally).transpose()
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        let [from, to] = [from, to].map(|tally| tally.map(|tally| (tally.count, tally.at.as_millisecond())));
        let name = name.as_str();
        let swap = match (from, to) {
            (None, None) => {
                let rows: Vec<(u32, i64)> = self.connections.fetch(sqlx::query_as(TALLY).bind(name)).await?;
                return Ok(rows.is_empty());
            }
            (None, Some((count, at))) => sqlx::query(ADD_TALLY).bind(name).bind(count).bind(at),
            (Some((count, at)), None) => sqlx::query(REMOVE_TALLY).bind(name).bind(count).bind(at),
            (Some(from), Some(to)) => {
                sqlx::query(CHANGE_TALLY).bind(to.0).bind(to.1).bind(name).bind(from.0).bind(from.1)
            }
        };
        match self.connections.execute(swap).await {
            Err(failure) if failure.is_duplicate() => Ok(false),
            outcome => Ok(outcome? > 0),
        }
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.connections.execute(sqlx::query(FORGET_TALLIES).bind(before.as_millisecond())).await?;
        Ok(())
    }

    fn pool(&self) -> Option<PoolState> {
        Some(self.connections.state())
    }

    async fn ping(&self) -> Result<(), AuthError> {
        self.connections.execute(sqlx::query(PING)).await?;
        Ok(())
    }
}

fn account((id, email, password, admin, disabled, created_at, changed_at): Row) -> Result<Account, AuthError> {
    Ok(Account {
        id: id.parse().map_err(|err| AuthError::Internal(Box::new(err)))?,
        email: email.parse().map_err(|err| AuthError::Internal(Box::new(err)))?,
        password: PasswordHash::from_stored(password),
        admin,
        disabled,
        created_at: Timestamp::from_millisecond(created_at).map_err(|err| AuthError::Internal(err.into()))?,
        password_changed_at: Timestamp::from_millisecond(changed_at).map_err(|err| AuthError::Internal(err.into()))?,
    })
}

fn api_key((digest, id, account, name, scopes, created_at, expires_at): KeyRow) -> Result<ApiKey, AuthError> {
    let moment = |ms| Timestamp::from_millisecond(ms).map_err(|err| AuthError::Internal(err.into()));
    Ok(ApiKey {
        id: id.parse().map_err(|err| AuthError::Internal(Box::new(err)))?,
        account: account.parse().map_err(|err| AuthError::Internal(Box::new(err)))?,
        name,
        digest: KeyDigest::from_stored(digest),
        scopes: scopes.parse().unwrap_or_default(),
        created_at: moment(created_at)?,
        expires_at: expires_at.map(moment).transpose()?,
    })
}

fn tally((count, at): (u32, i64)) -> Result<Tally, AuthError> {
    let at = Timestamp::from_millisecond(at).map_err(|err| AuthError::Internal(err.into()))?;
    Ok(Tally { count, at })
}

#[cfg(test)]
mod tests {
    use microserve_testkit::servers::mariadb::Server;

    use super::*;

    #[tokio::test]
    async fn look_ups_use_an_index_and_sort_nothing() {
        let server = Server::start();
        let url = server.database();
        let database = url.rsplit('/').next().unwrap();
        let accounts = MySqlAccounts::open(&url.parse().unwrap()).await.unwrap();
        accounts.migrate(Duration::from_secs(10)).await.unwrap();
        // Enough that reading all of them is not the cheapest.
        server.sql(
            database,
            "SET max_recursive_iterations = 5000;
            INSERT INTO user (email, password, account_id, email_key)
            WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
            SELECT CONCAT(n, '@example.com'), 'x', LPAD(n, 24, '0'), CONCAT(n, '@example.com') FROM n; ANALYZE TABLE user",
        );
        let id = format!("'{:024}'", 7);
        for (statement, values, index) in [
            (FIND, vec!["'7@example.com'"], "email_key"),
            (GET, vec![&*id], "account_id"),
            (LIST, vec!["''", "20"], "email_key"),
            (LIST, vec!["'7@example.com'", "20"], "email_key"),
            (SET_PASSWORD, vec!["'y'", "1", &id], "account_id"),
            (REHASH, vec!["'y'", &id, "'x'"], "account_id"),
            (SET_DISABLED, vec!["1", &id], "account_id"),
            (DELETE, vec![&id], "account_id"),
        ] {
            let statement = values.iter().fold(statement.to_owned(), |text, value| text.replacen('?', value, 1));
            let plan = server.sql(database, &format!("EXPLAIN FORMAT=JSON {statement}"));
            let plan = plan.replace("\\n", " ");
            assert!(plan.contains(&format!("\"key\": \"{index}\"")), "{statement}\n{plan}");
            assert!(!plan.contains("\"ALL\"") && !plan.contains("filesort"), "{statement}\n{plan}");
        }
    }
}
