//! Login: an address and a password become an account, or nothing that tells why not. And what people do about their own
//! account: make one, change its password.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tracing::{info, warn};

use crate::account::{Account, AccountId, AuthError, AuthStore, Email, Tally, TallyName};
use crate::clock::{Clock, since};
use crate::mail::{Mail, Mailer};
use crate::password::{PasswordError, Passwords, Verdict};
use crate::retry::{BoxError, Retryable};
use crate::shutdown::Shutdown;
use crate::throttle::{Attempt, Refused, Throttle, WINDOW};

/// A mailer that takes longer is given up.
const MAIL_PATIENCE: Duration = Duration::from_secs(60);

/// Lets people in.
#[derive(Clone)]
pub struct Login {
    accounts: Arc<dyn AuthStore>,
    passwords: Passwords,
    clock: Arc<dyn Clock>,
    throttle: Throttle,
    owners: Option<Owners>,
}

/// How owners of accounts hear of what others do with their addresses.
#[derive(Clone)]
pub struct Owners {
    /// Takes the mails.
    pub mailer: Arc<dyn Mailer>,
    /// Whom the mails come from.
    pub from: Email,
    /// Sending is a task of it.
    pub shutdown: Shutdown,
}

impl Login {
    /// Lets in whoever is in `accounts`.
    #[must_use]
    pub fn new(accounts: Arc<dyn AuthStore>, passwords: Passwords, clock: Arc<dyn Clock>) -> Self {
        let throttle = Throttle::new(Arc::clone(&accounts));
        Self { accounts, passwords, clock, throttle, owners: None }
    }

    /// The same; whoever has an account hears by mail when somebody asks for another of the same address, once in a
    /// quarter of an hour.
    #[must_use]
    pub fn telling(self, owners: Owners) -> Self {
        Self { owners: Some(owners), ..self }
    }

    /// Checks a name and password that came from an address. Unknown names, wrong passwords and disabled accounts give the
    /// same answer after the same time, and are slowed down alike ([`throttle`](crate::throttle)).
    ///
    /// # Errors
    /// [`LoginError::Refused`]; [`LoginError::Throttled`], [`LoginError::Busy`] and [`LoginError::Unavailable`]: try
    /// again; [`LoginError::Internal`].
    pub async fn login(&self, name: &str, password: SecretString, from: Option<IpAddr>) -> Result<Account, LoginError> {
        let email = name.parse::<Email>().ok();
        let counted = email.as_ref().map_or_else(|| name.to_lowercase(), Email::canonical);
        let attempt = self.throttle.begin(&counted, from, self.clock.now()).await?;
        match self.check(email.as_ref(), password).await {
            Ok(Some(account)) => {
                self.throttle.succeeded(&attempt).await;
                info!(target: "audit", { account.id = %account.id }, "logged in");
                Ok(account)
            }
            Ok(None) => {
                self.throttle.failed(&attempt, self.clock.now()).await;
                Err(refused(&attempt))
            }
            Err(err) => {
                self.throttle.unanswered(&attempt).await;
                Err(err)
            }
        }
    }

    async fn check(&self, email: Option<&Email>, password: SecretString) -> Result<Option<Account>, LoginError> {
        let account = match email {
            Some(email) => self.accounts.find(email).await?,
            None => None,
        };
        let verdict = self.passwords.verify(account.as_ref().map(|a| &a.password), password.clone()).await?;
        let account = account.filter(|a| verdict != Verdict::Wrong && !a.disabled);
        if let Some(account) = &account
            && verdict == Verdict::RightButWeak
        {
            self.strengthen(account, password).await;
        }
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

    /// Makes an account, asked for from an address if that is known, which may ask so often only. If there is an account of
    /// this e-mail address already, nothing is made, and that is not told, by the time that it takes neither: the password
    /// is hashed and the store asked all the same. Who may know finds out by logging in.
    ///
    /// # Errors
    /// [`LoginError::Weak`]; [`LoginError::Throttled`], [`LoginError::Busy`] and [`LoginError::Unavailable`]: try again;
    /// [`LoginError::Internal`].
    pub async fn register(&self, email: Email, password: SecretString, from: Option<IpAddr>) -> Result<(), LoginError> {
        if let Some(from) = from {
            self.throttle.registers(from, self.clock.now()).await?;
        }
        let password = self.passwords.hash(password).await?;
        let (id, now) = (AccountId::random(), self.clock.now());
        let account =
            Account { id, email, password, admin: false, disabled: false, created_at: now, password_changed_at: now };
        let made = match self.accounts.insert(&account).await {
            Ok(()) => {
                info!(target: "audit", { account.id = %id }, "registered");
                true
            }
            Err(AuthError::AlreadyExists) => {
                info!(target: "audit", "refused to register an address again");
                false
            }
            Err(err) => return Err(err.into()),
        };
        let asked_lately = self.asked_lately(&account.email, made, now).await;
        // What is made is made, whatever became of that.
        if !made && !asked_lately? {
            self.tell_owner(account.email, now);
        }
        Ok(())
    }

    /// Whether somebody has asked lately for an address that has an account; remembers that somebody does now, unless the
    /// account was `made` just now. Then the store is asked the same in vain, as it was in vain before to make one that is
    /// there: both take as long.
    async fn asked_lately(&self, email: &Email, made: bool, now: Timestamp) -> Result<bool, AuthError> {
        let name = TallyName::of("registered", &email.canonical());
        let (earlier, asked) = (self.accounts.tally(&name).await?, Tally { count: 1, at: now });
        let from = if made { Some(Tally { count: 0, ..asked }) } else { earlier };
        self.accounts.swap_tally(&name, from, Some(asked)).await?;
        Ok(earlier.is_some_and(|earlier| since(now, earlier.at) < WINDOW))
    }

    /// In a task: whoever asked learns nothing by the time that it takes.
    fn tell_owner(&self, email: Email, now: Timestamp) {
        let Some(Owners { mailer, from, shutdown }) = self.owners.clone() else { return };
        shutdown.spawn(async move {
            let told = tokio::time::timeout(MAIL_PATIENCE, mailer.send(&asked_again(email, from, now))).await;
            match told {
                Ok(Ok(_)) => {}
                Ok(Err(err)) => warn!(error = &err as &dyn std::error::Error, "could not tell an account's owner"),
                Err(_) => warn!("could not tell an account's owner: the mailer took too long"),
            }
        });
    }

    /// Changes the password of an account whose owner knows the present one. Tokens from before are void then.
    ///
    /// # Errors
    /// As [`login`](Self::login); [`LoginError::Weak`].
    pub async fn change_password(
        &self,
        email: &Email,
        current: SecretString,
        new: SecretString,
        from: Option<IpAddr>,
    ) -> Result<(), LoginError> {
        let account = self.login(email.as_str(), current, from).await?;
        let hash = self.passwords.hash(new).await?;
        self.accounts.set_password(account.id, &hash, self.clock.now()).await?;
        info!(target: "audit", { account.id = %account.id }, "changed the password");
        Ok(())
    }
}

/// The mail to somebody who has an account.
fn asked_again(to: Email, from: Email, date: Timestamp) -> Mail {
    let happened =
        "Somebody asked for an account with your e-mail address, which has one already. Nothing has changed.";
    let advice = "If it was you: log in with the password that you have, or have whoever runs the server set another. \
                  If not, there is nothing to do.";
    Mail {
        message_id: format!("registered.{}", AccountId::random()),
        from,
        to,
        date,
        subject: "You have an account already".to_owned(),
        text: format!("{happened}\n\n{advice}\n"),
        html: format!("<p>{happened}</p>\n<p>{advice}</p>\n"),
    }
}

/// Who tries is not logged by name: people type passwords into the wrong field.
fn refused(attempt: &Attempt) -> LoginError {
    info!(target: "audit", { attempts.left = attempt.left }, "refused a login");
    LoginError::Refused { left: attempt.left }
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The name or the password is wrong.
    #[error("the e-mail address or the password is wrong")]
    Refused {
        /// How many more attempts there are before one has to wait.
        left: u32,
    },
    /// There were too many attempts.
    #[error("too many attempts: wait {} s", .wait.as_secs())]
    Throttled {
        /// How long to wait before the next.
        wait: Duration,
    },
    /// Nobody should have this password.
    #[error("the password can't be used: {0}")]
    Weak(&'static str),
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
            PasswordError::Weak(why) => Self::Weak(why),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<Refused> for LoginError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wait(wait) => Self::Throttled { wait },
            Refused::Store(err) => err.into(),
        }
    }
}
