//! How a process that serves runs: logs, a runtime, and an end by signal.

use std::fmt::Debug;
use std::time::Duration;

use microserve_core::{BoxError, Shutdown};
use tracing::{info, warn};

use super::{Outcome, print, runtime};
use crate::config::Process;
use crate::telemetry;

/// `--print-config`.
pub(super) fn print_config(config: &impl Debug) -> Outcome {
    print(&format!("{config:#?}"))?;
    Ok(())
}

/// Starts a service, waits for the signal to stop, and stops it: `stop` tells whether everything ended in time.
pub(super) fn until_stopped<S>(
    process: &Process,
    start: impl AsyncFnOnce(&Shutdown) -> Result<S, BoxError>,
    stop: impl AsyncFnOnce(&S, &Shutdown, Duration) -> bool,
) -> Outcome {
    let telemetry = telemetry::start(&process.log, process.log_format);
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let service = tokio::select! {
            service = start(&shutdown) => service?,
            signal = signal() => {
                signal?;
                info!("stopped before it had started");
                return Ok(());
            }
        };
        signal().await?;
        info!("stopping: finishing what was begun");
        if !stop(&service, &shutdown, process.grace).await {
            warn!("not everything was finished in time; the next start goes on with it");
        }
        info!("stopped");
        Ok(())
    });
    // A transcoder that does not listen would keep the process alive for as long as it likes.
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry.stop();
    outcome
}

/// Waits for Ctrl-C, or for SIGTERM as sent by service managers.
async fn signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done,
            _ = term.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
