//! Passwords: Argon2id (RFC 9106), never more of it at once than the machine can bear.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::account::PasswordHash;
use crate::retry::BoxError;

mod argon2id;

use argon2id::{Check, Memory};

/// Longer passwords are refused before they are hashed (bytes).
pub const MAX_BYTES: usize = 1024;
/// Shorter passwords can't be set (characters).
pub const MIN_CHARS: usize = 8;

const WAITING: usize = 64;
const WAIT: Duration = Duration::from_secs(2);

// What is tried first by everybody who guesses; eight characters and more, since shorter ones can't be set anyway.
const COMMON: [&str; 24] = [
    "password",
    "password1",
    "password12",
    "password123",
    "passw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "00000000",
    "qwertyui",
    "qwertyuiop",
    "qwerty123",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "admin123",
    "letmein1",
    "welcome1",
];

/// Hashes and checks passwords on blocking threads, a few at a time.
#[derive(Clone)]
pub struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    memory: Memory,
    plain_text: bool,
}

impl Passwords {
    /// At most `parallel` hashes at a time, 19 MiB and one core each; 64 more may wait for two seconds. The memory of four
    /// stays allocated.
    #[must_use]
    pub fn new(parallel: usize) -> Self {
        let running = Arc::new(Semaphore::new(parallel.max(1)));
        Self { running, waiting: Arc::new(Semaphore::new(WAITING)), memory: Memory::default(), plain_text: false }
    }

    /// Also takes a stored text that is no hash for the password itself: [`Verdict::RightButWeak`]. For adopted tables,
    /// whose passwords are hashed as their owners log in. Without this, such a text lets nobody in.
    #[must_use]
    pub fn with_plain_text(self) -> Self {
        Self { plain_text: true, ..self }
    }

    /// Hashes a password that somebody wants to have.
    ///
    /// # Errors
    /// [`PasswordError::Weak`], [`PasswordError::Busy`], [`PasswordError::Internal`].
    pub async fn hash(&self, password: SecretString) -> Result<PasswordHash, PasswordError> {
        acceptable(password.expose_secret())?;
        self.rehash(password).await
    }

    /// Hashes a password that somebody has already, however weak it is.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], [`PasswordError::Internal`].
    pub async fn rehash(&self, password: SecretString) -> Result<PasswordHash, PasswordError> {
        let memory = self.memory.clone();
        self.run(move || memory.hash(password.expose_secret().as_bytes())).await
    }

    /// Checks a password against an account's hash; without one, takes as long and says no.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], [`PasswordError::Internal`].
    pub async fn verify(&self, hash: Option<&PasswordHash>, password: SecretString) -> Result<Verdict, PasswordError> {
        let (stored, memory, plain_text) = (hash.cloned(), self.memory.clone(), self.plain_text);
        self.run(move || {
            let password = password.expose_secret();
            let own = stored.as_ref().and_then(Check::stored);
            let is_hash = own.is_some();
            // Without a hash something is checked as well: whoever asks learns as little from the time that it takes.
            let check = own.map_or_else(Check::nobodys, Ok)?;
            let fits = password.len() <= MAX_BYTES;
            let matches = memory.matches(&check, if fits { password.as_bytes() } else { &[] })? && fits;
            if is_hash && matches {
                return Ok(if check.weak { Verdict::RightButWeak } else { Verdict::Right });
            }
            let plain = plain_text && !is_hash && stored.is_some_and(|text| is_plain_text(&text, password));
            Ok(if plain { Verdict::RightButWeak } else { Verdict::Wrong })
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, PasswordError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, PasswordError> + Send + 'static,
    {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned();
        let permit = tokio::time::timeout(WAIT, running).await.map_err(|_| PasswordError::Busy)?;
        let permit: OwnedSemaphorePermit = permit.map_err(|err| PasswordError::Internal(err.into()))?;
        // The permit goes along: a caller who hangs up doesn't make room for one more before the work is over.
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|err| PasswordError::Internal(err.into()))?
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right,
    /// It is the password, but the hash was made with weaker parameters than today's.
    RightButWeak,
    /// It is not the password.
    Wrong,
}

/// Whether a stored text is the password itself. A hash of another kind is not: whoever has read it could log in by it.
fn is_plain_text(stored: &PasswordHash, password: &str) -> bool {
    let stored = stored.as_str();
    let may_be = !stored.is_empty() && !stored.starts_with(['$', '{', '*']) && password.len() <= MAX_BYTES;
    may_be && bool::from(stored.as_bytes().ct_eq(password.as_bytes()))
}

fn acceptable(password: &str) -> Result<(), PasswordError> {
    let weak = |why| Err(PasswordError::Weak(why));
    if password.chars().count() < MIN_CHARS {
        return weak("it needs at least 8 characters");
    }
    if password.len() > MAX_BYTES {
        return weak("it is longer than 1024 bytes");
    }
    if COMMON.contains(&password.to_lowercase().as_str()) {
        return weak("it is one of those that are tried first");
    }
    Ok(())
}

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Nobody should have this password.
    #[error("the password can't be used: {0}")]
    Weak(&'static str),
    /// Too many at once: try again in a moment.
    #[error("too many passwords are being checked at once")]
    Busy,
    /// The machine failed.
    #[error("the password could not be hashed")]
    Internal(#[source] BoxError),
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;
    use argon2::password_hash::phc::PasswordHash as Phc;
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(passwords.verify(Some(&hash), secret("correct horse")).await.unwrap(), Verdict::Right);
        for wrong in ["", "correct horse ", "Correct horse", &"x".repeat(5000)] {
            assert_eq!(passwords.verify(Some(&hash), secret(wrong)).await.unwrap(), Verdict::Wrong, "{wrong}");
        }
        assert_eq!(passwords.verify(None, secret("nobody has this password")).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn plain_text_in_the_store_lets_nobody_in() {
        let passwords = Passwords::new(1);
        let stored = PasswordHash::from_stored("Admin123");
        assert_eq!(passwords.verify(Some(&stored), secret("Admin123")).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn plain_text_is_a_password_only_if_asked_for_and_no_hash() {
        let passwords = Passwords::new(1).with_plain_text();
        let stored = PasswordHash::from_stored("Admin123");
        assert_eq!(passwords.verify(Some(&stored), secret("Admin123")).await.unwrap(), Verdict::RightButWeak);
        assert_eq!(passwords.verify(Some(&stored), secret("admin123")).await.unwrap(), Verdict::Wrong);
        let bcrypt = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";
        for text in ["", bcrypt, "{SSHA}x", "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"] {
            let stored = PasswordHash::from_stored(text);
            assert_eq!(passwords.verify(Some(&stored), secret(text)).await.unwrap(), Verdict::Wrong, "{text}");
        }
    }

    #[tokio::test]
    async fn weaker_hashes_are_noticed() {
        let params = Params::new(8_192, 1, 1, None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let phc: Phc = old.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap();
        let stored = PasswordHash::from_stored(phc.to_string());
        let passwords = Passwords::new(1);
        assert_eq!(passwords.verify(Some(&stored), secret("correct horse")).await.unwrap(), Verdict::RightButWeak);
    }

    #[tokio::test]
    async fn weak_passwords_can_not_be_set() {
        let passwords = Passwords::new(1);
        for weak in ["", "short", "Password123", &"x".repeat(1025)] {
            assert!(matches!(passwords.hash(secret(weak)).await, Err(PasswordError::Weak(_))), "{weak}");
        }
    }
}
