//! Whether a folder takes files, and how many more.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use microserve_core::blob::Fid;
use microserve_core::inspect::{Fact, Step};

use crate::folder::{blocking, sync};

/// Finds out whether files can be written to a folder and reach the disk, and how much room is left. For a folder that
/// is not there yet, looks at the one in which it is going to be.
pub async fn inspect(folder: impl AsRef<Path>) -> Vec<Fact> {
    let folder = folder.as_ref().to_owned();
    let found = blocking(move || {
        let absolute = std::path::absolute(&folder)?;
        let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
        let mut facts = Vec::new();
        if there != absolute {
            facts.push(Fact::Unmade(format!("the folder {}", absolute.display())));
        }
        facts.push(match write(there).and_then(|()| free(there)) {
            Ok(free) => Fact::Writable { folder: there.display().to_string(), free },
            Err(err) => {
                let about = format!("{}: {err}", there.display());
                Fact::obstacle(Step::Use, io::Error::new(err.kind(), about))
            }
        });
        Ok(facts)
    });
    found.await.unwrap_or_else(|err| vec![Fact::obstacle(Step::Reach, err)])
}

/// Writes a file as blobs and mails are written, and takes it away again.
fn write(folder: &Path) -> io::Result<()> {
    // Several may look at the same folder at the same time.
    let path = folder.join(format!(".microserve-inspects-{}", Fid::random()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)?;
    sync(folder)
}

/// How many bytes are left for us (statvfs(3)).
fn free(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_left_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let facts = inspect(temp.path()).await;
        assert!(matches!(&facts[..], [Fact::Writable { free, .. }] if *free > 0), "{facts:?}");
        let facts = inspect(temp.path().join("a/b")).await;
        assert!(matches!(&facts[..], [Fact::Unmade(_), Fact::Writable { .. }]), "{facts:?}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_takes_no_files_is_an_obstacle() {
        let facts = inspect("/proc/blobs").await;
        assert!(matches!(&facts[..], [_, Fact::Obstacle { step: Step::Use, .. }]), "{facts:?}");
    }
}
