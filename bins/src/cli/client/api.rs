//! Calls to a server.
//!
//! Nothing that a server sends is believed to be short, and no wait is without end. Redirects are not followed: a token
//! is for the server that gave it.

use std::future::Future;
use std::time::Duration;

use microserve_http::Code;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::patience::{Patience, Told, Trouble};
use super::store::Store;
use crate::cli::Failure;
use crate::config::{self, Address, Peer};

const CONNECT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes for so long is given up.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// Longer documents are not the server's (bytes).
const LONGEST: usize = 16 << 20;
const AGENT: &str = concat!("microserve/", env!("CARGO_PKG_VERSION"));

/// A server, and who calls.
pub(super) struct Api {
    http: Client,
    address: Address,
    token: Option<SecretString>,
}

/// RFC 9457, as far as it is of use here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    title: String,
    detail: String,
    code: String,
}

impl Api {
    /// The server that is meant, called with the token of its login, or the one that was given.
    pub(super) fn signed_in(client: &config::Client) -> Result<Self, Failure> {
        let (logins, peer) = (Store::open()?.logins()?, &client.peer);
        let address = meant(peer, logins.default.as_deref())?;
        let login = logins.of(&address);
        check_privacy(&address, peer.insecure || login.is_some_and(|login| login.insecure))?;
        let token = client.token.clone().or_else(|| login.map(|login| SecretString::from(login.token.clone())));
        let token = token.ok_or_else(|| {
            Failure::new(
                Failure::REFUSED,
                format!("you are not logged in at {address}: `microserve login --server {address}`"),
            )
        })?;
        Ok(Self { token: Some(token), ..Self::of(address)? })
    }

    /// A server that does not know yet who calls.
    pub(super) fn of(address: Address) -> Result<Self, Failure> {
        let client = Client::builder()
            .user_agent(AGENT)
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(15))
            .redirect(redirect::Policy::none())
            .referer(false);
        // There is one provider in the program, whoever chose it first.
        let _chosen_already = rustls::crypto::ring::default_provider().install_default();
        // Without TLS, the system's certificates are of no use, and need not be there.
        let client = if address.has_tls() { client } else { client.tls_certs_only([]) };
        let client = if address.is_here() { client.no_proxy() } else { client };
        let http = client.build().map_err(|err| Failure::new(1, format!("TLS can't be set up: {}", chain(&err))))?;
        Ok(Self { http, address, token: None })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    /// A request with a query.
    pub(super) fn request_with(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.address.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Makes a call that may be made again, and tries for some seconds.
    pub(super) async fn call(&self, make: impl Fn() -> RequestBuilder) -> Result<Response, Failure> {
        let mut patience = Patience::short();
        loop {
            match answer(make().send(), IDLE).await {
                Ok(response) => return Ok(response),
                Err(trouble) => patience.after(trouble).await?,
            }
        }
    }

    /// The same, for a document.
    pub(super) async fn document(&self, make: impl Fn() -> RequestBuilder) -> Result<Value, Failure> {
        let mut patience = Patience::short();
        loop {
            let document = async { document(answer(make().send(), IDLE).await?).await };
            match document.await {
                Ok(document) => return Ok(document),
                Err(trouble) => patience.after(trouble).await?,
            }
        }
    }
}

/// The server that is named, or else the one that was last logged in to.
pub(super) fn meant(peer: &Peer, default: Option<&str>) -> Result<Address, Failure> {
    let remembered = || default.and_then(|address| address.parse().ok());
    let address = peer.server.clone().or_else(remembered);
    address.ok_or_else(|| Failure::new(Failure::USAGE, "say which server: `microserve login --server ADDRESS`"))
}

/// Passwords and tokens are not shown to whoever is on the way.
pub(super) fn check_privacy(address: &Address, insecure: bool) -> Result<(), Failure> {
    if address.has_tls() || address.is_here() || insecure {
        return Ok(());
    }
    let words = "has no TLS, so whoever is on the way can read password, token and files: use https://, or --insecure";
    Err(Failure::new(Failure::USAGE, format!("{address} {words}")))
}

/// The answer to a call, if it is a success, or says that nothing has changed.
pub(super) async fn answer(
    call: impl Future<Output = reqwest::Result<Response>>,
    patience: Duration,
) -> Result<Response, Trouble> {
    let Ok(response) = timeout(patience, call).await else { return Err(silence()) };
    let response = response.map_err(|err| line(&err))?;
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    Err(Trouble::Told(told(response).await))
}

async fn told(response: Response) -> Told {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(response).await.unwrap_or_default();
    let Document { title, detail, code } = serde_json::from_slice(&body).unwrap_or_default();
    let mut detail = if detail.is_empty() { title } else { detail };
    if status.is_redirection() {
        let there = headers.get(header::LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default();
        detail = format!("it is elsewhere; call it at its own address: {there}");
    }
    // Answers to `HEAD` have no body.
    let code = match (code.is_empty(), status) {
        (true, StatusCode::UNAUTHORIZED) => Code::InvalidToken.as_str().to_owned(),
        _ => code,
    };
    if detail.is_empty() {
        detail = status.canonical_reason().unwrap_or("no more").to_owned();
    }
    Told { status, code, detail, after: retry_after(&headers) }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); dates are for caches.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// A body as JSON.
pub(super) async fn document(response: Response) -> Result<Value, Trouble> {
    let body = body(response).await?;
    let strange = "the server answers with something that is not JSON: is this a microserve gateway?";
    serde_json::from_slice(&body).map_err(|_| Trouble::Ours(Failure::new(1, strange)))
}

async fn body(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(piece) = piece(&mut response).await? {
        if body.len() + piece.len() > LONGEST {
            return Err(Trouble::Ours(Failure::new(1, "the server's answer is too long to be one")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The next piece of a body; none at its end.
pub(super) async fn piece(response: &mut Response) -> Result<Option<bytes::Bytes>, Trouble> {
    let Ok(piece) = timeout(IDLE, response.chunk()).await else { return Err(silence()) };
    piece.map_err(|err| line(&err))
}

pub(super) fn silence() -> Trouble {
    Trouble::Line("the server has fallen silent".to_owned())
}

fn line(err: &reqwest::Error) -> Trouble {
    let what = if err.is_connect() { "the server can't be reached" } else { "the connection broke" };
    Trouble::Line(format!("{what}: {}", chain(err)))
}

/// What is at the bottom of an error, without the address, which may be long.
fn chain(err: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = err;
    while let Some(source) = cause.source() {
        cause = source;
    }
    crate::cli::table::one_line(&cause.to_string(), 200)
}
