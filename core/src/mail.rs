//! Mail: how the owner hears of a finished job.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};

use crate::account::Email;
use crate::retry::{BoxError, Retryable};

/// Hands mails to somebody who delivers them.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands one mail over; returns when somebody else is responsible for it. (Checks: `sent_mail_is_accepted`,
    /// `the_same_mail_twice_is_accepted`, `odd_characters_survive`, `many_at_once_are_accepted`.)
    ///
    /// # Errors
    /// One of [`MailError`], which says what may have become of it.
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError>;

    /// Whether mail could be handed over right now. (Check: `ping_succeeds`.)
    ///
    /// # Errors
    /// [`MailError::Deferred`], [`MailError::Internal`].
    async fn ping(&self) -> Result<(), MailError>;
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The part of the `Message-ID` before the `@` (RFC 5322 §3.6.4): the same mail has the same one, always.
    pub message_id: String,
    /// Whom it comes from.
    pub from: Email,
    /// Whom it is for.
    pub to: Email,
    /// Its `Date`.
    pub date: Timestamp,
    /// One line.
    pub subject: String,
    /// The text for people who read text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

impl Mail {
    /// The mail as it goes over the wire (RFC 5322, MIME). The same mail gives the same bytes.
    ///
    /// # Errors
    /// [`MailError::Refused`] when an address can't be written into a header.
    pub fn to_message(&self) -> Result<lettre::Message, MailError> {
        let refused = |err: BoxError| MailError::Refused { reply: err.to_string() };
        let mailbox = |email: &Email| {
            let address = email.as_str().parse().map_err(|err: lettre::address::AddressError| refused(err.into()))?;
            Ok(Mailbox::new(None, address))
        };
        let domain = self.from.as_str().rsplit('@').next().unwrap_or("localhost");
        // The boundary is made from the id: a random one would make every repetition another mail.
        let parts = MultiPart::alternative()
            .boundary(format!("=_{}", self.message_id))
            .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(self.text.clone()))
            .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(self.html.clone()));
        lettre::Message::builder()
            .from(mailbox(&self.from)?)
            .to(mailbox(&self.to)?)
            .message_id(Some(format!("<{}@{domain}>", self.message_id)))
            .date(self.date.into())
            .subject(self.subject.clone())
            .multipart(parts)
            .map_err(|err| refused(err.into()))
    }
}

/// Somebody else is responsible for the mail now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What the server said, or where the mail lies.
    pub reply: String,
}

/// Why a mail was not handed over, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The mail or its address is refused for good.
    #[error("the mail was refused: {reply}")]
    Refused {
        /// What the server said.
        reply: String,
    },
    /// It has certainly not gone out; later it may.
    #[error("the mail can't be handed over now")]
    Deferred {
        /// How long the server asked to wait.
        after: Option<Duration>,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// It may have gone out.
    #[error("nobody knows whether the mail went out")]
    Unknown(#[source] BoxError),
    /// The mailer is broken or misused: trying again won't help.
    #[error("the mailer failed")]
    Internal(#[source] BoxError),
}

impl Retryable for MailError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Deferred { .. } | Self::Unknown(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Self::Deferred { after, .. } = self { *after } else { None }
    }
}
