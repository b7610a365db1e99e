//! The page's files, as they are served. What they do is tried in a browser: `bins/tests/all/page.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use crate::common;

use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use common::{Answer, World, answer};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/page");

async fn get(app: &Router, path: &str) -> Answer {
    answer(app, Request::get(path).body(Body::empty()).unwrap()).await
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What a text names between double or single quotes behind `before`.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let behind = text.split(before).skip(1);
    behind.filter_map(|rest| rest.strip_prefix(['"', '\''])?.split(['"', '\'']).next())
}

fn assert_guarded(headers: &HeaderMap) {
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap());
    let policy = header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(header("referrer-policy"), Some("no-referrer"));
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    assert_eq!(header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn every_file_is_served_as_it_is_with_its_type() {
    let world = World::new().await;
    let types = [("js", "text/javascript"), ("css", "text/css"), ("svg", "image/svg+xml"), ("html", "text/html")];
    for file in files(Path::new(FOLDER)) {
        let name = file.strip_prefix(FOLDER).unwrap().to_str().unwrap();
        if name == "vendor/README.md" {
            continue;
        }
        let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
        let answer = get(&world.app, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: is it in the list of `page.rs`?");
        assert!(answer.body == std::fs::read(&file).unwrap(), "{path}");
        let kind = types.iter().find(|(ending, _)| file.extension().is_some_and(|e| e == *ending));
        assert!(answer.header("content-type").starts_with(kind.map_or("text/plain", |(_, kind)| kind)), "{path}");
        assert_guarded(&answer.headers);
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let world = World::new().await;
    for path in ["/", "/page/app.js"] {
        let first = get(&world.app, path).await;
        let again = Request::get(path).header(header::IF_NONE_MATCH, first.header("etag")).body(Body::empty()).unwrap();
        let again = answer(&world.app, again).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again.header("etag"), first.header("etag"));
        assert_guarded(&again.headers);
        let other = Request::get(path).header(header::IF_NONE_MATCH, "\"other\"").body(Body::empty()).unwrap();
        assert_eq!(answer(&world.app, other).await.status, StatusCode::OK);
    }
    let head = Request::head("/page/app.js").body(Body::empty()).unwrap();
    let head = answer(&world.app, head).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn the_page_finds_its_files_below_a_prefix() {
    let world = World::new().await;
    // Such as a proxy has, and a program that mounts the gateway.
    for (app, at) in [
        (world.app.clone(), "/"),
        (Router::new().nest("/mp3", world.app.clone()), "/mp3"),
        (Router::new().nest("/a/b", world.app.clone()), "/a/b"),
    ] {
        let page = String::from_utf8(get(&app, at).await.body).unwrap();
        let named: Vec<_> = quoted(&page, "src=").chain(quoted(&page, "href=")).collect();
        assert!(named.len() >= 4, "{named:?}");
        let base = url::Url::parse(&format!("http://host{at}")).unwrap();
        for name in named {
            let path = base.join(name).unwrap().path().to_owned();
            assert_eq!(get(&app, &path).await.status, StatusCode::OK, "{name} of {at}");
        }
    }
    // What a path has in it does not get into the markup.
    let anywhere = Router::new().nest("/{tenant}", world.app.clone());
    get(&anywhere, "/\"{").await.expect(404, "not_found");
    get(&world.app, "/page/").await.expect(404, "not_found");
    get(&world.app, "/page/../Cargo.toml").await.expect(404, "not_found");
}

#[test]
fn nothing_in_it_is_markup_from_outside_or_comes_from_elsewhere() {
    for file in files(Path::new(FOLDER)) {
        if file.components().any(|part| part.as_os_str() == "vendor") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick="]
        {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("://"), "{} names another host", file.display());
    }
}

#[test]
fn every_word_is_in_the_file_of_words() {
    let read = |name| std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    let (page, texts) = (read("index.html"), read("texts.js"));
    let named: Vec<_> = quoted(&page, "data-text=").collect();
    assert!(named.len() >= 10, "{named:?}");
    for name in named {
        assert!(texts.contains(&format!("\n  {name}: '")), "{name} is not in texts.js");
    }
}

#[test]
fn other_peoples_code_is_as_they_published_it() {
    let readme = include_str!("../../page/vendor/README.md");
    let digest = ring::digest::digest(&ring::digest::SHA256, include_bytes!("../../page/vendor/tus.min.js"));
    assert!(readme.contains(&hex::encode(digest)));
}
