//! `microserve get`: downloads an MP3.
//!
//! It grows beside where it will be, under a name that is made of its digest, so that the next attempt goes on with it,
//! and gets its name when its SHA-256 is right.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::ProgressBar;
use microserve_core::blob::Fid;
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use super::api::{self, Api, IDLE};
use super::name;
use super::patience::{Patience, Trouble};
use crate::cli::{Failure, Outcome, exists, print};
use crate::config::Client;

/// Download an MP3.
///
/// A download that breaks off goes on where it was. What was damaged on the way is noticed and not kept.
#[derive(Args)]
pub(crate) struct Get {
    /// The job's id, or the file id of the mail
    #[arg(value_name = "JOB|FID")]
    id: Fid,

    /// The file to write, or a folder for it; `-` is standard output [default: as the server calls it, in the current
    /// folder]
    #[arg(long, short, value_name = "FILE|DIR", default_value = ".", hide_default_value = true)]
    output: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Get) -> Outcome {
    super::run("interrupted; the same command goes on from here", async {
        let api = Api::signed_in(&args.client)?;
        if let Some(path) = fetch(&api, &args.id.to_string(), &Target::of(&args.output), args.force).await? {
            print(&path.display().to_string())?;
        }
        Ok(())
    })
}

/// Where an MP3 goes.
pub(super) enum Target {
    Named(PathBuf),
    /// Into a folder, as the server calls it.
    In(PathBuf),
    Stdout,
}

impl Target {
    /// What somebody means who writes this.
    pub(super) fn of(output: &Path) -> Self {
        let says_folder = output.as_os_str().as_encoded_bytes().ends_with(b"/");
        match output {
            output if output == Path::new("-") => Self::Stdout,
            output if says_folder || output.is_dir() => Self::In(output.to_owned()),
            output => Self::Named(output.to_owned()),
        }
    }
}

/// What the server has.
struct Offer {
    size: u64,
    /// Tells it from any other (RFC 9110 §8.8.3).
    etag: Option<String>,
    sha256: Option<[u8; 32]>,
    name: String,
}

impl Offer {
    fn of(response: &Response) -> Result<Self, Failure> {
        let headers = response.headers();
        let size = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(headers).map(|(_, size)| size),
            _ => text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        };
        let strange = || Failure::new(1, "the server does not say how long the MP3 is: is this a microserve gateway?");
        Ok(Self {
            size: size.ok_or_else(strange)?,
            etag: text(headers, &header::ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned),
            sha256: text(headers, &HeaderName::from_static("repr-digest")).and_then(sha256),
            name: name::from_disposition(text(headers, &header::CONTENT_DISPOSITION)),
        })
    }

    /// What it is called while it grows: the same for the same bytes, and nothing else's.
    fn draft_name(&self, id: &str) -> String {
        let digest = Sha256::digest(format!("{id} {:?} {}", self.etag, self.size));
        let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!(".microserve-{short}.part")
    }
}

/// Downloads the MP3 of a job or a fid; where it is, unless that is standard output.
pub(super) async fn fetch(api: &Api, id: &str, target: &Target, force: bool) -> Result<Option<PathBuf>, Failure> {
    // A byte tells as much as `HEAD`, and errors have their words.
    let query = [("fid", id)];
    let ask = || api.request_with(Method::GET, "download", &query).header(header::RANGE, "bytes=0-0");
    let offer = Offer::of(&api.call(ask).await?)?;
    let spool;
    let (folder, path) = match target {
        Target::Named(path) => (path.parent().filter(|folder| !folder.as_os_str().is_empty()), Some(path.clone())),
        Target::In(folder) => (Some(folder.as_path()), Some(folder.join(&offer.name))),
        Target::Stdout => {
            spool = tempfile::tempdir().map_err(|err| Failure::new(Failure::FILE, err))?;
            (Some(spool.path()), None)
        }
    };
    if let Some(path) = path.as_deref().filter(|path| !force && path.exists()) {
        return Err(exists(path));
    }
    let draft = Draft::open(&folder.unwrap_or(Path::new(".")).join(offer.draft_name(id)))?;
    let bar = super::byte_bar(offer.size, &offer.name);
    let outcome = Download { api, id, offer: &offer, bar: &bar }.finish(&draft).await;
    bar.finish_and_clear();
    outcome?;
    draft.check(&offer)?;
    match &path {
        Some(path) => draft.name(path, force)?,
        None => draft.print()?,
    }
    Ok(path)
}

/// A download on its way.
struct Download<'a> {
    api: &'a Api,
    id: &'a str,
    offer: &'a Offer,
    bar: &'a ProgressBar,
}

impl Download<'_> {
    async fn finish(&self, draft: &Draft) -> Outcome {
        let (mut patience, mut farthest) = (Patience::long(self.bar), 0);
        loop {
            let have = draft.len(self.offer.size)?;
            if have == self.offer.size {
                return Ok(());
            }
            // A server that begins anew each time is not waited for without end.
            if have > farthest {
                farthest = have;
                patience.renew();
            }
            self.bar.set_position(have);
            self.bar.reset_eta();
            if let Err(trouble) = self.go_on(draft, have).await {
                patience.after(trouble).await?;
            }
        }
    }

    /// Asks for what is missing, and writes what comes. Less is trouble.
    async fn go_on(&self, draft: &Draft, have: u64) -> Result<(), Trouble> {
        let query = [("fid", self.id)];
        let mut request = self.api.request_with(Method::GET, "download", &query);
        if let Some(etag) = self.offer.etag.as_ref().filter(|_| have > 0) {
            request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, etag);
        }
        let mut response = api::answer(request.send(), IDLE).await?;
        let offered = Offer::of(&response).map_err(Trouble::Ours)?;
        if (offered.size, &offered.etag) != (self.offer.size, &self.offer.etag) {
            return Err(Trouble::Ours(Failure::new(1, "the MP3 has changed while it was downloaded: try again")));
        }
        let start = content_range(response.headers()).map_or(0, |(start, _)| start);
        if start > have {
            return Err(Trouble::Ours(Failure::new(1, "the server sends another part than was asked for")));
        }
        let mut left = self.offer.size - start;
        draft.go_to(start).map_err(Trouble::Ours)?;
        self.bar.set_position(start);
        while left > 0 {
            let Some(piece) = api::piece(&mut response).await? else {
                return Err(Trouble::Line("the download broke off".to_owned()));
            };
            let fits = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            draft.write(&piece[..fits]).map_err(Trouble::Ours)?;
            self.bar.inc(fits as u64);
            left -= fits as u64;
        }
        Ok(())
    }
}

/// An MP3 that grows.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    /// What an earlier attempt has left, or a new one. It is one process's at a time.
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |err: io::Error| Failure::new(Failure::FILE, format!("can't write {}: {err}", path.display()));
        // Not through a link that somebody else has laid there.
        if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(Failure::new(Failure::FILE, format!("{} is in the way: remove it", path.display())));
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(Failure::new(Failure::FILE, "the same MP3 is being downloaded to there by somebody else"));
        }
        Ok(Self { file, path: path.to_owned() })
    }

    fn failed(&self, err: &io::Error) -> Failure {
        Failure::new(Failure::FILE, format!("can't write {}: {err}", self.path.display()))
    }

    /// How much is there; what is longer than it can be is nothing.
    fn len(&self, size: u64) -> Result<u64, Failure> {
        let len = self.file.metadata().map_err(|err| self.failed(&err))?.len();
        Ok(if len > size { 0 } else { len })
    }

    /// Goes on from here; what is behind it is dropped.
    fn go_to(&self, at: u64) -> Result<(), Failure> {
        let gone = self.file.set_len(at).and_then(|()| (&self.file).seek(SeekFrom::Start(at)));
        gone.map(drop).map_err(|err| self.failed(&err))
    }

    fn write(&self, piece: &[u8]) -> Result<(), Failure> {
        (&self.file).write_all(piece).map_err(|err| self.failed(&err))
    }

    /// Whether it is what the server said (RFC 9530 §3). What is not is removed.
    fn check(&self, offer: &Offer) -> Result<(), Failure> {
        let Some(wanted) = offer.sha256 else { return Ok(()) };
        if self.sha256().map_err(|err| self.failed(&err))? == wanted {
            return Ok(());
        }
        std::fs::remove_file(&self.path).map_err(|err| self.failed(&err))?;
        Err(Failure::new(1, "the MP3 was damaged on its way (its SHA-256 is another), and is not kept: try again"))
    }

    fn sha256(&self) -> io::Result<[u8; 32]> {
        let (mut file, mut digest, mut piece) = (&self.file, Sha256::new(), vec![0; 64 * 1024]);
        file.rewind()?;
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(digest.finalize().into()),
                read => digest.update(&piece[..read]),
            }
        }
    }

    /// Gives it its name.
    fn name(self, path: &Path, force: bool) -> Result<(), Failure> {
        self.file.sync_all().map_err(|err| self.failed(&err))?;
        let draft = TempPath::try_from_path(&self.path).map_err(|err| self.failed(&err))?;
        let named = if force { draft.persist(path) } else { draft.persist_noclobber(path) };
        named.map_err(|err| match err.error.kind() {
            io::ErrorKind::AlreadyExists => exists(path),
            _ => Failure::new(Failure::FILE, format!("can't write {}: {}", path.display(), err.error)),
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let (mut file, mut out) = (&self.file, io::stdout().lock());
        let printed = file.rewind().and_then(|()| io::copy(&mut file, &mut out)).and_then(|_| out.flush());
        printed.map_err(|err| Failure::new(Failure::FILE, format!("can't write the mp3: {err}")))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Where a part begins, and how long the whole is (RFC 9110 §14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (range, size) = text(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// A SHA-256 in a `Repr-Digest` (RFC 9530 §3).
fn sha256(field: &str) -> Option<[u8; 32]> {
    let mut members = field.split(',').map(str::trim);
    let value = members.find_map(|member| member.strip_prefix("sha-256=:")?.strip_suffix(':'))?;
    STANDARD.decode(value).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_ranges_are_read() {
        let empty = "sha-512=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        assert_eq!(sha256(empty), Some(Sha256::digest(b"").into()));
        for bad in ["", "sha-256=47DEQ", "sha-256=:AAAA:", "sha-256=:??:"] {
            assert_eq!(sha256(bad), None, "{bad}");
        }
        let range = |text: &str| content_range(&HeaderMap::from_iter([(header::CONTENT_RANGE, text.parse().unwrap())]));
        assert_eq!(range("bytes 10-19/30"), Some((10, 30)));
        for bad in ["bytes */30", "bytes 1-2/*", "lines 1-2/3", "bytes x-2/3", "bytes 1-2/99999999999999999999999"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
