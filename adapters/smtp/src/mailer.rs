//! The mailer.

use std::sync::Arc;

use async_trait::async_trait;
use microserve_core::mail::{Accepted, Mail, MailError, Mailer};
use microserve_core::open::SecretUrl;
use tracing::debug;

use crate::session::Session;
use crate::settings::{Settings, SettingsError};

/// Sends mails by SMTP.
///
/// A connection is made for each mail and closed behind it: mails are few, and a connection that was kept may have died
/// in the meantime, which shows only when the mail is on it.
#[derive(Clone)]
pub struct SmtpMailer {
    settings: Arc<Settings>,
}

impl SmtpMailer {
    /// A mailer for the server that a URL names; nothing is sent yet. See the [crate](crate) for what the URL says.
    ///
    /// # Errors
    /// When it says something that can't be.
    pub fn new(url: &SecretUrl) -> Result<Self, SettingsError> {
        Ok(Self { settings: Arc::new(Settings::parse(url)?) })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError> {
        let message = mail.to_message()?;
        let mut session = Session::open(&self.settings).await?;
        let outcome = session.send(message.envelope(), &message.formatted()).await;
        if !matches!(outcome, Err(MailError::Unknown(_))) {
            session.quit().await;
        }
        let reply = outcome?;
        debug!(reply, "the mail server took a mail");
        Ok(Accepted { reply })
    }

    async fn ping(&self) -> Result<(), MailError> {
        Session::greet(&self.settings).await?.quit().await;
        Ok(())
    }
}
