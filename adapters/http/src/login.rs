//! Login: credentials become a token. And what others need to believe it: `/validate`, and the public keys.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use microserve_core::clock::Clock;
use microserve_core::login::Login;
use serde::Serialize;
use serde_json::Value;

use crate::basic;
use crate::bearer::Verifier;
use crate::edge::{wants_text, with_edge};
use crate::problem::Problem;
use crate::token::{Claims, LIFETIME, TokenKeys};

/// A login that takes longer is given up: the account store hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What logging in needs.
pub struct Auth {
    /// Lets people in.
    pub login: Login,
    /// Sign their tokens.
    pub keys: Arc<TokenKeys>,
    /// Says for others whether a token is good.
    pub verifier: Verifier,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// `POST /login`, `POST /validate`, `GET /.well-known/jwks.json`.
pub fn auth(auth: Auth) -> Router {
    let router = Router::new()
        .route("/login", post(login))
        .route("/validate", post(validate))
        .route("/.well-known/jwks.json", get(jwks));
    with_edge(router.with_state(Arc::new(auth)))
}

/// RFC 6749 §5.1 in spirit: a token, its type, and for how many seconds it is good.
#[derive(Serialize)]
struct Token {
    token: String,
    token_type: &'static str,
    expires_in: u64,
}

async fn login(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<Response, Problem> {
    let (name, password) = basic::credentials(&headers).ok_or_else(Problem::invalid_credentials)?;
    let login = tokio::time::timeout(PATIENCE, auth.login.login(&name, password));
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

/// Says what a token says, if it is as good as the gateway would find it.
async fn validate(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<Json<Claims>, Problem> {
    Ok(Json(auth.verifier.claims(&headers).await?))
}

async fn jwks(State(auth): State<Arc<Auth>>) -> ([(header::HeaderName, HeaderValue); 1], Json<Value>) {
    let cached = HeaderValue::from_static("public, max-age=300");
    ([(header::CACHE_CONTROL, cached)], Json(auth.keys.public().jwks()))
}
