//! `microserve serve`: every role in one process.

use microserve_core::account::AuthStore;

use super::run::{print_config, until_stopped};
use super::{Outcome, say};
use crate::config::Serve;
use crate::registry::Registry;
use crate::server::Server;

pub(super) fn run(config: &Serve) -> Outcome {
    if config.process.print_config {
        return print_config(config);
    }
    until_stopped(
        &config.process,
        async |shutdown| {
            let server = Server::start(config, &Registry::embedded(), shutdown).await?;
            welcome(config, &server).await;
            Ok(server)
        },
        async |server, shutdown, grace| server.stop(shutdown, grace).await,
    )
}

/// Says what to do next.
async fn welcome(config: &Serve, server: &Server) {
    let data = config.stores.data.folder.display();
    let address = server.address;
    say(&format!("microserve {} listens on http://{address}, with its data in {data}", env!("CARGO_PKG_VERSION")));
    if matches!(has_accounts(&*server.stack.accounts).await, Some(false)) {
        say("There is no account yet. Add one in another terminal:");
        say(&format!("  microserve user add you@example.com --data {data}"));
    }
    say("Then log in, upload and download:");
    say(&format!("  microserve login --server http://{address}"));
    say("  microserve upload video.mkv --output .");
    say("The same with curl:");
    say(&format!("  curl -X POST http://{address}/login -u you@example.com:PASSWORD"));
    say(&format!(
        "  curl -X POST -F \"file=@./video.mkv\" -H \"Authorization: Bearer $TOKEN\" http://{address}/upload"
    ));
    say(&format!(
        "  curl -H \"Authorization: Bearer $TOKEN\" --output audio.mp3 \"http://{address}/download?fid=$FID\""
    ));
    match &config.stores.mailer.mailer {
        None => {
            say(&format!("Mails are written to {}, and not sent", config.stores.data.folder.join("mail").display()));
        }
        Some(url) => say(&format!("Mails go to {url}")),
    }
    say(&format!("Health: http://{}/readyz", server.ops_address));
}

async fn has_accounts(accounts: &dyn AuthStore) -> Option<bool> {
    accounts.list(None, 1).await.ok().map(|page| !page.is_empty())
}
