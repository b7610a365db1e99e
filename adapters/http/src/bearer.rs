//! Who is calling: a bearer token (RFC 6750), or an API key in its place, of an account that is still welcome.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::Timestamp;
use microserve_core::BoxError;
use microserve_core::account::{Account, AccountId, AuthStore, Email};
use microserve_core::api_key::{self, ApiKeys, Scope, Scopes};
use microserve_core::clock::{Clock, since};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::auth_service::AuthService;
use crate::basic;
use crate::gateway::Shared;
use crate::jwt_secret::{self, Told};
use crate::problem::Problem;
use crate::token::{Claims, TokenKeys};

/// Whether a token's account is welcome is asked again after this long: a changed password ends tokens that soon, and a
/// revoked API key is good for no longer.
const FRESH: Duration = Duration::from_secs(30);
/// How long it is remembered, for when nobody answers.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// So many tokens and API keys are remembered.
const TOKENS: u64 = 10_000;
/// Who takes longer to answer is taken for one that can't be reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells whose a token or an API key is.
///
/// A token's signature is checked by the keys alone. Whether the account still exists, is not disabled and has had the
/// same password since is asked of whoever signs, at most every 30 s for each token; an API key is asked about as often.
/// When nobody answers, what was good goes on working.
#[derive(Clone)]
pub struct Verifier {
    issuer: Arc<dyn Issuer>,
    clock: Arc<dyn Clock>,
    /// By the SHA-256 of the token or key.
    known: Cache<[u8; 32], Known>,
    /// Whether the issuer may believe tokens of the tutorial's auth service.
    tutorial: bool,
}

/// Who signs tokens, and knows their accounts and the API keys: this process, or another.
#[async_trait]
pub(crate) trait Issuer: Send + Sync {
    /// What a token says that one of the issuer's keys has signed.
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Unverified>;

    /// Whether the account that a token was given to still exists, is not disabled, and has had the same password since.
    async fn is_welcome(&self, token: &str, claims: &Claims) -> Result<bool, BoxError>;

    /// Whose an API key is, if it is good.
    async fn holder(&self, key: &str) -> Result<Option<KeyHolder>, BoxError>;

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

/// What was last said of a token or an API key.
#[derive(Clone)]
struct Known {
    asked_at: Timestamp,
    holder: Arc<Holder>,
    welcome: bool,
}

/// What a token or an API key says: the answer of `/validate` (RFC 7662 §2.2 in spirit).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Holder {
    Token(Claims),
    Key(KeyHolder),
}

/// Whose an API key is, and what it may be used for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyHolder {
    /// The account.
    sub: AccountId,
    /// The account's address.
    username: Email,
    /// Scopes, with a space between them.
    scope: String,
    /// From when on it is not good any more, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl Holder {
    fn is_in_time(&self, now: Timestamp) -> bool {
        match self {
            Self::Token(claims) => claims.are_good(now),
            Self::Key(key) => key.exp.is_none_or(|exp| now.as_second() < exp),
        }
    }
}

/// Somebody with a good token, or with an API key that is good for what is asked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: AccountId,
    pub(crate) email: Email,
    pub(crate) admin: bool,
}

impl Verifier {
    /// Believes tokens that `keys` have signed for accounts in `accounts`, and these accounts' API keys.
    #[must_use]
    pub fn new(keys: Arc<TokenKeys>, accounts: Arc<dyn AuthStore>, clock: Arc<dyn Clock>) -> Self {
        let (api_keys, tutorial) = (ApiKeys::new(Arc::clone(&accounts), Arc::clone(&clock)), keys.secret().is_some());
        let issuer = OwnKeys { keys, accounts, api_keys, clock: Arc::clone(&clock) };
        Self { tutorial, ..Self::of(Arc::new(issuer), clock) }
    }

    /// Believes tokens that an auth service has signed, and API keys that it knows.
    #[must_use]
    pub fn remote(auth: Arc<AuthService>, clock: Arc<dyn Clock>) -> Self {
        Self::of(auth, clock)
    }

    fn of(issuer: Arc<dyn Issuer>, clock: Arc<dyn Clock>) -> Self {
        let known = Cache::builder().max_capacity(TOKENS).time_to_live(REMEMBERED).build();
        Self { issuer, clock, known, tutorial: false }
    }

    /// The same, for a gateway whose auth service believes tokens of the tutorial's: those are asked about like API keys.
    #[must_use]
    pub fn asking_about_tutorial_tokens(self) -> Self {
        Self { tutorial: true, ..self }
    }

    /// Whose request it is: that of somebody who has logged in.
    pub(crate) async fn person(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        match &*self.holder(headers).await? {
            Holder::Token(claims) => claims.caller(),
            Holder::Key(_) => Err(Problem::no_key_will_do()),
        }
    }

    /// Whose request it is, made by somebody who has logged in or with an API key of this scope.
    pub(crate) async fn caller(&self, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
        match &*self.holder(headers).await? {
            Holder::Token(claims) => claims.caller(),
            Holder::Key(key) if key.scope.parse::<Scopes>().unwrap_or_default().allow(scope) => {
                Ok(Caller { id: key.sub, email: key.username.clone(), admin: false })
            }
            Holder::Key(_) => Err(Problem::insufficient_scope(scope)),
        }
    }

    /// What the request's token or API key says, if it is good and its account is welcome.
    pub(crate) async fn holder(&self, headers: &HeaderMap) -> Result<Arc<Holder>, Problem> {
        let credential = basic::scheme(headers, "bearer").ok_or_else(Problem::invalid_token)?;
        let (name, now) = (name(credential), self.clock.now());
        let remembered = self.known.get(&name).await;
        let known = match remembered {
            Some(known) if since(now, known.asked_at) < FRESH => known,
            remembered => {
                let known = self.ask(credential, now, remembered.as_ref()).await?;
                if known.asked_at == now {
                    self.known.insert(name, known.clone()).await;
                }
                known
            }
        };
        if known.welcome && known.holder.is_in_time(now) { Ok(known.holder) } else { Err(Problem::invalid_token()) }
    }

    /// What is to be known of a token or an API key. What was asked at another time than now could not be asked again.
    async fn ask(&self, credential: &str, now: Timestamp, remembered: Option<&Known>) -> Result<Known, Problem> {
        if credential.starts_with(api_key::PREFIX) || self.tutorial && jwt_secret::is_one(credential) {
            return self.ask_about_key(credential, now, remembered).await;
        }
        let claims = match self.issuer.verify(credential, now).await {
            Ok(claims) => claims,
            Err(Unverified::Invalid) => return Err(Problem::invalid_token()),
            Err(Unverified::Unavailable(cause)) => return Err(Problem::unavailable(cause)),
        };
        let answer = in_time(self.issuer.is_welcome(credential, &claims)).await;
        let holder = Arc::new(Holder::Token(claims));
        Ok(match answer {
            Ok(welcome) => Known { asked_at: now, holder, welcome },
            // Nobody knows more than before, and the signature is good.
            Err(_) => {
                let (asked_at, welcome) =
                    remembered.map_or((Timestamp::MIN, true), |known| (known.asked_at, known.welcome));
                Known { asked_at, holder, welcome }
            }
        })
    }

    async fn ask_about_key(&self, key: &str, now: Timestamp, remembered: Option<&Known>) -> Result<Known, Problem> {
        match (in_time(self.issuer.holder(key)).await, remembered) {
            (Ok(Some(holder)), _) => Ok(Known { asked_at: now, holder: Arc::new(Holder::Key(holder)), welcome: true }),
            (Ok(None), Some(known)) => Ok(Known { asked_at: now, welcome: false, ..known.clone() }),
            (Ok(None), None) => Err(Problem::invalid_token()),
            (Err(_), Some(known)) => Ok(known.clone()),
            (Err(cause), None) => Err(Problem::unavailable(cause)),
        }
    }

    /// Removes the account of the request's token. The token is good for no more than [`FRESH`] then.
    pub(crate) async fn remove_account(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let holder = self.holder(headers).await?;
        let Holder::Token(claims) = &*holder else { return Err(Problem::no_key_will_do()) };
        let token = basic::scheme(headers, "bearer").ok_or_else(Problem::invalid_token)?;
        self.issuer.remove(token, claims).await.map_err(Problem::unavailable)?;
        info!(target: "audit", { account.id = %claims.sub }, "removed the account");
        self.known.invalidate(&name(token)).await;
        Ok(())
    }
}

/// An answer about an account. Who takes too long is taken for one that can't be reached.
async fn in_time<T>(answer: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err("it takes too long".into()));
    answer.inspect_err(|err| warn!(error = &**err as &dyn std::error::Error, "can't ask about an account"))
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
    api_keys: ApiKeys,
    clock: Arc<dyn Clock>,
}

impl OwnKeys {
    /// Who holds a token of the tutorial's, as an API key of every scope. It may be older than the account, which was taken
    /// over with its table; it is void if the password was changed since.
    async fn holder_of(&self, told: Told) -> Result<Option<KeyHolder>, BoxError> {
        let account = self.accounts.find(&told.username).await?;
        let is_void = |account: &Account| {
            let changed_at = account.password_changed_at;
            changed_at > account.created_at && told.iat.saturating_mul(1000) < changed_at.as_millisecond()
        };
        let account = account.filter(|account| !account.disabled && !is_void(account));
        let scope = Scopes::from_iter(Scope::ALL).to_string();
        Ok(account.map(|account| KeyHolder { sub: account.id, username: account.email, scope, exp: Some(told.exp) }))
    }
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

    async fn holder(&self, key: &str) -> Result<Option<KeyHolder>, BoxError> {
        if let Some(told) = self.keys.secret().and_then(|secret| secret.verify(key, self.clock.now())) {
            return self.holder_of(told).await;
        }
        let holder = self.api_keys.holder(key).await?;
        Ok(holder.map(|(account, key)| KeyHolder {
            sub: account.id,
            username: account.email,
            scope: key.scopes.to_string(),
            exp: key.expires_at.map(Timestamp::as_second),
        }))
    }

    async fn remove(&self, _token: &str, claims: &Claims) -> Result<(), BoxError> {
        Ok(self.accounts.delete(claims.sub).await?)
    }
}

/// Somebody who has logged in. What a person does, no API key will do for.
pub(crate) struct Person(pub(crate) Caller);

impl FromRequestParts<Shared> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Shared) -> Result<Self, Problem> {
        gateway.verifier.person(&parts.headers).await.map(Self)
    }
}

macro_rules! callers {
    ($($(#[doc = $doc:literal])+ $name:ident = $scope:ident;)+) => {$(
        $(#[doc = $doc])+
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<Shared> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, gateway: &Shared) -> Result<Self, Problem> {
                gateway.verifier.caller(&parts.headers, Scope::$scope).await.map(Self)
            }
        }
    )+};
}

callers! {
    /// Somebody who may see what the account has.
    Reader = Read;
    /// Somebody who may upload.
    Uploader = Upload;
    /// Somebody who may change jobs.
    Manager = Manage;
}
