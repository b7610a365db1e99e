//! The accounts in the file.

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest};
use microserve_core::pool::PoolState;

use crate::error::Failure;
use crate::{Rings, Sqlite, rows};

/// Accounts in a SQLite file.
#[derive(Clone)]
pub struct SqliteAccounts {
    file: Sqlite,
}

const INSERT: &str = "INSERT INTO accounts
    (id, email, email_key, password, admin, disabled, created_at, password_changed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
const FIND: &str = "SELECT id, email, password, admin, disabled, created_at, password_changed_at
    FROM accounts WHERE email_key = ?1";
const GET: &str = "SELECT id, email, password, admin, disabled, created_at, password_changed_at
    FROM accounts WHERE id = ?1";
const LIST: &str = "SELECT id, email, password, admin, disabled, created_at, password_changed_at
    FROM accounts WHERE email_key > ?1 ORDER BY email_key LIMIT ?2";
// Only of an account that is there.
const INSERT_API_KEY: &str = "INSERT INTO api_keys (digest, id, account, name, scopes, created_at, expires_at)
    SELECT ?1, ?2, id, ?4, ?5, ?6, ?7 FROM accounts WHERE id = ?3";
const FIND_API_KEY: &str = "SELECT digest, id, account, name, scopes, created_at, expires_at
    FROM api_keys WHERE digest = ?1";
const API_KEYS: &str = "SELECT digest, id, account, name, scopes, created_at, expires_at
    FROM api_keys WHERE account = ?1 ORDER BY created_at, id";
const DELETE_API_KEY: &str = "DELETE FROM api_keys WHERE account = ?1 AND id = ?2";
const TALLY: &str = "SELECT count, at FROM tallies WHERE name = ?1";
const FORGET_TALLIES: &str = "DELETE FROM tallies WHERE at < ?1";

type Row = (String, String, String, bool, bool, i64, i64);
type KeyRow = (String, String, String, String, String, i64, Option<i64>);

impl SqliteAccounts {
    pub(crate) fn new(file: Sqlite) -> Self {
        Self { file }
    }

    /// Makes a change of one statement, and says whether there was a row for it.
    async fn change<A>(&self, sql: &'static str, bind: A) -> Result<bool, Failure>
    where
        A: FnOnce(Query) -> Query + Send + 'static,
    {
        let change = self.file.writer.run(Rings::No, move |conn| {
            Box::pin(async move { Ok(bind(sqlx::query(sql)).execute(conn).await?.rows_affected()) })
        });
        Ok(change.await? > 0)
    }
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

#[async_trait]
impl AuthStore for SqliteAccounts {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        let account = account.clone();
        let inserted = self.change(INSERT, move |insert| {
            insert
                .bind(account.id.to_string())
                .bind(account.email.as_str().to_owned())
                .bind(account.email.canonical())
                .bind(account.password.as_str().to_owned())
                .bind(account.admin)
                .bind(account.disabled)
                .bind(account.created_at.as_millisecond())
                .bind(account.password_changed_at.as_millisecond())
        });
        if inserted.await? { Ok(()) } else { Err(AuthError::AlreadyExists) }
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        let row = sqlx::query_as(FIND).bind(email.canonical()).fetch_optional(&self.file.readers);
        row.await.map_err(Failure::from)?.map(account).transpose()
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        let row = sqlx::query_as(GET).bind(id.to_string()).fetch_optional(&self.file.readers);
        row.await.map_err(Failure::from)?.map(account).transpose()
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        // Every address is behind the empty text.
        let after = after.map(Email::canonical).unwrap_or_default();
        let page = sqlx::query_as(LIST).bind(after).bind(rows(limit)).fetch_all(&self.file.readers);
        page.await.map_err(Failure::from)?.into_iter().map(account).collect()
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError> {
        let to = to.as_str().to_owned();
        let sql = "UPDATE accounts SET password = ?2, password_changed_at = ?3 WHERE id = ?1";
        let changed = self.change(sql, move |q| q.bind(id.to_string()).bind(to).bind(changed_at.as_millisecond()));
        if changed.await? { Ok(()) } else { Err(AuthError::NotFound) }
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        let (from, to) = (from.as_str().to_owned(), to.as_str().to_owned());
        let sql = "UPDATE accounts SET password = ?3 WHERE id = ?1 AND password = ?2";
        Ok(self.change(sql, move |q| q.bind(id.to_string()).bind(from).bind(to)).await?)
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        let sql = "UPDATE accounts SET disabled = ?2 WHERE id = ?1";
        let changed = self.change(sql, move |q| q.bind(id.to_string()).bind(disabled));
        if changed.await? { Ok(()) } else { Err(AuthError::NotFound) }
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.change("DELETE FROM accounts WHERE id = ?1", move |q| q.bind(id.to_string())).await?;
        self.change("DELETE FROM api_keys WHERE account = ?1", move |q| q.bind(id.to_string())).await?;
        Ok(())
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        let key = key.clone();
        let inserted = self.change(INSERT_API_KEY, move |insert| {
            insert
                .bind(key.digest.as_str().to_owned())
                .bind(key.id.to_string())
                .bind(key.account.to_string())
                .bind(key.name)
                .bind(key.scopes.to_string())
                .bind(key.created_at.as_millisecond())
                .bind(key.expires_at.map(Timestamp::as_millisecond))
        });
        if inserted.await? { Ok(()) } else { Err(AuthError::NotFound) }
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        let row = sqlx::query_as(FIND_API_KEY).bind(digest.as_str()).fetch_optional(&self.file.readers);
        row.await.map_err(Failure::from)?.map(api_key).transpose()
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        let rows = sqlx::query_as(API_KEYS).bind(account.to_string()).fetch_all(&self.file.readers);
        rows.await.map_err(Failure::from)?.into_iter().map(api_key).collect()
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        Ok(self.change(DELETE_API_KEY, move |q| q.bind(account.to_string()).bind(id.to_string())).await?)
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        let row: sqlx::Result<Option<(u32, i64)>> =
            sqlx::query_as(TALLY).bind(name.as_str()).fetch_optional(&self.file.readers).await;
        row.map_err(Failure::from)?.map(tally).transpose()
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        let key = name.as_str().to_owned();
        let [from, to] = [from, to].map(|tally| tally.map(|tally| (tally.count, tally.at.as_millisecond())));
        let swapped = match (from, to) {
            (None, None) => return Ok(self.tally(name).await?.is_none()),
            (None, Some((count, at))) => {
                let sql = "INSERT INTO tallies (name, count, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
                self.change(sql, move |q| q.bind(key).bind(count).bind(at)).await
            }
            (Some((count, at)), None) => {
                let sql = "DELETE FROM tallies WHERE name = ?1 AND count = ?2 AND at = ?3";
                self.change(sql, move |q| q.bind(key).bind(count).bind(at)).await
            }
            (Some((count, at)), Some(to)) => {
                let sql = "UPDATE tallies SET count = ?4, at = ?5 WHERE name = ?1 AND count = ?2 AND at = ?3";
                self.change(sql, move |q| q.bind(key).bind(count).bind(at).bind(to.0).bind(to.1)).await
            }
        };
        Ok(swapped?)
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.change(FORGET_TALLIES, move |q| q.bind(before.as_millisecond())).await?;
        Ok(())
    }

    fn pool(&self) -> Option<PoolState> {
        Some(self.file.pool())
    }

    async fn ping(&self) -> Result<(), AuthError> {
        Ok(self.file.ping().await?)
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
    #[tokio::test]
    async fn lookups_use_an_index() {
        crate::queue::tests::assert_indexed(&[
            super::FIND,
            super::GET,
            super::LIST,
            super::FIND_API_KEY,
            super::API_KEYS,
            super::DELETE_API_KEY,
            super::TALLY,
            super::FORGET_TALLIES,
        ])
        .await;
    }
}
