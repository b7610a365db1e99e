//! The keys that sign tokens: PEM files in a folder, made at the first start, and looked for again while running.
//!
//! A new key is told to others at once, and signs only when all of them have had the time to hear of it: else they would
//! refuse its first tokens. An old one can be removed when the last token that it has signed is no longer good.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use microserve_core::clock::{Clock, since};
use microserve_core::{BoxError, Shutdown};
use microserve_http::TokenKeys;
use tracing::{info, warn};

/// How often the folder is looked into.
const EVERY: Duration = Duration::from_secs(30);
/// After this long, every gateway has asked for the keys since a new one was there: they do so every five minutes.
const ANNOUNCED: Duration = Duration::from_secs(10 * 60);

/// Loads every `*.pem` in `folder`, in the order of their names: the last signs, all of them verify. Makes a first
/// one when there is none; else the folder need not be writable.
///
/// # Errors
/// When a file can't be read or written, or holds no Ed25519 key.
pub(crate) fn load_or_make(folder: &Path, clock: &dyn Clock) -> Result<TokenKeys, BoxError> {
    if let Some(keys) = load(folder, clock)? {
        return Ok(keys);
    }
    std::fs::create_dir_all(folder)?;
    restrict(folder, 0o700)?;
    make(folder, clock)?;
    load(folder, clock)?.ok_or_else(|| "the key that was just made is gone".into())
}

/// The same, if there are any.
///
/// # Errors
/// When a file can't be read, or holds no Ed25519 key.
pub(crate) fn load(folder: &Path, clock: &dyn Clock) -> Result<Option<TokenKeys>, BoxError> {
    let files = pem_files(folder)?;
    if files.is_empty() {
        return Ok(None);
    }
    let pems = files.iter().map(std::fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
    let ages = files.iter().map(|file| file.metadata()?.modified()).collect::<io::Result<Vec<_>>>()?;
    let keys = TokenKeys::from_pems(pems.iter().map(String::as_str))?;
    Ok(Some(keys.signing_with(signs(&ages, clock.now()))))
}

/// Which key signs: the last of those that have been there for long enough, or the first.
fn signs(written: &[SystemTime], now: Timestamp) -> usize {
    let is_known = |at: &SystemTime| Timestamp::try_from(*at).is_ok_and(|at| since(now, at) >= ANNOUNCED);
    written.iter().rposition(is_known).unwrap_or(0)
}

/// Takes what changes in the folder, until the server stops.
pub(crate) async fn keep_fresh(keys: &TokenKeys, folder: &Path, clock: &dyn Clock, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match load(folder, clock) {
            Ok(Some(fresh)) => {
                if keys.replace(&fresh) {
                    info!("took other keys for tokens: {keys:?}");
                }
            }
            Ok(None) => warn!("there are no keys for tokens any more: going on with those that were there"),
            Err(err) => warn!(error = &*err as &dyn std::error::Error, "can't read the keys for tokens again"),
        }
    }
}

fn pem_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(err),
    };
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "pem"));
    files.sort();
    Ok(files)
}

/// Writes a new key under a temporary name first: a crash never leaves half a key.
fn make(folder: &Path, clock: &dyn Clock) -> Result<(), BoxError> {
    let pem = TokenKeys::generate()?.to_pem();
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(pem.as_bytes())?;
    file.as_file().sync_all()?;
    let name = clock.now().strftime("%Y%m%dT%H%M%SZ.pem").to_string();
    match file.persist_noclobber(folder.join(name)) {
        Ok(_) => Ok(()),
        // Another process that starts at the same time was first: its key is as good.
        Err(err) if err.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(err.error.into()),
    }
}

#[cfg(unix)]
fn restrict(folder: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_folder: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_signs_when_everybody_knows_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ago = |minutes: u64| now - Duration::from_secs(minutes * 60);
        let signs = |ages: &[SystemTime]| signs(ages, Timestamp::try_from(now).unwrap());
        assert_eq!(signs(&[now]), 0, "the only one");
        assert_eq!(signs(&[ago(999), now]), 0);
        assert_eq!(signs(&[ago(999), ago(9)]), 0);
        assert_eq!(signs(&[ago(999), ago(11)]), 1);
        assert_eq!(signs(&[ago(999), ago(11), ago(1)]), 1);
        assert_eq!(signs(&[now, now]), 0, "all of them are new: a fresh mount");
    }
}
