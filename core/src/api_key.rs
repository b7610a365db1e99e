//! API keys: what machines are let in by, instead of a person's password.
//!
//! A key is shown once, when it is made. Stores keep its SHA-256: with 256 random bits in it, there is nothing to guess,
//! and nothing that a slow hash would be needed for. It is good for what its [scopes](Scope) say, until it is revoked,
//! expires, or its account is locked out. A changed password leaves keys alone.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::account::{Account, AccountId, AuthError, AuthStore};
use crate::clock::Clock;
use crate::id::id;

/// What every key begins with, so that people and programs that look for leaked secrets know one.
pub const PREFIX: &str = "msk_";
/// So many keys may an account have.
pub const MOST: usize = 50;
/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 100;

id!(
    /// Names an API key, without giving it away.
    ApiKeyId
);

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Seeing jobs and the account's usage, and downloading.
    Read,
    /// Uploading videos.
    Upload,
    /// Changing jobs: cancel, retry, delete, make and revoke links.
    Manage,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Upload, Self::Manage];

    /// Its name, as clients and stores have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Upload => "upload",
            Self::Manage => "manage",
        }
    }
}

/// Some scopes. As text, their names with a space between them (RFC 6749 §3.3); names that aren't known, which a later
/// version may have written, allow nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |name| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        Ok(text.split(' ').filter_map(known).collect())
    }
}

/// The SHA-256 of a key, as 64 hexadecimal characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(String);

impl KeyDigest {
    /// The digest of something that may be a key. `None`: it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let random = text.strip_prefix(PREFIX)?;
        let is_key = random.len() == 64 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_key.then(|| Self(hex::encode(Sha256::digest(text))))
    }

    /// What a store holds.
    #[must_use]
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The 64 characters, for stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it: one to [`LONGEST_NAME`] bytes.
    pub name: String,
    /// What is left of the key itself.
    pub digest: KeyDigest,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made, in whole milliseconds.
    pub created_at: Timestamp,
    /// From when on it is not good any more, in whole milliseconds.
    pub expires_at: Option<Timestamp>,
}

/// Makes, lists and revokes keys, and tells whose one is.
#[derive(Clone)]
pub struct ApiKeys {
    accounts: Arc<dyn AuthStore>,
    clock: Arc<dyn Clock>,
}

/// A key that is wanted.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What to call it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

impl ApiKeys {
    /// The keys of `accounts`.
    #[must_use]
    pub fn new(accounts: Arc<dyn AuthStore>, clock: Arc<dyn Clock>) -> Self {
        Self { accounts, clock }
    }

    /// Makes a key. The key itself is not kept: this is the only time that it can be told.
    ///
    /// # Errors
    /// [`ApiKeyError`]. Keys that are made at the same time may come to a few more than [`MOST`].
    ///
    /// # Panics
    /// When the operating system has no random numbers: nothing safe can be done then.
    pub async fn make(&self, account: AccountId, new: NewKey) -> Result<(ApiKey, SecretString), ApiKeyError> {
        let now = self.clock.now();
        if new.name.trim().is_empty() || new.name.len() > LONGEST_NAME || new.name.chars().any(char::is_control) {
            return Err(ApiKeyError::Name);
        }
        if new.scopes.is_empty() {
            return Err(ApiKeyError::NoScope);
        }
        let expires_at = new.expires_at.map(whole_milliseconds);
        if expires_at.is_some_and(|moment| moment <= now) {
            return Err(ApiKeyError::InThePast);
        }
        if self.accounts.api_keys(account).await?.len() >= MOST {
            return Err(ApiKeyError::TooMany);
        }
        let (key, digest) = random_key();
        let NewKey { name, scopes, .. } = new;
        let kept = ApiKey { id: ApiKeyId::random(), account, name, digest, scopes, created_at: now, expires_at };
        self.accounts.insert_api_key(&kept).await?;
        info!(target: "audit", { account.id = %account, key.id = %kept.id, scopes = %kept.scopes }, "made an API key");
        Ok((kept, key))
    }

    /// An account's keys, the oldest first.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    pub async fn list(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        self.accounts.api_keys(account).await
    }

    /// Takes a key away. Says whether the account had it.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    pub async fn revoke(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        let was_there = self.accounts.delete_api_key(account, id).await?;
        if was_there {
            info!(target: "audit", { account.id = %account, key.id = %id }, "revoked an API key");
        }
        Ok(was_there)
    }

    /// Whose key this is, and the key as it is kept; `None` if it is not, or no longer, good.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    pub async fn holder(&self, key: &str) -> Result<Option<(Account, ApiKey)>, AuthError> {
        let Some(digest) = KeyDigest::of(key) else { return Ok(None) };
        let Some(key) = self.accounts.find_api_key(&digest).await? else { return Ok(None) };
        if key.expires_at.is_some_and(|moment| moment <= self.clock.now()) {
            return Ok(None);
        }
        let account = self.accounts.get(key.account).await?.filter(|account| !account.disabled);
        Ok(account.map(|account| (account, key)))
    }
}

#[expect(clippy::expect_used, reason = "no key may ever be guessable")]
fn random_key() -> (SecretString, KeyDigest) {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the operating system gives random numbers");
    let key = SecretString::from(format!("{PREFIX}{}", hex::encode(random)));
    let digest = KeyDigest(hex::encode(Sha256::digest(key.expose_secret())));
    (key, digest)
}

fn whole_milliseconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or(moment)
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The name can't be used.
    #[error("a key's name has 1 to {LONGEST_NAME} bytes and no control characters")]
    Name,
    /// It would be good for nothing.
    #[error("a key needs at least one scope")]
    NoScope,
    /// It would never be good.
    #[error("the time until which the key is to be good has passed")]
    InThePast,
    /// The account has as many as it may.
    #[error("an account has at most {MOST} keys: revoke one")]
    TooMany,
    /// The store does not keep it.
    #[error(transparent)]
    Store(#[from] AuthError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::PasswordHash;
    use crate::memory::MemoryAccounts;
    use crate::{SystemClock, TokioClock};

    fn new(name: &str, scopes: &[Scope], expires_at: Option<Timestamp>) -> NewKey {
        NewKey { name: name.to_owned(), scopes: scopes.iter().copied().collect(), expires_at }
    }

    async fn anna(clock: Arc<dyn Clock>) -> (ApiKeys, Arc<MemoryAccounts>, AccountId) {
        let accounts = Arc::new(MemoryAccounts::default());
        let (id, at) = (AccountId::random(), clock.now());
        let account = Account {
            id,
            email: "anna@example.com".parse().unwrap(),
            password: PasswordHash::from_stored("x"),
            admin: false,
            disabled: false,
            created_at: at,
            password_changed_at: at,
        };
        accounts.insert(&account).await.unwrap();
        (ApiKeys::new(accounts.clone(), clock), accounts, id)
    }

    #[test]
    fn only_what_looks_like_a_key_is_looked_for() {
        let (key, digest) = random_key();
        assert_eq!(KeyDigest::of(key.expose_secret()), Some(digest));
        let upper = key.expose_secret().to_uppercase();
        for bad in ["", "msk_", &upper, &key.expose_secret()[1..], &format!("{}0", key.expose_secret())] {
            assert_eq!(KeyDigest::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_scopes_allow_nothing() {
        let scopes: Scopes = "upload everything read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read upload");
        assert!(!scopes.allow(Scope::Manage));
        assert!("".parse::<Scopes>().unwrap().is_empty());
    }

    #[tokio::test]
    async fn keys_are_refused_that_nobody_could_use_or_tell_apart() {
        let (keys, _, anna) = anna(Arc::new(SystemClock)).await;
        let past = Some(Timestamp::UNIX_EPOCH);
        for name in ["", "  ", "a\nb", &"x".repeat(LONGEST_NAME + 1)] {
            assert!(matches!(keys.make(anna, new(name, &[Scope::Read], None)).await, Err(ApiKeyError::Name)), "{name}");
        }
        assert!(matches!(keys.make(anna, new("ci", &[], None)).await, Err(ApiKeyError::NoScope)));
        assert!(matches!(keys.make(anna, new("ci", &[Scope::Read], past)).await, Err(ApiKeyError::InThePast)));
        for _ in 0..MOST {
            keys.make(anna, new("ci", &[Scope::Read], None)).await.unwrap();
        }
        assert!(matches!(keys.make(anna, new("ci", &[Scope::Read], None)).await, Err(ApiKeyError::TooMany)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_good_until_it_expires_is_revoked_or_its_account_is_locked_out() {
        let clock = Arc::new(TokioClock::start());
        let (keys, accounts, anna) = anna(clock.clone()).await;
        let hour = std::time::Duration::from_secs(3600);
        let soon = Some(crate::clock::later(clock.now(), hour));
        let (short, short_key) = keys.make(anna, new("short", &[Scope::Read], soon)).await.unwrap();
        // Keys of the same moment are listed by their ids.
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        let (long, long_key) = keys.make(anna, new("long", &[Scope::Upload], None)).await.unwrap();
        assert_eq!(keys.list(anna).await.unwrap(), [short.clone(), long.clone()]);
        let holder = async |key: &SecretString| keys.holder(key.expose_secret()).await.unwrap();
        assert_eq!(holder(&short_key).await.unwrap().1, short);
        tokio::time::advance(hour).await;
        assert!(holder(&short_key).await.is_none(), "it has expired");
        assert_eq!(holder(&long_key).await.unwrap().0.id, anna);
        accounts.set_disabled(anna, true).await.unwrap();
        assert!(holder(&long_key).await.is_none(), "the account is locked out");
        accounts.set_disabled(anna, false).await.unwrap();
        assert!(!keys.revoke(AccountId::random(), long.id).await.unwrap(), "nobody revokes others' keys");
        assert!(holder(&long_key).await.is_some());
        assert!(keys.revoke(anna, long.id).await.unwrap());
        assert!(holder(&long_key).await.is_none());
        assert!(!keys.revoke(anna, long.id).await.unwrap());
        let stored = format!("{:?}", keys.list(anna).await.unwrap());
        assert!(!stored.contains(short_key.expose_secret()), "the key itself is not kept");
    }
}
