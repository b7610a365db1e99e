//! Drafts: files that are being written, under names that nobody looks at.
//!
//! Whoever writes a draft holds its lock. Drafts whose lock is free were left behind by a process that died, and are
//! swept away.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use microserve_core::blob::Fid;

/// A file that is being written. Dropping it removes it.
pub(crate) struct Draft {
    file: File,
    name: Name,
}

impl Draft {
    /// Starts a file in `folder`.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        loop {
            // Any random name would do.
            let path = folder.join(format!("{}.draft", Fid::random()));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            let draft = Self { file, name: Name(Some(path)) };
            match draft.file.lock() {
                // Where there are no locks nothing is swept either.
                Err(err) if err.kind() != io::ErrorKind::Unsupported => return Err(err),
                _ => {}
            }
            // A sweeper may have come between the file's birth and its lock. Then the file has no name any more.
            if draft.file.metadata()?.nlink() > 0 {
                return Ok(draft);
            }
        }
    }

    /// The file, to write to.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The file's bytes on the disk. If this fails, the file is given up: the kernel may have forgotten what it could
    /// not write, and a second fsync of the same file would then succeed for nothing.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives the file its name, unless there is one of that name.
    pub(crate) fn link(&self, to: &Path) -> io::Result<()> {
        fs::hard_link(self.name.path()?, to)
    }

    /// Gives the file its name, in place of one that had it.
    pub(crate) fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(self.name.path()?, to)?;
        self.name.0 = None;
        Ok(())
    }

    /// Removes the draft's own name at once, on a thread that may block.
    pub(crate) fn discard(mut self) {
        if let Some(path) = self.name.0.take() {
            // If it stays, the next sweep takes it.
            let _ = fs::remove_file(path);
        }
    }
}

/// A name that goes away with its value, unless it is kept.
pub(crate) struct Name(Option<PathBuf>);

impl Name {
    /// Takes responsibility for a name.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// Lets the name stay.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }

    fn path(&self) -> io::Result<&Path> {
        self.0.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        // Removing a large file takes a while, and futures are dropped where nothing may block.
        let remove = move || drop(fs::remove_file(path));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Removes what dead writers left in `folder`; returns how many there were.
pub(crate) fn sweep(folder: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            // Removed before the lock is: a writer that was about to lock it sees that it has lost its name.
            Ok(()) => match fs::remove_file(&path) {
                Ok(()) => swept += 1,
                // Its writer was only just done with it, or another sweeper was faster.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            },
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_dead_drafts_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut live = Draft::create(folder.path()).unwrap();
        live.file().write_all(b"x").unwrap();
        fs::write(folder.path().join("dead.draft"), "y").unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the live one stays");
        drop(live);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "until it is dropped");
    }

    #[test]
    fn writers_and_sweepers_get_along() {
        let (drafts, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |writer| {
            for n in 0..200 {
                let draft = Draft::create(drafts.path()).unwrap();
                draft.rename(&kept.path().join(format!("{writer}-{n}"))).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
            while !writers.iter().all(|writer| writer.is_finished()) {
                sweep(drafts.path()).unwrap();
            }
        });
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 400, "no draft lost its name");
    }
}
