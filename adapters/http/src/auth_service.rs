//! The auth service, seen from a gateway: its keys, its word on accounts, and what people say to it, passed on.
//!
//! The keys are fetched once, again every five minutes, and when a token names one that is not among them. Nobody is
//! asked for a request whose token was seen within 30 s.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request as Asked, State};
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use microserve_core::{BoxError, Shutdown};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};
use url::Url;

use crate::bearer::{Issuer, KeyHolder, Unverified};
use crate::client_address::{ClientAddress, X_FORWARDED_FOR};
use crate::edge::with_edge;
use crate::json;
use crate::problem::{Code, Problem};
use crate::token::{Claims, PublicKeys, TokenError};

/// The keys are fetched again this often.
const EVERY: Duration = Duration::from_secs(300);
/// Between two attempts to get the first keys.
const AGAIN: Duration = Duration::from_secs(2);
/// Strangers' tokens make the keys be fetched this often at most.
const SELDOM: Duration = Duration::from_secs(30);
/// A call that takes longer is given up. Above what a login may take in the auth service.
const PATIENCE: Duration = Duration::from_secs(7);
/// Longer answers are not the auth service's (bytes).
const MAX_ANSWER: usize = 64 * 1024;

/// What the auth service is told of a request's headers, and what the client is told of the answer's.
static ASKED: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
];
static ANSWERED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// An auth service elsewhere.
pub struct AuthService {
    base: Url,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    keys: RwLock<Option<Arc<PublicKeys>>>,
    /// When the keys were last asked for; one asks at a time.
    asked: Mutex<Option<Instant>>,
}

/// Why the auth service's address can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthServiceError {
    /// It is not a URL that can be called.
    #[error("write the auth service's address as http://HOST:PORT or https://HOST:PORT, perhaps with ?ca=FILE")]
    Url,
    /// The certificates can't be read.
    #[error("can't read certificates in PEM from {0}")]
    Ca(PathBuf),
    /// The TLS library does not work.
    #[error("TLS can't be set up")]
    Tls(#[source] BoxError),
}

impl AuthService {
    /// The auth service at `http://HOST:PORT`, or at `https://HOST:PORT`, whose certificate must be signed by an authority
    /// that browsers know, or by one of the PEM file in `?ca=FILE`. Nothing is called yet.
    ///
    /// # Errors
    /// [`AuthServiceError`], when the address can't be used.
    pub fn new(address: &str) -> Result<Self, AuthServiceError> {
        let mut base = Url::parse(address).map_err(|_| AuthServiceError::Url)?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() || !base.username().is_empty() {
            return Err(AuthServiceError::Url);
        }
        let ca = match base.query_pairs().collect::<Vec<_>>().as_slice() {
            [] => None,
            [(name, file)] if name == "ca" => Some(PathBuf::from(file.as_ref())),
            _ => return Err(AuthServiceError::Url),
        };
        base.set_query(None);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(ca)?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            // A pooled connection that the other side is about to close is the usual cause of a failed login.
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { base, client, keys: RwLock::new(None), asked: Mutex::new(None) })
    }

    /// Keeps the keys fresh until `shutdown` says stop.
    pub async fn keep_fresh(&self, shutdown: &Shutdown) {
        let mut known = false;
        loop {
            match self.fetch_keys().await {
                Ok(()) => {
                    if !known {
                        info!("got the auth service's keys");
                    }
                    known = true;
                }
                Err(err) => warn!(error = &*err as &dyn std::error::Error, "can't get the auth service's keys"),
            }
            tokio::select! {
                () = shutdown.stop().cancelled() => return,
                () = tokio::time::sleep(if known { EVERY } else { AGAIN }) => {}
            }
        }
    }

    /// Whether the service answers, which logins need. Tokens that were given out go on working without it.
    ///
    /// # Errors
    /// What was answered instead.
    pub async fn ping(&self) -> Result<(), BoxError> {
        self.fetch_keys().await
    }

    async fn fetch_keys(&self) -> Result<(), BoxError> {
        let (status, _, body) = self.call(Method::GET, ".well-known/jwks.json", HeaderMap::new(), Bytes::new()).await?;
        if status != StatusCode::OK {
            return Err(format!("asked for its keys, the auth service answered {status}").into());
        }
        let keys = serde_json::from_slice::<Value>(&body).ok().and_then(|jwks| PublicKeys::from_jwks(&jwks));
        let keys = keys.ok_or("the auth service's answer holds no Ed25519 key: is its address right?")?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
        Ok(())
    }

    /// Fetches the keys, unless that was done a moment ago.
    async fn look_for_keys(&self) -> Result<(), BoxError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|moment| moment.elapsed() < SELDOM) {
            return Ok(());
        }
        *asked = Some(Instant::now());
        self.fetch_keys().await
    }

    fn keys(&self) -> Option<Arc<PublicKeys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), BoxError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| "not a base")?.pop_if_empty().extend(path.split('/'));
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, Uri::try_from(url.as_str())?);
        *request.headers_mut() = headers;
        let answer = async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok((parts.status, parts.headers, body))
        };
        tokio::time::timeout(PATIENCE, answer).await.map_err(|_| "the auth service does not answer in time")?
    }
}

fn tls(ca: Option<PathBuf>) -> Result<rustls::ClientConfig, AuthServiceError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(&file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let added = certificates.map(|all| roots.add_parsable_certificates(all).0);
            if !added.is_ok_and(|added| added > 0) {
                return Err(AuthServiceError::Ca(file));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|err| AuthServiceError::Tls(err.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[async_trait]
impl Issuer for AuthService {
    async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Unverified> {
        if let Some(keys) = self.keys() {
            match keys.verify(token, now) {
                Ok(claims) => return Ok(claims),
                Err(TokenError::Invalid) => return Err(Unverified::Invalid),
                // Perhaps the auth service has a new one.
                Err(TokenError::UnknownKey) => {}
            }
        }
        let looked = self.look_for_keys().await;
        match (self.keys(), looked) {
            (Some(keys), _) => keys.verify(token, now).map_err(|_| Unverified::Invalid),
            (None, Err(err)) => Err(Unverified::Unavailable(err)),
            (None, Ok(())) => Err(Unverified::Unavailable("the auth service's keys are not known yet".into())),
        }
    }

    async fn is_welcome(&self, token: &str, _claims: &Claims) -> Result<bool, BoxError> {
        match self.call(Method::POST, "validate", bearer(token)?, Bytes::new()).await? {
            (StatusCode::OK, ..) => Ok(true),
            (StatusCode::UNAUTHORIZED, ..) => Ok(false),
            (status, ..) => Err(format!("asked about a token, the auth service answered {status}").into()),
        }
    }

    async fn holder(&self, key: &str) -> Result<Option<KeyHolder>, BoxError> {
        match self.call(Method::POST, "validate", bearer(key)?, Bytes::new()).await? {
            (StatusCode::OK, _, body) => Ok(Some(serde_json::from_slice(&body)?)),
            (StatusCode::UNAUTHORIZED, ..) => Ok(None),
            (status, ..) => Err(format!("asked about an API key, the auth service answered {status}").into()),
        }
    }

    async fn remove(&self, token: &str, _claims: &Claims) -> Result<(), BoxError> {
        match self.call(Method::DELETE, "account", bearer(token)?, Bytes::new()).await? {
            // It was removed already, and our token with it.
            (StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED, ..) => Ok(()),
            (status, ..) => Err(format!("asked to remove an account, the auth service answered {status}").into()),
        }
    }
}

fn bearer(token: &str) -> Result<HeaderMap, BoxError> {
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse()?)]))
}

/// `POST /login`, `POST /register`, `PUT /me/password` and what is below `/me/keys`, passed on to an auth service: its answer
/// is the client's.
pub fn accounts_elsewhere(auth: Arc<AuthService>) -> Router {
    let router = Router::new()
        .route("/login", post(pass_on))
        .route("/register", post(pass_on))
        .route("/me/password", put(pass_on))
        .route("/me/keys", get(pass_on).post(pass_on))
        .route("/me/keys/{id}", delete(pass_on));
    with_edge(router.with_state(auth))
}

async fn pass_on(
    State(auth): State<Arc<AuthService>>,
    client: ClientAddress,
    request: Asked,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(PATIENCE, json::small(body)).await;
    let body = body.map_err(|_| Problem::new(Code::TooSlow, "the body came too slowly"))??;
    let mut asked = picked(&parts.headers, &ASKED);
    if let Some(address) = client.0.and_then(|address| address.to_string().parse().ok()) {
        asked.insert(X_FORWARDED_FOR.clone(), address);
    }
    let path = parts.uri.path().trim_start_matches('/');
    let answer = auth.call(parts.method.clone(), path, asked, body).await;
    let (status, headers, body) = answer.map_err(Problem::unavailable)?;
    if !matches!(status.as_u16(), 200..=204 | 400..=499 | 503) {
        return Err(Problem::unavailable(format!("asked for {path}, the auth service answered {status}")));
    }
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, picked(&headers, &ANSWERED));
    Ok(response)
}

fn picked(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let (mut picked, wanted) = (HeaderMap::new(), headers.iter().filter(|(name, _)| names.contains(name)));
    for (name, value) in wanted {
        picked.append(name.clone(), value.clone());
    }
    picked
}
