//! Accounts: who may log in.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api_key::{ApiKey, ApiKeyId, KeyDigest};
use crate::id::id;
use crate::pool::PoolState;
use crate::retry::{BoxError, Retryable};

id!(
    /// Names an account for ever, whatever becomes of its address.
    AccountId
);

impl AccountId {
    /// The owner of what another service left for an address: the id of an account that is taken over from it, and the
    /// owner of jobs that are made of its messages. The same address, whatever its case, gives the same id, so that both
    /// meet. Accounts of our own making have random ids.
    #[must_use]
    pub fn adopted(email: &Email) -> Self {
        let digest = Sha256::digest(format!("microserve account {}", email.canonical()));
        let mut id = [0; 12];
        id.copy_from_slice(&digest[..12]);
        Self::from_bytes(id)
    }
}

/// Keeps accounts.
#[async_trait]
pub trait AuthStore: Send + Sync {
    /// Adds an account. (Checks: `inserted_is_found`, `same_address_is_refused`, `racing_inserts_have_one_winner`.)
    ///
    /// # Errors
    /// [`AuthError::AlreadyExists`], [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn insert(&self, account: &Account) -> Result<(), AuthError>;

    /// Finds an account by its address, whose case does not matter. (Checks: `inserted_is_found`,
    /// `address_case_does_not_matter`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError>;

    /// Finds an account by its id. (Checks: `inserted_is_found`, `strangers_are_not_found`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError>;

    /// A page of the accounts in the order of their addresses in lower case, byte by byte, starting behind `after`.
    /// (Check: `list_pages_through_everyone`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError>;

    /// Sets a new password; tokens issued before `changed_at` are void from then on. (Check: `password_is_replaced`.)
    ///
    /// # Errors
    /// [`AuthError::NotFound`], [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn set_password(&self, id: AccountId, to: &PasswordHash, changed_at: Timestamp) -> Result<(), AuthError>;

    /// Replaces the hash of an unchanged password by a stronger one, if it is still `from`; says whether it was.
    /// (Check: `rehash_never_undoes_a_change`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError>;

    /// Locks an account out, or lets it in again. (Check: `disabled_is_kept`.)
    ///
    /// # Errors
    /// [`AuthError::NotFound`], [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError>;

    /// Removes an account and its API keys. Removing one that isn't there succeeds. (Checks: `delete_is_idempotent`,
    /// `api_keys_go_with_their_account`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn delete(&self, id: AccountId) -> Result<(), AuthError>;

    /// Adds an API key to its account. (Checks: `api_keys_are_found_until_they_are_deleted`,
    /// `api_keys_go_with_their_account`.)
    ///
    /// # Errors
    /// [`AuthError::NotFound`]: there is no such account. [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError>;

    /// Finds an API key by its digest. (Check: `api_keys_are_found_until_they_are_deleted`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError>;

    /// An account's API keys, the oldest first, those of the same moment by their ids. (Check: `api_keys_are_listed`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError>;

    /// Removes an API key of this account; says whether it was there. (Check:
    /// `api_keys_are_found_until_they_are_deleted`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError>;

    /// What is counted under a name. (Check: `tallies_are_swapped`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError>;

    /// Puts `to` in the place of what is counted under a name, or nothing, if that is still `from`; says whether it was.
    /// (Checks: `tallies_are_swapped`, `racing_swaps_have_one_winner`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError>;

    /// Forgets the tallies whose last event was before a moment. (Check: `old_tallies_are_forgotten`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError>;

    /// The connections that it keeps to its server. None by default: it keeps none, or does not tell.
    fn pool(&self) -> Option<PoolState> {
        None
    }

    /// Whether the store can be used right now. (Check: `ping_succeeds`.)
    ///
    /// # Errors
    /// [`AuthError::Unavailable`], [`AuthError::Internal`].
    async fn ping(&self) -> Result<(), AuthError>;
}

/// How often something has happened lately, such as logging in to an account with a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: u32,
    /// When last, in whole milliseconds.
    pub at: Timestamp,
}

/// What a [`Tally`] is kept under: 64 hexadecimal characters, a digest of what is counted. So nothing personal is kept,
/// and names that strangers think up are all of one length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TallyName(String);

impl TallyName {
    /// The name of what is counted: its kind, and which one it is.
    #[must_use]
    pub fn of(kind: &str, which: &str) -> Self {
        Self(hex::encode(Sha256::digest(format!("microserve {kind} {which}"))))
    }

    /// The 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its address, which is also its name.
    pub email: Email,
    /// The hash of its password.
    pub password: PasswordHash,
    /// Whether it may see to other people's things.
    pub admin: bool,
    /// Whether it is locked out.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its password was last changed: tokens issued before are void.
    pub password_changed_at: Timestamp,
}

/// An e-mail address (RFC 5321 §4.1.2, without quoted local parts and address literals): at most 254 bytes, the domain
/// in lower case. Two addresses that differ only in case are the same person's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address as people write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An address that is nobody's (RFC 2606 §2), for what was somebody's.
    pub(crate) fn nobody() -> Self {
        Self("nobody@invalid".to_owned())
    }

    /// What two spellings of the same address have in common: everything in lower case.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for Email {
    type Err = ParseEmailError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, domain) = text.rsplit_once('@').ok_or(ParseEmailError)?;
        let local_ok = !local.is_empty()
            && local.len() <= 64
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        let label_ok = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        if text.len() > 254 || !local_ok || !domain.split('.').all(label_ok) {
            return Err(ParseEmailError);
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }
}

impl TryFrom<String> for Email {
    type Error = ParseEmailError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses are personal: logs that print whole structures don't show them.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// The text is not an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address of the form name@host")]
pub struct ParseEmailError;

/// The hash of a password as a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what a store holds; whether it is a hash at all shows when a password is checked against it.
    #[must_use]
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The PHC string, for stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Never shows the hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Why accounts can't be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There is an account of this address already.
    #[error("there is an account of this address already")]
    AlreadyExists,
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// The store can't be reached or is busy: try again.
    #[error("the account store is unavailable")]
    Unavailable(#[source] BoxError),
    /// The store is broken or misused: trying again won't help.
    #[error("the account store failed")]
    Internal(#[source] BoxError),
}

impl Retryable for AuthError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_at_the_door() {
        for good in ["a@b.c", "first.last+tag@Example.COM", "anna@localhost", "jürgen@müller.de"] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c.d",
            "a@b..c",
            ".a@b.c",
            "a@-b.c",
            "a@b.c\r\nBcc: x@y.z",
            "a\u{0}@b.c",
            "<a@b.c>",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_personal() {
        let email: Email = "anna@example.com".parse().unwrap();
        assert_eq!(format!("{email:?} {:?}", PasswordHash::from_stored("$argon2id$…")), "Email(…) PasswordHash(…)");
    }
}
