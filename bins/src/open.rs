//! Opening what may come up after us.

use std::time::Duration;

use microserve_core::Retryable;
use microserve_core::open::SecretUrl;
use tracing::{info, warn};

use crate::registry::{OpenError, Schemes};

/// Between two attempts to open something.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);

/// Opens what a URL names, and waits for it if it can't be reached yet.
///
/// # Errors
/// When trying again won't help.
pub(crate) async fn patiently<T>(schemes: &Schemes<T>, url: &SecretUrl) -> Result<T, OpenError> {
    let mut waited = false;
    loop {
        match schemes.open(url).await {
            Ok(opened) => {
                if waited {
                    info!("{url} is there");
                }
                return Ok(opened);
            }
            Err(err) if err.is_retryable() => {
                warn!(error = &err as &dyn std::error::Error, "waiting for {url}");
                waited = true;
                tokio::time::sleep(AGAIN).await;
            }
            Err(err) => return Err(err),
        }
    }
}
