//! The page: what a browser gets at `/`, and the files that it is made of, at `/page/…`.
//!
//! The files are `adapters/http/page`, as they are; `app.js` is where to begin. They find the API by where they came
//! from, so that they work below any prefix, also one that a proxy takes away.

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use crate::conditional::Validators;

/// Nothing from elsewhere, nothing inline, nobody's frame; `blob:` is the MP3 that is played.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = include_str!("../page/index.html");

macro_rules! files {
    ($($kind:ident $($name:literal)+;)+) => {
        /// The files beside the page itself: name, media type and bytes.
        const FILES: &[(&str, &str, &[u8])] = &[$($(($name, $kind, include_bytes!(concat!("../page/", $name)))),+),+];
    };
}

files! {
    SCRIPT "api.js" "app.js" "dom.js" "events.js" "format.js" "job-row.js" "jobs.js" "options.js" "player.js"
        "session.js" "texts.js" "upload-row.js" "uploads.js" "vendor/tus.min.js";
    STYLE "style.css";
    IMAGE "icon.svg";
    TEXT "vendor/LICENSE.tus-js-client";
}

/// `GET /` and `GET /page/…`.
pub(crate) fn page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new().route("/", get(index)), |router, (name, kind, bytes)| {
        let file = File::new(kind, Bytes::from_static(bytes));
        router.route(&format!("/page/{name}"), get(async move |headers: HeaderMap| file.answer(&headers)))
    })
}

/// The page names its files relative to its own address, which has no `/` at its end where a router is nested.
async fn index(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let folder = uri.path().rsplit('/').next().unwrap_or_default();
    if folder.is_empty() {
        return File::new(HTML, Bytes::from_static(INDEX.as_bytes())).answer(&headers);
    }
    // It becomes a part of the markup: unreserved characters (RFC 3986 §2.3) mean nothing there.
    if !folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    File::new(HTML, INDEX.replace("\"page/", &format!("\"{folder}/page/")).into()).answer(&headers)
}

/// A file of the page.
#[derive(Clone)]
pub(crate) struct File {
    kind: &'static str,
    bytes: Bytes,
    etag: String,
    policy: HeaderValue,
}

impl File {
    pub(crate) fn new(kind: &'static str, bytes: Bytes) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let etag = format!("\"{}\"", hex::encode(digest));
        Self { kind, bytes, etag, policy: HeaderValue::from_static(POLICY) }
    }

    /// With another `Content-Security-Policy`.
    pub(crate) fn with_policy(self, policy: HeaderValue) -> Self {
        Self { policy, ..self }
    }

    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let validators = Validators { etag: self.etag.clone(), modified: None };
        let mut response = if validators.not_modified(headers) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(self.kind))];
            (kind, Body::from(self.bytes.clone())).into_response()
        };
        let headers = response.headers_mut();
        headers.extend(HeaderValue::try_from(&self.etag).ok().map(|etag| (header::ETAG, etag)));
        // Asked about every time: all files are of one version.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}
