//! Mails as files, for whoever looks into the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use microserve_core::mail::{Accepted, Mail, MailError, Mailer};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::draft::{self, Draft};
use crate::folder::{self, blocking};

/// Puts mails into a folder, as `.eml` files (RFC 5322) that any mail program opens.
///
/// For development, and for machines without a mail server. The same mail again replaces its file.
///
/// ```
/// use microserve_core::mail::{Mail, Mailer};
/// use microserve_filesystem::FileMailer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("mail");
/// let mailer = FileMailer::open(&dir).await?;
/// let mail = Mail {
///     message_id: "4f2a".to_owned(),
///     from: "microserve@example.com".parse()?,
///     to: "anna@example.com".parse()?,
///     date: "2026-01-01T12:00:00Z".parse()?,
///     subject: "Your MP3 is ready".to_owned(),
///     text: "tone.mp4 is an MP3 now.".to_owned(),
///     html: "<p>tone.mp4 is an MP3 now.</p>".to_owned(),
/// };
/// mailer.send(&mail).await?;
/// assert!(dir.join("4f2a.eml").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileMailer {
    folder: Arc<Path>,
}

impl FileMailer {
    /// Opens the folder, and makes it if it isn't there.
    ///
    /// # Errors
    /// [`MailError::Deferred`], [`MailError::Internal`].
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, MailError> {
        let mailer = Self { folder: folder.as_ref().into() };
        let drafts = mailer.drafts();
        let opened = blocking(move || {
            folder::make(&drafts)?;
            draft::sweep(&drafts)
        });
        opened.await.map_err(classify)?;
        Ok(mailer)
    }

    /// Inside the folder, so that a draft and the mail that it becomes are on one file system.
    fn drafts(&self) -> PathBuf {
        self.folder.join(".drafts")
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError> {
        let message = mail.to_message()?.formatted();
        let (drafts, folder, path) = (self.drafts(), Arc::clone(&self.folder), self.folder.join(file_name(mail)));
        let to = path.clone();
        let written = blocking(move || {
            let mut draft = Draft::create(&drafts)?;
            io::Write::write_all(draft.file(), &message)?;
            draft.sync()?;
            draft.rename(&to)?;
            // The mail is there; only whether it survives a power cut is open if this fails.
            Ok(folder::sync(&folder))
        });
        written.await.map_err(classify)?.map_err(|err| MailError::Unknown(err.into()))?;
        info!(mail.id = %mail.message_id, path = %path.display(), "the mail lies in {}", path.display());
        Ok(Accepted { reply: format!("lies in {}", path.display()) })
    }

    async fn ping(&self) -> Result<(), MailError> {
        let drafts = self.drafts();
        blocking(move || Draft::create(&drafts).map(Draft::discard)).await.map_err(classify)
    }
}

/// A file name that can't lead out of the folder: ids are ours and plain as a rule, but nothing depends on it.
fn file_name(mail: &Mail) -> String {
    let id = &mail.message_id;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !id.is_empty() && id.len() <= 100 && !id.starts_with('.') && id.chars().all(plain) {
        return format!("{id}.eml");
    }
    let digest = Sha256::digest(id.as_bytes());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("mail-{digest}.eml")
}

/// What the operating system's troubles mean for a mail that is not there: an administrator can mend most of them.
fn classify(err: io::Error) -> MailError {
    match err.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => MailError::Internal(err.into()),
        _ => MailError::Deferred { after: None, source: err.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(id: &str) -> Mail {
        Mail {
            message_id: id.to_owned(),
            from: "microserve@example.com".parse().unwrap(),
            to: "anna@example.com".parse().unwrap(),
            date: jiff::Timestamp::UNIX_EPOCH,
            subject: String::new(),
            text: String::new(),
            html: String::new(),
        }
    }

    #[test]
    fn names_stay_in_the_folder_and_apart() {
        let odd = ["", ".", "..", "../../etc/passwd", "a/b", "a\0b", ".hidden", "a\nb", "ä", &"x".repeat(300)];
        let names: std::collections::BTreeSet<String> = odd.iter().map(|id| file_name(&mail(id))).collect();
        assert_eq!(names.len(), odd.len(), "different mails have different files");
        assert!(names.iter().all(|name| name.starts_with("mail-") && name.len() < 64));
        assert_eq!(file_name(&mail("4f2a-x_1.done")), "4f2a-x_1.done.eml");
    }
}
