//! The API as an OpenAPI 3.1 document, and as a page for people.
//!
//! Each call stands in one of the files beside (`accounts`, `uploads`, `tus`, `jobs`), its answers with the schemas of
//! the very structs that are written into them, its errors by their [`Code`](crate::Code). Tests hold the document
//! against the routers, and against what a server really answers. Calls between our own services are left out.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::get;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::page::File;
use crate::problem::Document;

mod accounts;
mod call;
mod docs;
mod jobs;
pub(crate) mod shapes;
mod tus;
mod uploads;

use call::Call;

const INTRODUCTION: &str = "\
Turns uploaded videos into MP3s: log in, upload, wait, download.

Errors are problem documents (RFC 9457), or one line for whoever accepts `text/plain` only. `code` stands for one case and \
does not change. Ids that are somebody else's are as unknown as those that never were.";

/// The document, as `GET /openapi.json` gives it.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schemas = settings.with(|s| s.definitions_path = "/components/schemas".into()).into_generator();
    let mut calls: Vec<Call> = accounts::calls(&mut schemas);
    calls.extend(uploads::calls(&mut schemas));
    calls.extend(tus::calls());
    calls.extend(jobs::calls(&mut schemas));
    schemas.subschema_for::<Document<'_>>();
    schemas.subschema_for::<shapes::Id>();
    let mut paths = Map::<String, Value>::new();
    for call in calls {
        let (path, method) = (call.path.to_owned(), call.method.to_ascii_lowercase());
        paths.entry(path).or_insert_with(|| json!({}))[method] = call.operation();
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "microserve",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Videos become MP3s",
            "description": INTRODUCTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        // Relative to where the document came from, so that it is right below any prefix.
        "servers": [{ "url": "." }],
        "tags": [
            { "name": "Accounts", "description": "Who you are, and what you may take up." },
            { "name": "Uploads", "description": "A video in one request." },
            { "name": "Resumable uploads", "description": "A video in several requests, which go on after a cut." },
            { "name": "Jobs", "description": "What becomes of a video, and the MP3." },
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "password": { "type": "http", "scheme": "basic", "description": "E-mail address and password, in UTF-8." },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The token that `POST /login` gives.",
                },
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "msk_…",
                    "description": "An API key that `POST /me/keys` gives, with one of the scopes.",
                },
            },
            "headers": call::headers(),
            "schemas": schemas.take_definitions(true),
        },
    });
    // The same order whatever else is built.
    document.sort_all_objects();
    document
}

static FILES: LazyLock<(File, File)> = LazyLock::new(|| {
    let document = document();
    // Such a value can always be written.
    let json = serde_json::to_vec(&document).unwrap_or_default();
    let policy = HeaderValue::try_from(docs::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let page = File::new("text/html; charset=utf-8", docs::page(&document).into()).with_policy(policy);
    (File::new("application/json", json.into()), page)
});

/// `GET /openapi.json` and `GET /docs`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/openapi.json", get(async |headers: HeaderMap| FILES.0.answer(&headers)))
        .route("/docs", get(async |headers: HeaderMap| FILES.1.answer(&headers)))
}
