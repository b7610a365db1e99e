//! `microserve serve`: every role in one process.

use std::time::Duration;

use microserve_core::Shutdown;
use microserve_core::account::AuthStore;
use tracing::{info, warn};

use super::{Outcome, print, runtime, say};
use crate::config::Serve;
use crate::registry::Registry;
use crate::server::Server;
use crate::telemetry;

pub(super) fn run(config: &Serve) -> Outcome {
    if config.print_config {
        print(&format!("{config:#?}"))?;
        return Ok(());
    }
    telemetry::start(&config.log);
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let server = Server::start(config, &Registry::embedded(), &shutdown).await?;
        welcome(config, &server).await;
        wait_for_signal().await?;
        info!("stopping: finishing what was begun");
        if !server.stop(&shutdown, config.grace).await {
            warn!("not everything was finished in time; the next start goes on with it");
        }
        info!("stopped");
        Ok(())
    });
    // A transcoder that does not listen would keep the process alive for as long as it likes.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Says what to do next.
async fn welcome(config: &Serve, server: &Server) {
    let data = config.stores.data.display();
    let address = server.address;
    say(&format!("microserve {} listens on http://{address}, with its data in {data}", env!("CARGO_PKG_VERSION")));
    if matches!(has_accounts(&*server.stack.accounts).await, Some(false)) {
        say("There is no account yet. Add one in another terminal:");
        say(&format!("  microserve user add you@example.com --data {data}"));
    }
    say("Then log in, upload and download:");
    say(&format!("  curl -X POST http://{address}/login -u you@example.com:PASSWORD"));
    say(&format!(
        "  curl -X POST -F \"file=@./video.mkv\" -H \"Authorization: Bearer $TOKEN\" http://{address}/upload"
    ));
    say(&format!(
        "  curl -H \"Authorization: Bearer $TOKEN\" --output audio.mp3 \"http://{address}/download?fid=$FID\""
    ));
    match &config.stores.mailer {
        None => say(&format!("Mails are written to {}, and not sent", config.stores.data.join("mail").display())),
        Some(url) => say(&format!("Mails go to {url}")),
    }
    say(&format!("Health: http://{}/readyz", server.ops_address));
}

async fn has_accounts(accounts: &dyn AuthStore) -> Option<bool> {
    accounts.list(None, 1).await.ok().map(|page| !page.is_empty())
}

/// Waits for Ctrl-C, or for SIGTERM as sent by service managers.
async fn wait_for_signal() -> std::io::Result<()> {
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
