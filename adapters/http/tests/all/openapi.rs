//! The OpenAPI document: against the routes that there are, and as it is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use crate::common;

use std::collections::BTreeSet;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::{World, answer, request};
use serde_json::Value;

/// Routes that the document leaves out: those between our own services, and pages.
const LEFT_OUT: [&str; 6] = ["/validate", "/.well-known/jwks.json", "/", "/docs", "/openapi.json", "/page/"];
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

#[test]
#[expect(clippy::disallowed_methods, reason = "people tell a test by a variable to write instead of comparing")]
fn openapi_json_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    let wanted = serde_json::to_string_pretty(&microserve_http::openapi()).unwrap() + "\n";
    if std::env::var_os("MICROSERVE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "MICROSERVE_WRITE_DOCS=1 cargo nextest run -p microserve-http --test all openapi";
    assert!(there == wanted, "openapi.json is not what the code says; `{hint}` writes it anew");
}

/// The paths of a router, which axum only shows to those who debug.
fn routes(app: &Router) -> BTreeSet<String> {
    let shown = format!("{app:?}");
    shown.split('"').filter(|text| text.starts_with('/')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_route_is_described() {
    let world = World::new().await;
    let document = microserve_http::openapi();
    let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut routes = routes(&world.app);
    assert!(routes.contains("/jobs/{id}"), "axum no longer shows its routes: {:?}", world.app);
    // Axum's own, for what no route takes.
    routes.retain(|path| !path.contains("__private__"));
    routes.retain(|path| !LEFT_OUT.contains(&path.as_str()) && !path.starts_with("/page/"));
    assert_eq!(routes, described);
}

#[tokio::test]
async fn exactly_the_methods_that_are_described_are_there() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let document = microserve_http::openapi();
    for (path, item) in document["paths"].as_object().unwrap() {
        let described: BTreeSet<_> = item.as_object().unwrap().keys().map(String::as_str).collect();
        // There is no such job: a route's own 404 has the code `malformed_id` before it.
        let at = path.replace("{id}", "malformed");
        for method in METHODS {
            // HEAD is answered wherever GET is (RFC 9110 §9.3.2). `DELETE /me` would end the account.
            if (method == "head" && described.contains("get")) || (method, path.as_str()) == ("delete", "/me") {
                continue;
            }
            let request = request(&method.to_ascii_uppercase(), &at, &token).header("tus-resumable", "1.0.0");
            // What `POST /files/{id}` is there for; the others do not look at it.
            let request = request.header("x-http-method-override", "HEAD");
            let answer = world.send(request.body(Body::empty()).unwrap()).await;
            let is_there = answer.status != StatusCode::METHOD_NOT_ALLOWED && answer.status != StatusCode::NOT_FOUND;
            assert_eq!(is_there, described.contains(method), "{method} {path}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn every_reference_and_every_call_is_complete() {
    let document = microserve_http::openapi();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}: its name is taken");
            for member in ["summary", "tags", "responses", "x-codeSamples"] {
                assert!(operation.get(member).is_some(), "{method} {path} has no {member}");
            }
        }
    }
    let mut places = vec![&document];
    while let Some(place) = places.pop() {
        match place {
            Value::Object(members) => {
                if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(name.strip_prefix('#').unwrap()).is_some(), "{name} is nowhere");
                }
                places.extend(members.values());
            }
            Value::Array(items) => places.extend(items),
            _ => {}
        }
    }
}

#[tokio::test]
async fn document_and_page_are_served_below_any_prefix() {
    let world = World::new().await;
    for (app, prefix) in [(world.app.clone(), ""), (Router::new().nest("/mp3", world.app.clone()), "/mp3")] {
        let get = |path: &str| Request::get(format!("{prefix}{path}"));
        let document = answer(&app, get("/openapi.json").body(Body::empty()).unwrap()).await;
        assert_eq!((document.status, document.header("content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(document.json(), microserve_http::openapi());
        assert_eq!(document.json()["servers"][0]["url"], ".");
        let again = get("/openapi.json").header(header::IF_NONE_MATCH, document.header("etag"));
        assert_eq!(answer(&app, again.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_MODIFIED);

        let page = answer(&app, get("/docs").body(Body::empty()).unwrap()).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
        let html = String::from_utf8(page.body.clone()).unwrap();
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
        let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{digest}'")), "{policy}");
        for foreign in ["<script", " style=", " src=", "href=\"http"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        for (path, _) in document.json()["paths"].as_object().unwrap() {
            assert!(html.contains(path.as_str()), "{path} is not on the page");
        }
    }
}
