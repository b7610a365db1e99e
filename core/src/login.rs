//! Login: an address and a password become an account, or nothing that tells why not.

use std::sync::Arc;

use secrecy::SecretString;
use tracing::{info, warn};

use crate::account::{Account, AuthError, AuthStore, Email};
use crate::password::{PasswordError, Passwords, Verdict};
use crate::retry::{BoxError, Retryable};

/// Lets people in.
#[derive(Clone)]
pub struct Login {
    accounts: Arc<dyn AuthStore>,
    passwords: Passwords,
}

impl Login {
    /// Lets in whoever is in `accounts`.
    #[must_use]
    pub fn new(accounts: Arc<dyn AuthStore>, passwords: Passwords) -> Self {
        Self { accounts, passwords }
    }

    /// Checks a name and password. Unknown names, wrong passwords and disabled accounts give the same answer after the
    /// same time.
    ///
    /// # Errors
    /// [`LoginError::Refused`]; [`LoginError::Busy`] and [`LoginError::Unavailable`]: try again;
    /// [`LoginError::Internal`].
    pub async fn login(&self, name: &str, password: SecretString) -> Result<Account, LoginError> {
        let account = match name.parse::<Email>() {
            Ok(email) => self.accounts.find(&email).await?,
            Err(_) => None,
        };
        let verdict = self.passwords.verify(account.as_ref().map(|a| &a.password), password.clone()).await?;
        let Some(account) = account.filter(|a| verdict != Verdict::Wrong && !a.disabled) else {
            return Err(LoginError::Refused);
        };
        if verdict == Verdict::RightButWeak {
            self.strengthen(&account, password).await;
        }
        info!(account.id = %account.id, "logged in");
        Ok(account)
    }

    /// Replaces a hash made with yesterday's parameters, or none. Failing to is no reason to keep somebody out.
    async fn strengthen(&self, account: &Account, password: SecretString) {
        let outcome = match self.passwords.rehash(password).await {
            Ok(hash) => self.accounts.rehash(account.id, &account.password, &hash).await.map_err(BoxError::from),
            Err(err) => Err(err.into()),
        };
        if let Err(err) = outcome {
            warn!(account.id = %account.id, error = &*err as &dyn std::error::Error, "could not strengthen a password's hash");
        }
    }
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The name or the password is wrong.
    #[error("the e-mail address or the password is wrong")]
    Refused,
    /// Too many logins at once.
    #[error("too many logins at once")]
    Busy,
    /// The account store can't be reached.
    #[error("logging in is not possible right now")]
    Unavailable(#[source] BoxError),
    /// Something is broken.
    #[error("logging in failed")]
    Internal(#[source] BoxError),
}

impl From<AuthError> for LoginError {
    fn from(err: AuthError) -> Self {
        if err.is_retryable() { Self::Unavailable(err.into()) } else { Self::Internal(err.into()) }
    }
}

impl From<PasswordError> for LoginError {
    fn from(err: PasswordError) -> Self {
        match err {
            PasswordError::Busy => Self::Busy,
            other => Self::Internal(other.into()),
        }
    }
}
