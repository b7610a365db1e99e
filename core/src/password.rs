//! Passwords: Argon2id (RFC 9106), never more of it at once than the machine can bear.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::account::PasswordHash;
use crate::retry::BoxError;

/// Longer passwords are refused before they are hashed (bytes).
pub const MAX_BYTES: usize = 1024;
/// Shorter passwords can't be set (characters).
pub const MIN_CHARS: usize = 8;

// OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
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
    /// What the password of an unknown account is checked against, so that it takes as long as a known one's.
    dummy: PasswordHash,
    plain_text: bool,
}

impl Passwords {
    /// At most `parallel` hashes at a time, 19 MiB and one core each; 64 more may wait for two seconds.
    ///
    /// # Errors
    /// [`PasswordError::Internal`] when the operating system gives no random numbers.
    pub fn new(parallel: usize) -> Result<Self, PasswordError> {
        let dummy = hash(b"nobody has this password")?;
        let running = Arc::new(Semaphore::new(parallel.max(1)));
        Ok(Self { running, waiting: Arc::new(Semaphore::new(WAITING)), dummy, plain_text: false })
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
        self.run(move || hash(password.expose_secret().as_bytes())).await
    }

    /// Checks a password against an account's hash; without one, takes as long and says no.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], [`PasswordError::Internal`].
    pub async fn verify(&self, hash: Option<&PasswordHash>, password: SecretString) -> Result<Verdict, PasswordError> {
        let (known, dummy, plain_text) = (hash.cloned(), self.dummy.clone(), self.plain_text);
        self.run(move || {
            let password = password.expose_secret();
            let Some(stored) = known.filter(|stored| Phc::new(stored.as_str()).is_ok() || plain_text) else {
                // Whoever asks learns as little from the time that it takes.
                verify(&dummy, password);
                return Ok(Verdict::Wrong);
            };
            if Phc::new(stored.as_str()).is_ok() {
                return Ok(verify(&stored, password));
            }
            verify(&dummy, password);
            Ok(if is_plain_text(&stored, password) { Verdict::RightButWeak } else { Verdict::Wrong })
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

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|err| PasswordError::Internal(err.to_string().into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<PasswordHash, PasswordError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|err| PasswordError::Internal(err.to_string().into()))?;
    let phc: Phc = argon2()?
        .hash_password_with_salt(password, &salt)
        .map_err(|err| PasswordError::Internal(err.to_string().into()))?;
    Ok(PasswordHash::from_stored(phc.to_string()))
}

/// Whether a stored text is the password itself. A hash of another kind is not: whoever has read it could log in by it.
fn is_plain_text(stored: &PasswordHash, password: &str) -> bool {
    let stored = stored.as_str();
    let may_be = !stored.is_empty() && !stored.starts_with(['$', '{', '*']) && password.len() <= MAX_BYTES;
    may_be && bool::from(stored.as_bytes().ct_eq(password.as_bytes()))
}

/// A stored text that is no Argon2 hash never lets anybody in.
fn verify(stored: &PasswordHash, password: &str) -> Verdict {
    let (Ok(phc), Ok(argon2)) = (Phc::new(stored.as_str()), argon2()) else { return Verdict::Wrong };
    let text: &str = if password.len() > MAX_BYTES { "" } else { password };
    let matches = argon2.verify_password(text.as_bytes(), &phc).is_ok();
    if !matches || password.len() > MAX_BYTES {
        return Verdict::Wrong;
    }
    let weak = Params::try_from(&phc)
        .map_or(true, |p| p.m_cost() < MEMORY_KIB || p.t_cost() < PASSES || phc.algorithm.as_str() != "argon2id");
    if weak { Verdict::RightButWeak } else { Verdict::Right }
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
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::new(2).unwrap();
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
        let passwords = Passwords::new(1).unwrap();
        let stored = PasswordHash::from_stored("Admin123");
        assert_eq!(passwords.verify(Some(&stored), secret("Admin123")).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn plain_text_is_a_password_only_if_asked_for_and_no_hash() {
        let passwords = Passwords::new(1).unwrap().with_plain_text();
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
        let passwords = Passwords::new(1).unwrap();
        assert_eq!(passwords.verify(Some(&stored), secret("correct horse")).await.unwrap(), Verdict::RightButWeak);
    }

    #[tokio::test]
    async fn weak_passwords_can_not_be_set() {
        let passwords = Passwords::new(1).unwrap();
        for weak in ["", "short", "Password123", &"x".repeat(1025)] {
            assert!(matches!(passwords.hash(secret(weak)).await, Err(PasswordError::Weak(_))), "{weak}");
        }
    }
}
