//! Stopping in two steps: first drain, then kill.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells every part of a process when to stop, and waits for all of them.
///
/// *Stop* means: take nothing new, finish what was begun. *Kill* means: leave it, the lease will run out and somebody
/// else goes on.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nobody has asked to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires when nothing new is to be taken.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Fires when time is up.
    #[must_use]
    pub fn kill(&self) -> &CancellationToken {
        &self.kill
    }

    /// Runs a task that [`Shutdown::drain`] waits for.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns, so that every task is waited for")]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tasks.track_future(task))
    }

    /// Says stop, waits up to `grace` for every task, then says kill and waits a little more.
    /// Returns whether everything ended within the grace.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return true;
        }
        self.kill.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        false
    }
}
