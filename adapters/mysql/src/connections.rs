//! Connections: lent for a statement each, and never waited for without end.

use std::sync::Arc;
use std::time::Duration;

use microserve_core::pool::PoolState;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::query::{Query, QueryAs};
use sqlx::{Connection, FromRow, MySql, MySqlConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::Failure;

/// How long whoever logs in waits for an answer, be it that there is none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How much of that goes into getting a connection; the rest is for finding out why there is none.
const ACQUIRE: Duration = Duration::from_millis(1_400);
const PROBE: Duration = Duration::from_millis(400);
/// A server's default is 151 for all of its clients.
const MOST: u32 = 10;

#[derive(Clone)]
pub(crate) struct Connections {
    options: MySqlConnectOptions,
    pool: MySqlPool,
    /// A crowd that waits in vain sends one to find out why.
    probing: Arc<Semaphore>,
}

impl Connections {
    /// Connects to nobody yet.
    pub(crate) fn new(options: MySqlConnectOptions) -> Self {
        let pool = MySqlPoolOptions::new().max_connections(MOST).acquire_timeout(ACQUIRE);
        // A statement may have been given up half-way, because its time was over or its client gone. The pool asks such
        // a connection whether it is alive before it takes it back, and would wait for that for ever.
        let pool = pool.after_release(|conn, _| {
            Box::pin(async {
                timeout(PATIENCE, conn.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
            })
        });
        Self { pool: pool.connect_lazy_with(options.clone()), options, probing: Arc::new(Semaphore::new(1)) }
    }

    /// A connection of one's own, which ends with whatever it has locked when it is dropped.
    pub(crate) async fn own(&self) -> Result<MySqlConnection, Failure> {
        within(PATIENCE, MySqlConnection::connect_with(&self.options)).await
    }

    /// Runs a statement; how many rows it was about. (Not how many it changed: sqlx connects with `CLIENT_FOUND_ROWS`.)
    pub(crate) async fn execute(&self, statement: Query<'_, MySql, MySqlArguments>) -> Result<u64, Failure> {
        let done = async { Ok(statement.execute(&mut *self.lend().await?).await?.rows_affected()) };
        timeout(PATIENCE, done).await.unwrap_or(Err(Failure::slow(PATIENCE)))
    }

    /// Runs a query; its rows.
    pub(crate) async fn fetch<Row>(&self, query: QueryAs<'_, MySql, Row, MySqlArguments>) -> Result<Vec<Row>, Failure>
    where
        Row: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
    {
        let rows = async { Ok(query.fetch_all(&mut *self.lend().await?).await?) };
        timeout(PATIENCE, rows).await.unwrap_or(Err(Failure::slow(PATIENCE)))
    }

    pub(crate) fn state(&self) -> PoolState {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolState { open: self.pool.size(), idle, most: MOST }
    }

    async fn lend(&self) -> Result<PoolConnection<MySql>, Failure> {
        match self.pool.acquire().await {
            // The pool keeps to itself why it could not connect.
            Err(err @ sqlx::Error::PoolTimedOut) => Err(self.reason().await.unwrap_or(err.into())),
            outcome => Ok(outcome?),
        }
    }

    /// Why there is no connection to be had, if that can be found out.
    async fn reason(&self) -> Option<Failure> {
        let _alone = self.probing.try_acquire().ok()?;
        within(PROBE, MySqlConnection::connect_with(&self.options)).await.err()
    }
}

/// Takes leave of the server, which would otherwise log a client that vanished.
pub(crate) async fn close(conn: MySqlConnection) {
    let _it_is_over_anyway = within(PATIENCE, conn.close()).await;
}

/// Waits for the database, but not longer than this.
pub(crate) async fn within<T>(limit: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
    Ok(timeout(limit, answer).await.map_err(|_| Failure::slow(limit))??)
}
