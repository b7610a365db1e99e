//! Folders, and doing slow things on the threads that are meant for them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Runs file system calls where they may block.
pub(crate) async fn blocking<T, F>(work: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    // The only errors of a task are its panic and the end of the runtime.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|err| Err(io::Error::other(err)))
}

/// Makes a folder, for its owner only, and those above it that are missing. Their names are durable afterwards.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(folder);
    match made {
        Ok(()) => sync(parent(folder)),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound && parent(folder) != folder => {
            make(parent(folder))?;
            make(folder)
        }
        Err(err) => Err(err),
    }
}

/// Makes the names in a folder durable: fsync of a file covers its bytes, not its name (fsync(2)).
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_are_made_with_those_above_them() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("a/b/c");
        make(&folder).unwrap();
        make(&folder).unwrap();
        assert_eq!(std::fs::metadata(temp.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(folder.join("file"), "").unwrap();
        assert!(make(&folder.join("file")).is_err());
        assert!(make(&folder.join("file/d")).is_err());
    }
}
