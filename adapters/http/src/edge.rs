//! The edge: what every answer has, whatever made it.
//!
//! An `X-Request-Id`, `X-Content-Type-Options: nosniff`, and, if it is an error, a body that says so in the words the
//! client can read. Errors are logged here and nowhere else. Each request gets its [`Place`] in a trace here: in the one
//! that its header `traceparent` names, or in a new one. Of a stranger's header nothing but the two ids is believed.

use std::any::Any;
use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use microserve_core::job::JobId;
use microserve_core::trace::{Place, TraceContext};
use ring::rand::{SecureRandom, SystemRandom};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::{self, Empty};
use tracing::{Instrument, Span, error, info_span, warn};

use crate::problem::Problem;

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Puts the edge around a router's routes, its unknown paths included.
pub(crate) fn with_edge(router: Router) -> Router {
    router.layer(CatchPanicLayer::custom(panicked)).layer(from_fn(dress))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| String::new(), |words| (*words).to_owned()),
    };
    Problem::internal(format!("panicked: {words}")).into_response()
}

async fn dress(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    if let Ok(id) = HeaderValue::try_from(&id) {
        // Whoever passes the request on passes its id on.
        request.headers_mut().insert(X_REQUEST_ID.clone(), id);
    }
    let place = Place::of(caller(request.headers()));
    if let Ok(here) = HeaderValue::try_from(place.here.to_string()) {
        request.headers_mut().insert(TRACEPARENT.clone(), here);
    }
    request.extensions_mut().insert(place.here);
    let as_text = wants_text(request.headers());
    let span = span(&request, &id, &place);

    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("http.status", response.status().as_u16());
    let silent = !response.headers().contains_key(header::CONTENT_TYPE);
    let told = response.extensions_mut().remove::<Problem>();
    let problem = told.or_else(|| Problem::of_status(response.status()).filter(|_| silent));
    if let Some(problem) = problem {
        span.in_scope(|| log(&problem));
        write(&mut response, &problem, &id, as_text);
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), id);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn write(response: &mut Response, problem: &Problem, id: &str, as_text: bool) {
    let (kind, body) = if as_text {
        ("text/plain; charset=utf-8", problem.to_text().into_bytes())
    } else {
        ("application/problem+json", problem.to_json(id))
    };
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
}

/// Whoever sends nonsense is told so; the log is for what went wrong here.
fn log(problem: &Problem) {
    let Some(cause) = problem.cause() else { return };
    let (code, status) = (problem.code().as_str(), problem.code().status().as_u16());
    if status == 500 {
        error!(code, error = cause as &dyn Error, "a request failed");
    } else {
        warn!(code, error = cause as &dyn Error, "a request can't be answered right now");
    }
}

/// The route as the router has it. The path itself may have a file's name in it, which is not for a log.
fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str)
}

/// The job that the path names, if it names one.
fn job(request: &Request) -> Option<JobId> {
    let is_named = route(request).contains("/{id}");
    request.uri().path().split('/').find_map(|part| part.parse().ok()).filter(|_| is_named)
}

/// A request, for the log and for whoever records traces.
fn span(request: &Request, id: &str, Place { here, parent }: &Place) -> Span {
    info_span!(
        "request",
        request.id = id,
        trace_id = %here.trace,
        span_id = %here.span,
        parent_id = parent.map(field::display),
        http.method = %request.method(),
        http.route = route(request),
        http.status = Empty,
        job.id = job(request).map(field::display),
    )
}

/// The span of whoever sends the request, if it says so well-formed and once.
fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut told = headers.get_all(&TRACEPARENT).iter();
    let (only, None) = (told.next()?, told.next()) else { return None };
    only.to_str().ok()?.parse().ok()
}

/// The client's id when it is well-formed: 1 to 64 characters that are safe in a log. Else one of 96 random bits.
fn request_id(headers: &HeaderMap) -> String {
    let theirs = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(id) = theirs.filter(|id| (1..=64).contains(&id.len()) && id.chars().all(safe)) {
        return id.to_owned();
    }
    random_hex()
}

/// 96 random bits as hexadecimal characters.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 12];
    // An id without randomness still names the request for its client; nothing secret depends on it.
    let _ = SystemRandom::new().fill(&mut bytes);
    hex::encode(bytes)
}

/// Whether the client asks for text, and for text only.
pub(crate) fn wants_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds: Vec<_> = accepted
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .collect();
    kinds.iter().any(|kind| kind == "text/plain") && !kinds.iter().any(|kind| kind.ends_with("json"))
}

/// The prefix that a router is nested under: what the original path has before the path the router sees.
pub(crate) fn mount(parts: &Parts) -> String {
    let original = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    original.strip_suffix(parts.uri.path()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_believed_if_it_names_one_span() {
        let (one, other) = (TraceContext::begin(), TraceContext::begin());
        let headers = |values: &[String]| -> HeaderMap {
            values.iter().map(|value| (TRACEPARENT.clone(), HeaderValue::try_from(value).unwrap())).collect()
        };
        assert_eq!(caller(&headers(&[one.to_string()])), Some(one));
        for told in [vec![], vec![String::new()], vec![one.to_string(), other.to_string()], vec![one.to_string(); 2]] {
            assert_eq!(caller(&headers(&told)), None, "{told:?}");
        }
        let opaque = HeaderMap::from_iter([(TRACEPARENT.clone(), HeaderValue::from_bytes(b"00-\xff").unwrap())]);
        assert_eq!(caller(&opaque), None);
    }

    #[test]
    fn text_is_sent_to_those_who_ask_for_it() {
        let accept = |value: &'static str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
        assert!(wants_text(&accept("text/plain")));
        assert!(wants_text(&accept("Text/Plain;q=0.9, */*")));
        for other in ["*/*", "application/json, text/plain", "text/html", "application/problem+json,text/plain"] {
            assert!(!wants_text(&accept(other)), "{other}");
        }
    }
}
