//! Who is calling: a bearer token (RFC 6750) of an account that is still welcome.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::Timestamp;
use microserve_core::account::{AccountId, AuthStore, Email};
use microserve_core::clock::{Clock, since};
use moka::future::Cache;
use tracing::warn;

use crate::basic;
use crate::gateway::Shared;
use crate::problem::Problem;
use crate::token::{Claims, InvalidToken, TokenKeys};

/// What is known of an account is asked again after this long: a changed password ends tokens that soon.
const FRESH: Duration = Duration::from_secs(30);
/// How long it is remembered, for when the store can't be reached.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// So many accounts are remembered.
const ACCOUNTS: u64 = 10_000;
/// A store that takes longer to answer is taken for one that can't be reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells whose a token is.
///
/// The signature is checked by the keys alone. Whether the account still exists, is not disabled and has had the same
/// password since is asked of the account store, at most every 30 s for each account. When the store can't be reached,
/// tokens go on working.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<TokenKeys>,
    accounts: Arc<dyn AuthStore>,
    clock: Arc<dyn Clock>,
    known: Cache<AccountId, Known>,
}

/// What the store said of an account.
#[derive(Clone, Copy)]
struct Known {
    asked_at: Timestamp,
    standing: Standing,
}

#[derive(Clone, Copy)]
enum Standing {
    /// Tokens are good that were issued at this moment or later.
    GoodSince(Timestamp),
    /// There is no such account, or it is disabled.
    Bad,
}

/// Somebody with a good token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: AccountId,
    pub(crate) email: Email,
}

impl Verifier {
    /// Believes tokens that `keys` have signed for accounts in `accounts`.
    #[must_use]
    pub fn new(keys: Arc<TokenKeys>, accounts: Arc<dyn AuthStore>, clock: Arc<dyn Clock>) -> Self {
        let known = Cache::builder().max_capacity(ACCOUNTS).time_to_live(REMEMBERED).build();
        Self { keys, accounts, clock, known }
    }

    /// Whose request it is.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let claims = self.claims(headers).await?;
        let email = claims.username.parse().map_err(|_| Problem::invalid_token())?;
        Ok(Caller { id: claims.sub, email })
    }

    /// What the request's token says, if it is good and its account is welcome.
    pub(crate) async fn claims(&self, headers: &HeaderMap) -> Result<Claims, Problem> {
        let token = basic::scheme(headers, "bearer").ok_or_else(Problem::invalid_token)?;
        let claims = self.keys.verify(token, self.clock.now()).map_err(|InvalidToken| Problem::invalid_token())?;
        if self.is_welcome(&claims).await { Ok(claims) } else { Err(Problem::invalid_token()) }
    }

    async fn is_welcome(&self, claims: &Claims) -> bool {
        match self.standing(claims.sub).await {
            Some(Standing::GoodSince(moment)) => !claims.issued_before(moment),
            Some(Standing::Bad) => false,
            // Nobody knows, and the signature is good.
            None => true,
        }
    }

    async fn standing(&self, id: AccountId) -> Option<Standing> {
        let (now, remembered) = (self.clock.now(), self.known.get(&id).await);
        if let Some(known) = remembered.filter(|known| since(now, known.asked_at) < FRESH) {
            return Some(known.standing);
        }
        let standing = match tokio::time::timeout(PATIENCE, self.accounts.get(id)).await {
            Ok(Ok(Some(account))) if !account.disabled => Standing::GoodSince(account.password_changed_at),
            Ok(Ok(_)) => Standing::Bad,
            Ok(Err(err)) => {
                warn!(error = &err as &dyn std::error::Error, "can't ask about an account: its token counts alone");
                return remembered.map(|known| known.standing);
            }
            Err(_) => {
                warn!("the account store does not answer: a token counts alone");
                return remembered.map(|known| known.standing);
            }
        };
        self.known.insert(id, Known { asked_at: now, standing }).await;
        Some(standing)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Shared) -> Result<Self, Problem> {
        gateway.verifier.caller(&parts.headers).await
    }
}
