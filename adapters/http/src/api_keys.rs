//! The caller's API keys: made, listed, revoked. By a person, never by a key.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use microserve_core::account::AuthError;
use microserve_core::api_key::{ApiKey, ApiKeyId, NewKey, Scope, Scopes};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::client_address::ClientAddress;
use crate::json;
use crate::login::{Auth, PATIENCE};
use crate::openapi::shapes;
use crate::problem::{Code, Problem};

/// A key that is wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The account's: the token alone does not do, as it may lie around.
    #[schemars(with = "String")]
    password: SecretString,
    /// What to call it: 1 to 100 bytes.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What it may be used for.
    #[schemars(with = "shapes::Scopes")]
    scopes: Vec<Scope>,
    /// Until when it is to be good; without, until it is revoked.
    #[schemars(with = "Option<shapes::Time>")]
    expires_at: Option<Timestamp>,
}

/// An API key as its owner sees it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
pub(crate) struct Shown {
    #[schemars(with = "shapes::Id")]
    key_id: ApiKeyId,
    name: String,
    #[schemars(with = "shapes::Scopes")]
    scopes: Scopes,
    #[schemars(with = "shapes::Time")]
    created_at: Timestamp,
    #[schemars(with = "Option<shapes::Time>")]
    expires_at: Option<Timestamp>,
}

impl From<ApiKey> for Shown {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, scopes, created_at, expires_at, .. } = key;
        Self { key_id: id, name, scopes, created_at, expires_at }
    }
}

/// A new key, with itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewApiKey")]
pub(crate) struct Made {
    #[serde(flatten)]
    shown: Shown,
    /// The key: for `Authorization: Bearer`, in a token's place. It is told this once.
    #[schemars(with = "shapes::Key")]
    key: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiKeys")]
pub(crate) struct Listed {
    /// The oldest first.
    keys: Vec<Shown>,
}

/// `GET /me/keys`.
pub(crate) async fn list(State(auth): State<Arc<Auth>>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = auth.verifier.person(&headers).await?;
    let keys = in_time(auth.api_keys.list(caller.id)).await?.map_err(of_store)?;
    let keys = keys.into_iter().map(Shown::from).collect();
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(Listed { keys })).into_response())
}

/// `POST /me/keys`.
pub(crate) async fn make(
    State(auth): State<Arc<Auth>>,
    client: ClientAddress,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let caller = auth.verifier.person(&headers).await?;
    let make = async {
        let body = json::small(request.into_body()).await?;
        let wanted: Wanted = json::parse(&body, r#"{"password","name","scopes"}, and "expires_at" if it is to end"#)?;
        let account = auth.login.login(caller.email.as_str(), wanted.password, client.of_somebody()).await?;
        let scopes = wanted.scopes.into_iter().collect();
        let new = NewKey { name: wanted.name, scopes, expires_at: wanted.expires_at };
        Ok::<_, Problem>(auth.api_keys.make(account.id, new).await?)
    };
    let (kept, key) = in_time(make).await??;
    let made = Made { shown: kept.into(), key: key.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// `DELETE /me/keys/{id}`.
pub(crate) async fn revoke(
    State(auth): State<Arc<Auth>>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let caller = auth.verifier.person(&headers).await?;
    let id: Option<ApiKeyId> = id.ok().and_then(|Path(text)| text.parse().ok());
    let id = id.ok_or_else(|| Problem::new(Code::MalformedId, "a key's id is 24 lower-case hexadecimal characters"))?;
    let was_there = in_time(auth.api_keys.revoke(caller.id, id)).await?.map_err(of_store)?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

async fn in_time<T>(done: impl Future<Output = T>) -> Result<T, Problem> {
    timeout(PATIENCE, done).await.map_err(|_| Problem::unavailable("the account store takes too long"))
}

fn of_store(err: AuthError) -> Problem {
    match err {
        AuthError::Unavailable(cause) => Problem::unavailable(cause),
        err => Problem::internal(err),
    }
}
