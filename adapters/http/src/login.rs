//! Accounts: credentials become a token; people register and change their passwords. And what others need to believe
//! tokens: `/validate`, and the public keys.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use microserve_core::account::Email;
use microserve_core::api_key::ApiKeys;
use microserve_core::clock::Clock;
use microserve_core::login::Login;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use crate::api_keys;
use crate::basic;
use crate::bearer::Verifier;
use crate::client_address::ClientAddress;
use crate::edge::{wants_text, with_edge};
use crate::json;
use crate::openapi::shapes;
use crate::problem::{Code, Problem};
use crate::token::{LIFETIME, TokenKeys};

/// A request that takes longer is given up: the account store hangs, or the client does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What logging in needs.
pub struct Auth {
    /// Lets people in.
    pub login: Login,
    /// Their API keys.
    pub api_keys: ApiKeys,
    /// Sign their tokens.
    pub keys: Arc<TokenKeys>,
    /// Says for others whether a token is good.
    pub verifier: Verifier,
    /// Who may make an account.
    pub registration: Registration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Nobody, by themselves.
    #[default]
    Closed,
    /// Whoever was invited: see [`TokenKeys::invite`].
    Invited,
    /// Everybody.
    Open,
}

/// `POST /login`, `POST /register`, `PUT /me/password`, `GET` and `POST /me/keys`, `DELETE /me/keys/{id}`, `POST /validate`,
/// `GET /.well-known/jwks.json`.
pub fn auth(auth: Auth) -> Router {
    with_edge(routes().with_state(Arc::new(auth)))
}

/// The same, and what gateways elsewhere need: `DELETE /account`, which leaves it to them to remove jobs and files before.
/// Not for the internet.
pub fn auth_of_gateways(auth: Auth) -> Router {
    with_edge(routes().route("/account", delete(remove)).with_state(Arc::new(auth)))
}

fn routes() -> Router<Arc<Auth>> {
    Router::new()
        .route("/login", post(login))
        .route("/register", post(register))
        .route("/me/password", put(password))
        .route("/me/keys", get(api_keys::list).post(api_keys::make))
        .route("/me/keys/{id}", delete(api_keys::revoke))
        .route("/validate", post(validate))
        .route("/.well-known/jwks.json", get(jwks))
}

/// RFC 6749 §5.1 in spirit: a token, its type, and for how many seconds it is good.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Token {
    /// A JSON Web Token, for `Authorization: Bearer`.
    token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
}

async fn login(State(auth): State<Arc<Auth>>, client: ClientAddress, headers: HeaderMap) -> Result<Response, Problem> {
    let (name, password) = basic::credentials(&headers).ok_or_else(Problem::invalid_credentials)?;
    let login = timeout(PATIENCE, auth.login.login(&name, password, client.of_somebody()));
    let account = login.await.map_err(|_| Problem::unavailable("the login took too long"))??;
    let token = auth.keys.sign(&account, auth.clock.now()).map_err(Problem::internal)?;
    // RFC 6750 §5.3: tokens are not to be cached.
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    if wants_text(&headers) {
        return Ok((no_store, token).into_response());
    }
    let token = Token { token, token_type: "Bearer", expires_in: LIFETIME.as_secs() };
    Ok((no_store, Json(token)).into_response())
}

/// Somebody who wants an account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newcomer {
    #[schemars(with = "shapes::Email")]
    email: Email,
    #[schemars(with = "shapes::Password")]
    password: SecretString,
    /// For servers that want one.
    invitation: Option<String>,
}

/// Whether there was an account of this address already, is not told.
async fn register(
    State(auth): State<Arc<Auth>>,
    client: ClientAddress,
    request: Request,
) -> Result<StatusCode, Problem> {
    if auth.registration == Registration::Closed {
        return Err(Problem::new(Code::RegistrationClosed, "accounts are made by whoever runs this server"));
    }
    let register = async {
        let body = json::small(request.into_body()).await?;
        let newcomer: Newcomer = json::parse(&body, r#"{"email","password"}, and "invitation" if you have one"#)?;
        if auth.registration == Registration::Invited {
            let guest =
                newcomer.invitation.and_then(|token| auth.keys.pairs().public().guest(&token, auth.clock.now()));
            if guest.as_ref().map(Email::canonical) != Some(newcomer.email.canonical()) {
                return Err(Problem::new(Code::InvalidInvitation, "this needs an invitation for just this address"));
            }
        }
        auth.login.register(newcomer.email, newcomer.password, client.of_somebody()).await?;
        Ok(StatusCode::CREATED)
    };
    timeout(PATIENCE, register).await.map_err(|_| Problem::unavailable("registering took too long"))?
}

/// A password in the place of another.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passwords {
    #[schemars(with = "String", length(max = 1024))]
    current: SecretString,
    #[schemars(with = "shapes::Password")]
    new: SecretString,
}

/// The token alone does not do: it may lie around.
async fn password(
    State(auth): State<Arc<Auth>>,
    client: ClientAddress,
    headers: HeaderMap,
    request: Request,
) -> Result<StatusCode, Problem> {
    let caller = auth.verifier.person(&headers).await?;
    let change = async {
        let body = json::small(request.into_body()).await?;
        let Passwords { current, new } = json::parse(&body, r#"{"current","new"}"#)?;
        auth.login.change_password(&caller.email, current, new, client.of_somebody()).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    timeout(PATIENCE, change).await.map_err(|_| Problem::unavailable("changing the password took too long"))?
}

/// Says what a token or an API key says, if it is as good as the gateway would find it.
async fn validate(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<Response, Problem> {
    let holder = auth.verifier.holder(&headers).await?;
    Ok(Json(&*holder).into_response())
}

async fn remove(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    let removed = timeout(PATIENCE, auth.verifier.remove_account(&headers)).await;
    removed.map_err(|_| Problem::unavailable("removing the account took too long"))??;
    Ok(StatusCode::NO_CONTENT)
}

async fn jwks(State(auth): State<Arc<Auth>>) -> ([(header::HeaderName, HeaderValue); 1], Json<Value>) {
    let cached = HeaderValue::from_static("public, max-age=300");
    ([(header::CACHE_CONTROL, cached)], Json(auth.keys.pairs().public().jwks()))
}
