//! What the client remembers between two commands, in a folder that is for its owner only: tokens, and uploads that can
//! go on.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cli::Failure;
use crate::config::{Address, state_folder};

/// Nothing that is remembered is longer (bytes).
const LONGEST: u64 = 1 << 20;
/// Servers forget unfinished uploads sooner.
const STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folder.
pub(super) struct Store {
    folder: PathBuf,
}

/// Who is logged in where.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Logins {
    /// The server that is meant when none is named.
    pub(super) default: Option<String>,
    pub(super) servers: BTreeMap<String, Login>,
}

/// A login at one server.
#[derive(Deserialize, Serialize)]
pub(super) struct Login {
    pub(super) email: String,
    pub(super) token: String,
    /// Whether it was said that calls may be readable on their way.
    #[serde(default)]
    pub(super) insecure: bool,
}

impl Logins {
    pub(super) fn of(&self, address: &Address) -> Option<&Login> {
        self.servers.get(&address.to_string())
    }
}

impl Store {
    pub(super) fn open() -> Result<Self, Failure> {
        let folder = state_folder().ok_or_else(|| {
            Failure::new(Failure::FILE, "there is no home to remember anything in: set XDG_STATE_HOME or HOME")
        })?;
        Ok(Self { folder })
    }

    pub(super) fn logins(&self) -> Result<Logins, Failure> {
        Ok(read(&self.login_file())?.unwrap_or_default())
    }

    pub(super) fn remember_logins(&self, logins: &Logins) -> Result<(), Failure> {
        write(&self.login_file(), logins)
    }

    fn login_file(&self) -> PathBuf {
        self.folder.join("login.json")
    }

    /// The upload that was begun under this key, if it is remembered.
    pub(super) fn upload(&self, key: &str) -> Result<Option<String>, Failure> {
        read(&self.upload_file(key))
    }

    pub(super) fn remember_upload(&self, key: &str, id: &str) -> Result<(), Failure> {
        write(&self.upload_file(key), &id)
    }

    /// It is over.
    pub(super) fn forget_upload(&self, key: &str) -> Result<(), Failure> {
        let file = self.upload_file(key);
        match std::fs::remove_file(&file) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("remove", &file, &err)),
            _ => Ok(()),
        }
    }

    /// Forgets uploads that nobody went on with.
    pub(super) fn tidy(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.join("uploads")) else { return };
        for entry in entries.map_while(Result::ok) {
            let age = entry.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > STALE) {
                let _somebody_else_did = std::fs::remove_file(entry.path());
            }
        }
    }

    fn upload_file(&self, key: &str) -> PathBuf {
        self.folder.join("uploads").join(format!("{key}.json"))
    }
}

/// What a file says, if there is one. What others may read is not used: somebody may have the token by now.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed("open", path, &err)),
    };
    if !is_private(&file).map_err(|err| failed("look at", path, &err))? {
        let words = "can be read by others: `chmod 600` it, or remove it and log in again";
        return Err(Failure::new(Failure::REFUSED, format!("{} {words}", path.display())));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|err| failed("read", path, &err))?;
    let wrong = |err| Failure::new(Failure::FILE, format!("{} is damaged ({err}): remove it", path.display()));
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = make_private(folder).and_then(|()| {
        // For its owner only from the beginning (`tempfile` makes it so), and renamed when it is whole.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    });
    written.map_err(|err| failed("write", path, &err))
}

fn failed(what: &str, path: &Path, err: &io::Error) -> Failure {
    Failure::new(Failure::FILE, format!("can't {what} {}: {err}", path.display()))
}

#[cfg(unix)]
fn is_private(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 == 0)
}

/// The folder with those above it, as the specification wants them made.
#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn is_private(_file: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(folder)
}
