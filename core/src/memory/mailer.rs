use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::mail::{Accepted, Mail, MailError, Mailer};

/// Keeps the mails it is given, for tests to look at.
#[derive(Clone, Default)]
pub struct MemoryMailer {
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl MemoryMailer {
    /// The mails so far, the oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.mails).clone()
    }
}

#[async_trait]
impl Mailer for MemoryMailer {
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError> {
        // A mail that can't be written is refused here as everywhere.
        mail.to_message()?;
        let mut mails = lock(&self.mails);
        mails.push(mail.clone());
        Ok(Accepted { reply: format!("kept as number {}", mails.len()) })
    }

    async fn ping(&self) -> Result<(), MailError> {
        Ok(())
    }
}
