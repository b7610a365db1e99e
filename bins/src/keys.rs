//! The keys that sign tokens: PEM files in a folder, made at the first start.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};

use microserve_core::BoxError;
use microserve_core::clock::Clock;
use microserve_http::TokenKeys;

/// Loads every `*.pem` in `folder`, in the order of their names: the last signs, all of them verify. Makes a first
/// one when there is none; else the folder need not be writable.
///
/// # Errors
/// When a file can't be read or written, or holds no Ed25519 key.
pub(crate) fn load_or_make(folder: &Path, clock: &dyn Clock) -> Result<TokenKeys, BoxError> {
    let mut files = pem_files(folder)?;
    if files.is_empty() {
        std::fs::create_dir_all(folder)?;
        restrict(folder, 0o700)?;
        make(folder, clock)?;
        files = pem_files(folder)?;
    }
    let pems = files.iter().map(std::fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
    Ok(TokenKeys::from_pems(pems.iter().map(String::as_str))?)
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
