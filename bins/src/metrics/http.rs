//! Requests, counted: by route as the router has it, never by path.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Outcome;

/// Seconds. Uploads take as long as their senders take.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

type Timed = Family<Route, Histogram, fn() -> Histogram>;

/// What is counted of requests.
#[derive(Clone)]
pub(super) struct Http {
    requests: Family<Answered, Counter>,
    durations: Timed,
    in_flight: Gauge,
    received: Family<Route, Counter>,
    sent: Family<Route, Counter>,
    logins: Family<Outcome, Counter>,
    uploads: Family<Outcome, Counter>,
}

impl Http {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let http = Self {
            requests: Family::default(),
            durations: Timed::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            received: Family::default(),
            sent: Family::default(),
            logins: Family::default(),
            uploads: Family::default(),
        };
        let Self { requests, durations, in_flight, received, sent, logins, uploads } = http.clone();
        registry.register("http_requests", "Requests, by the class of their status or as cut", requests);
        registry.register("http_request_duration_seconds", "Time until the answer begins", durations);
        registry.register("http_requests_in_flight", "Requests whose answer has not ended", in_flight);
        registry.register("http_received_bytes", "Bytes of requests' bodies", received);
        registry.register("http_sent_bytes", "Bytes of answers' bodies", sent);
        registry.register("logins", "Logins that were decided on here", logins);
        registry.register("uploads", "Uploads, as their senders heard of them", uploads);
        http
    }
}

/// Counts the requests to a router.
pub(super) fn counted(router: Router, http: &Http) -> Router {
    let http = http.clone();
    router.layer(from_fn(move |request, next| count(http.clone(), request, next)))
}

/// Counts the logins of a router.
pub(super) fn with_logins(router: Router, http: &Http) -> Router {
    let logins = http.logins.clone();
    router.layer(from_fn(move |request: Request, next: Next| {
        let logins = logins.clone();
        async move {
            let is_login = request.method() == Method::POST && route(&request) == "/login";
            let response = next.run(request).await;
            if is_login {
                logins.get_or_create(&Outcome { outcome: login(response.status()) }).inc();
            }
            response
        }
    }))
}

async fn count(http: Http, request: Request, next: Next) -> Response {
    let at = Route { route: route(&request).to_owned(), method: method(request.method()) };
    let (received, sent) = (http.received.get_or_create_owned(&at), http.sent.get_or_create_owned(&at));
    let mut flight = Flight { since: Instant::now(), status: None, became_a_job: false, http, at };
    flight.http.in_flight.inc();
    let request = request.map(|body| Body::new(Counted { body, bytes: received, _flight: None }));
    let response = next.run(request).await;
    flight.status = Some(response.status());
    flight.became_a_job = response.headers().contains_key("microserve-job");
    let landed = flight.land();
    response.map(|body| Body::new(Counted { body, bytes: sent, _flight: Some(landed) }))
}

/// A request without an answer yet. Dropped like that, as when its client has gone, it is counted as cut.
struct Flight {
    since: Instant,
    status: Option<StatusCode>,
    /// The answer to the last part of a resumable upload says so.
    became_a_job: bool,
    http: Http,
    at: Route,
}

impl Flight {
    /// The answer has begun.
    fn land(self) -> Landed {
        self.http.in_flight.inc();
        Landed(self.http.in_flight.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Route { route, method } = self.at.clone();
        let status = self.status.map_or("cut", class);
        self.http.in_flight.dec();
        self.http.durations.get_or_create(&self.at).observe(self.since.elapsed().as_secs_f64());
        if let Some(outcome) = upload(&route, method, status, self.became_a_job) {
            self.http.uploads.get_or_create(&Outcome { outcome }).inc();
        }
        self.http.requests.get_or_create(&Answered { route, method, status }).inc();
    }
}

/// An answer that is on its way, until it is dropped.
struct Landed(Gauge);

impl Drop for Landed {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The route as the router has it. Paths that nobody serves are one.
fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str)
}

fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

fn login(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "ok",
        401 | 403 => "refused",
        429 => "throttled",
        400..500 => "malformed",
        500.. => "failed",
    }
}

/// What became of an upload, if the answer decides on one: a part of a resumable one is none.
fn upload(route: &str, method: &str, status: &str, became_a_job: bool) -> Option<&'static str> {
    let is_whole = matches!((route, method), ("/upload", "POST") | ("/upload/{name}", "PUT"));
    let is_part = matches!((route, method), ("/files", "POST") | ("/files/{id}", "PATCH" | "POST"));
    match status {
        "4xx" if is_whole || is_part => Some("refused"),
        "5xx" if is_whole || is_part => Some("failed"),
        "2xx" if is_whole || (is_part && became_a_job) => Some("accepted"),
        // A resumable one goes on.
        "cut" if is_whole => Some("cut"),
        _ => None,
    }
}

/// A body whose bytes are counted.
struct Counted {
    body: Body,
    bytes: Counter,
    /// Held until the last byte is handed over.
    _flight: Option<Landed>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.bytes.inc_by(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
