//! Who is calling: a bearer token (RFC 6750) of an account that is still welcome.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::Timestamp;
use microserve_core::BoxError;
use microserve_core::account::{AccountId, AuthStore, Email};
use microserve_core::clock::{Clock, since};
use moka::future::Cache;
use tracing::{info, warn};

use crate::auth_service::AuthService;
use crate::basic;
use crate::gateway::Shared;
use crate::problem::Problem;
use crate::token::{Claims, TokenKeys};

/// Whether a token's account is welcome is asked again after this long: a changed password ends tokens that soon.
const FRESH: Duration = Duration::from_secs(30);
/// How long it is remembered, for when nobody answers.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// So many tokens are remembered.
const TOKENS: u64 = 10_000;
/// Who takes longer to answer is taken for one that can't be reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells whose a token is.
///
/// The signature is checked by the keys alone. Whether the account still exists, is not disabled and has had the same
/// password since is asked of whoever signs, at most every 30 s for each token. When nobody answers, tokens go on
/// working.
#[derive(Clone)]
pub struct Verifier {
    issuer: Arc<dyn Issuer>,
    clock: Arc<dyn Clock>,
    /// By the token's SHA-256.
    known: Cache<[u8; 32], Known>,
}

/// Who signs tokens, and knows their accounts: this process, or another.
#[async_trait]
pub(crate) trait Issuer: Send + Sync {
    /// What a token says that one of the issuer's keys has signed.
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Unverified>;

    /// Whether the account that a token was given to still exists, is not disabled, and has had the same password since.
    async fn is_welcome(&self, token: &str, claims: &Claims) -> Result<bool, BoxError>;

    /// Removes the account that a token was given to.
    async fn remove(&self, token: &str, claims: &Claims) -> Result<(), BoxError>;
}

/// Why a token could not be verified.
pub(crate) enum Unverified {
    /// It is not good.
    Invalid,
    /// The keys are not known yet.
    Unavailable(BoxError),
}

/// What was last said of a token.
#[derive(Clone, Copy)]
struct Known {
    asked_at: Timestamp,
    welcome: bool,
}

/// Somebody with a good token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: AccountId,
    pub(crate) email: Email,
    pub(crate) admin: bool,
}

impl Verifier {
    /// Believes tokens that `keys` have signed for accounts in `accounts`.
    #[must_use]
    pub fn new(keys: Arc<TokenKeys>, accounts: Arc<dyn AuthStore>, clock: Arc<dyn Clock>) -> Self {
        Self::of(Arc::new(OwnKeys { keys, accounts }), clock)
    }

    /// Believes tokens that an auth service has signed.
    #[must_use]
    pub fn remote(auth: Arc<AuthService>, clock: Arc<dyn Clock>) -> Self {
        Self::of(auth, clock)
    }

    fn of(issuer: Arc<dyn Issuer>, clock: Arc<dyn Clock>) -> Self {
        let known = Cache::builder().max_capacity(TOKENS).time_to_live(REMEMBERED).build();
        Self { issuer, clock, known }
    }

    /// Whose request it is.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let claims = self.claims(headers).await?;
        let email = claims.username.parse().map_err(|_| Problem::invalid_token())?;
        Ok(Caller { id: claims.sub, email, admin: claims.admin })
    }

    /// What the request's token says, if it is good and its account is welcome.
    pub(crate) async fn claims(&self, headers: &HeaderMap) -> Result<Claims, Problem> {
        let token = basic::scheme(headers, "bearer").ok_or_else(Problem::invalid_token)?;
        let claims = match self.issuer.verify(token, self.clock.now()).await {
            Ok(claims) => claims,
            Err(Unverified::Invalid) => return Err(Problem::invalid_token()),
            Err(Unverified::Unavailable(cause)) => return Err(Problem::unavailable(cause)),
        };
        if self.is_welcome(token, &claims).await { Ok(claims) } else { Err(Problem::invalid_token()) }
    }

    /// Removes the account of the request's token. The token is good for no more than [`FRESH`] then.
    pub(crate) async fn remove_account(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let claims = self.claims(headers).await?;
        let token = basic::scheme(headers, "bearer").ok_or_else(Problem::invalid_token)?;
        self.issuer.remove(token, &claims).await.map_err(Problem::unavailable)?;
        info!(target: "audit", { account.id = %claims.sub }, "removed the account");
        self.known.invalidate(&name(token)).await;
        Ok(())
    }

    async fn is_welcome(&self, token: &str, claims: &Claims) -> bool {
        let name = name(token);
        let (now, remembered) = (self.clock.now(), self.known.get(&name).await);
        if let Some(known) = remembered.filter(|known| since(now, known.asked_at) < FRESH) {
            return known.welcome;
        }
        match tokio::time::timeout(PATIENCE, self.issuer.is_welcome(token, claims)).await {
            Ok(Ok(welcome)) => {
                self.known.insert(name, Known { asked_at: now, welcome }).await;
                return welcome;
            }
            Ok(Err(err)) => warn!(error = &*err as &dyn std::error::Error, "can't ask about an account"),
            Err(_) => warn!("asking about an account takes too long"),
        }
        // Nobody knows more than before, and the signature is good.
        remembered.is_none_or(|known| known.welcome)
    }
}

/// What is remembered of a token: not the token itself.
fn name(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
    name
}

/// This process signs, and asks the account store.
struct OwnKeys {
    keys: Arc<TokenKeys>,
    accounts: Arc<dyn AuthStore>,
}

#[async_trait]
impl Issuer for OwnKeys {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Unverified> {
        self.keys.pairs().public().verify(token, now).map_err(|_| Unverified::Invalid)
    }

    async fn is_welcome(&self, _token: &str, claims: &Claims) -> Result<bool, BoxError> {
        let account = self.accounts.get(claims.sub).await?;
        Ok(account.is_some_and(|account| !account.disabled && !claims.issued_before(account.password_changed_at)))
    }

    async fn remove(&self, _token: &str, claims: &Claims) -> Result<(), BoxError> {
        Ok(self.accounts.delete(claims.sub).await?)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Shared) -> Result<Self, Problem> {
        gateway.verifier.caller(&parts.headers).await
    }
}
