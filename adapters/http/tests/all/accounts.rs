//! Accounts: guesses are slowed down, people register, see what they use, change their password and leave; and nobody takes
//! up more than the quota.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use microserve_core::Shutdown;
use microserve_core::account::AuthStore;
use microserve_core::clock::SystemClock;
use microserve_core::job::{JobStore, ListQuery};
use microserve_core::login::Owners;
use microserve_core::memory::MemoryMailer;
use microserve_core::quota::Quota;
use microserve_http::{Auth, AuthService, Registration, Verifier, accounts_elsewhere};
use serde_json::{Value, json};

use crate::common::{Answer, LIMIT, PASSWORD, World, answer, file, login, request, upload, wav};
use crate::tokens::Outage;

const NEW: &str = "battery staple";

fn body(method: &str, path: &str, body: &Value) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::from(body.to_string())).unwrap()
}

async fn register(world: &World, email: &str, invitation: Option<&str>) -> Answer {
    let newcomer = json!({"email": email, "password": PASSWORD, "invitation": invitation});
    world.send(body("POST", "/register", &newcomer)).await
}

async fn change(world: &World, token: &str, current: &str, new: &str) -> Answer {
    let passwords = Body::from(json!({"current": current, "new": new}).to_string());
    world.send(request("PUT", "/me/password", token).body(passwords).unwrap()).await
}

async fn put(world: &World, token: &str) -> Answer {
    let part = [file("file", "holiday.wav", &wav(1))];
    world.send(upload(token, "/upload", &part)).await
}

#[tokio::test]
async fn the_sixth_guess_has_to_wait_whether_there_is_an_account_or_not() {
    let world = World::new().await;
    for name in ["anna@example.com", "nobody@example.com", "no address"] {
        for left in (0..5).rev() {
            let refused = world.send(login(name, "a guess")).await;
            refused.expect(401, "invalid_credentials");
            assert_eq!(refused.header("ratelimit"), format!("\"login\";r={left};t=900"), "{name}");
            assert_eq!(refused.header("ratelimit-policy"), "\"login\";q=5;w=900");
        }
        let throttled = world.send(login(name, PASSWORD)).await;
        throttled.expect(429, "throttled");
        assert_eq!(throttled.header("retry-after"), "1", "{name}");
        assert!(throttled.header("ratelimit").starts_with("\"login\";r=0;t="));
    }
}

#[tokio::test]
async fn nobody_is_slowed_down_by_logging_in() {
    let world = World::new().await;
    for _ in 0..4 {
        world.send(login("anna@example.com", "a slip")).await.expect(401, "invalid_credentials");
    }
    for _ in 0..8 {
        assert_eq!(world.send(login("Anna@Example.com", PASSWORD)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn registration_is_closed_unless_somebody_opens_it() {
    let world = World::new().await;
    register(&world, "bea@example.com", None).await.expect(403, "registration_closed");
    assert_eq!(world.accounts.find(&"bea@example.com".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn whoever_registers_can_log_in_and_an_address_that_is_there_is_not_told() {
    let mut world = World::new().await;
    world.rebuild(Registration::Open, Quota::default());
    let answers = [register(&world, "bea@example.com", None).await, register(&world, "ANNA@example.com", None).await];
    for answer in &answers {
        assert_eq!((answer.status, answer.body.len()), (StatusCode::CREATED, 0), "{answer:?}");
    }
    let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&answers[0]), names(&answers[1]), "nothing tells them apart");
    let token = world.token("bea@example.com").await;
    assert_eq!(world.get(&token, "/me").await.json()["admin"], false);
    let anna = world.accounts.find(&world.anna.email).await.unwrap().unwrap();
    assert_eq!(anna, world.anna, "and hers is as it was");
}

#[tokio::test]
async fn what_is_no_registration_is_refused_with_a_word_why() {
    let mut world = World::new().await;
    world.rebuild(Registration::Open, Quota::default());
    let weak = json!({"email": "bea@example.com", "password": "password1"});
    world.send(body("POST", "/register", &weak)).await.expect(422, "weak_password");
    let long = |length: usize| json!({"email": "bea@example.com", "password": "x".repeat(length)});
    world.send(body("POST", "/register", &long(1025))).await.expect(422, "weak_password");
    assert_eq!(world.send(body("POST", "/register", &long(1024))).await.status, StatusCode::CREATED);
    for bad in [
        json!({"email": "no address", "password": NEW}),
        json!({"email": "bea@example.com"}),
        json!({"email": "bea@example.com", "password": NEW, "admin": true}),
        json!(["bea@example.com", NEW]),
        json!({"email": "bea@example.com", "password": "x".repeat(9000)}),
    ] {
        let refused = world.send(body("POST", "/register", &bad)).await;
        refused.expect(400, "malformed_body");
        assert!(!String::from_utf8_lossy(&refused.body).contains(NEW), "{refused:?}");
    }
}

#[tokio::test]
async fn an_account_that_is_made_is_told_of_whatever_the_store_does_next() {
    let outage = Arc::new(Outage::default());
    let around = outage.clone();
    let mut world = World::with(Arc::new(SystemClock), move |accounts| {
        around.accounts.set(accounts).ok();
        around
    })
    .await;
    world.rebuild(Registration::Open, Quota::default());
    outage.insert_is_last.store(true, Ordering::Relaxed);
    assert_eq!(register(&world, "bea@example.com", None).await.status, StatusCode::CREATED);
    outage.down.store(false, Ordering::Relaxed);
    assert_eq!(world.send(login("bea@example.com", PASSWORD)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invitation_is_good_for_its_own_address_and_a_token_is_none() {
    let mut world = World::new().await;
    world.rebuild(Registration::Invited, Quota::default());
    let bea = "bea@example.com".parse().unwrap();
    let now = world.clock.now();
    let invitation = world.keys.invite(&bea, now).unwrap();
    let days = |n: u64| std::time::Duration::from_secs(n * 24 * 60 * 60);
    let late = world.keys.invite(&bea, now.checked_sub(days(8)).unwrap()).unwrap();
    let token = world.token("anna@example.com").await;
    let strangers = microserve_http::TokenKeys::generate().unwrap().invite(&bea, now).unwrap();
    let (start, end) = invitation.split_at(invitation.len() - 20);
    let spoiled = start.to_owned() + &end.replace(|c: char| c.is_ascii_lowercase(), "Z");
    for bad in [None, Some(&*late), Some(&*token), Some(&*strangers), Some(&*spoiled), Some("")] {
        register(&world, "bea@example.com", bad).await.expect(403, "invalid_invitation");
    }
    register(&world, "carl@example.com", Some(&invitation)).await.expect(403, "invalid_invitation");
    assert_eq!(register(&world, "Bea@example.com", Some(&invitation)).await.status, StatusCode::CREATED);
    assert_eq!(world.send(login("bea@example.com", PASSWORD)).await.status, StatusCode::OK);
    world.get(&invitation, "/jobs").await.expect(401, "invalid_token");
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    change(&world, &token, "a guess", NEW).await.expect(401, "invalid_credentials");
    change(&world, &token, PASSWORD, "short").await.expect(422, "weak_password");
    change(&world, "no token", PASSWORD, NEW).await.expect(401, "invalid_token");
    world.send(login("anna@example.com", NEW)).await.expect(401, "invalid_credentials");
    assert_eq!(change(&world, &token, PASSWORD, NEW).await.status, StatusCode::NO_CONTENT);
    world.send(login("anna@example.com", PASSWORD)).await.expect(401, "invalid_credentials");
    assert_eq!(world.send(login("anna@example.com", NEW)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_account_sees_what_it_uses_and_may_use() {
    let mut world = World::new().await;
    let quota = Quota { bytes: Some(1 << 30), unfinished: Some(9), ..Quota::default() };
    world.rebuild(Registration::Closed, quota);
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    world.convert(&id, b"an mp3").await;
    world.upload(&token).await;
    let me = world.get(&token, "/me").await;
    assert_eq!(me.header("cache-control"), "private, no-store");
    let me = me.json();
    assert_eq!((&me["email"], &me["admin"]), (&"anna@example.com".into(), &false.into()));
    assert_eq!(me["account_id"], world.anna.id.to_string());
    let usage = &me["usage"];
    assert_eq!(usage["bytes"], 2 * wav(1).len() + b"an mp3".len());
    assert_eq!((&usage["files"], &usage["queued"], &usage["seconds"]), (&2.into(), &1.into(), &1.0.into()));
    assert_eq!(me["limits"]["bytes"], 1 << 30);
    assert_eq!(me["limits"]["files"], Value::Null);
    assert_eq!((&me["limits"]["unfinished"], &me["limits"]["upload_bytes"]), (&9.into(), &LIMIT.into()));
}

#[tokio::test]
async fn over_the_quota_nothing_is_kept() {
    let mut world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    world.convert(&id, b"an mp3").await;
    let size = wav(1).len() as u64;
    let some = Quota::default();
    for (quota, status, code) in [
        (Quota { files: Some(1), ..some }, 507, "storage_quota"),
        (Quota { bytes: Some(size), ..some }, 507, "storage_quota"),
        // The bytes themselves show it.
        (Quota { bytes: Some(2 * size), ..some }, 507, "storage_quota"),
        (Quota { unfinished: Some(0), ..some }, 429, "too_many_jobs"),
        (Quota { seconds_per_day: Some(1.0), ..some }, 429, "daily_quota"),
    ] {
        world.rebuild(Registration::Closed, quota);
        let refused = put(&world, &token).await;
        refused.expect(status, code);
        assert_eq!(refused.headers.contains_key("retry-after"), status == 429, "{code}");
        assert_eq!(world.videos_left().await, 1, "{code}: the first one's");
    }
    let enough = Quota { bytes: Some(3 * size), files: Some(2), unfinished: Some(1), ..some };
    world.rebuild(Registration::Closed, Quota { seconds_per_day: Some(1.5), ..enough });
    assert_eq!(put(&world, &token).await.status, StatusCode::ACCEPTED);
    put(&world, &token).await.expect(429, "too_many_jobs");
}

#[tokio::test]
async fn an_upload_in_parts_counts_with_all_its_length() {
    let mut world = World::new().await;
    world.rebuild(Registration::Closed, Quota { bytes: Some(1000), ..Quota::default() });
    let token = world.token("anna@example.com").await;
    let create = |header: &str, length: u64| {
        let create = request("POST", "/files", &token).header("tus-resumable", "1.0.0");
        create.header(header, length).body(Body::empty()).unwrap()
    };
    let first = world.send(create("upload-length", 600)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    world.send(create("upload-length", 600)).await.expect(507, "storage_quota");
    let open = world.send(create("upload-defer-length", 1)).await;
    assert_eq!(open.status, StatusCode::CREATED);
    let patch = |length: u64| {
        let patch = request("PATCH", open.header("location"), &token).header("tus-resumable", "1.0.0");
        let patch = patch.header("upload-offset", 0).header("upload-length", length);
        patch.header("content-type", "application/offset+octet-stream").body(Body::from("RIFF")).unwrap()
    };
    world.send(patch(600)).await.expect(507, "storage_quota");
    assert_eq!(world.send(patch(300)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn whoever_leaves_leaves_nothing() {
    let world = World::new().await;
    let (token, bea) =
        (world.token("anna@example.com").await, world.insert_job(microserve_core::account::AccountId::random()).await);
    let id = world.upload(&token).await;
    world.convert(&id, b"an mp3").await;
    world.upload(&token).await;
    world.insert_job(world.anna.id).await;
    let gone = world.send(request("DELETE", "/me", &token).body(Body::empty()).unwrap()).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
    world.send(login("anna@example.com", PASSWORD)).await.expect(401, "invalid_credentials");
    let query = ListQuery { owner: Some(world.anna.id), status: None, after: None, limit: 9 };
    assert!(world.jobs.list(&query).await.unwrap().is_empty());
    assert!(world.jobs.get(bea.id).await.unwrap().is_some(), "others' things stay");
}

#[tokio::test]
async fn a_gateway_elsewhere_does_all_of_it_through_the_auth_service() {
    let mut world = World::new().await;
    world.rebuild(Registration::Open, Quota::default());
    let verifier = Verifier::new(world.keys.clone(), world.accounts.clone(), world.clock.clone());
    let service = microserve_http::auth_of_gateways(world.auth(Registration::Open, &verifier));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = world.shutdown.clone();
    world.shutdown.spawn(async move {
        microserve_http::serve(listener, service, microserve_http::Limits::default(), &stopping).await;
    });
    let known = std::sync::Arc::new(AuthService::new(&format!("http://{address}")).unwrap());
    known.ping().await.unwrap();
    let gateway = world.gateway(Verifier::remote(known.clone(), world.clock.clone())).merge(accounts_elsewhere(known));
    let newcomer = json!({"email": "bea@example.com", "password": PASSWORD});
    assert_eq!(answer(&gateway, body("POST", "/register", &newcomer)).await.status, StatusCode::CREATED);
    let refused = answer(&gateway, login("bea@example.com", "a guess")).await;
    refused.expect(401, "invalid_credentials");
    assert_eq!(refused.header("ratelimit"), "\"login\";r=4;t=900");
    let token = answer(&gateway, login("bea@example.com", PASSWORD)).await.json()["token"].as_str().unwrap().to_owned();
    let passwords = json!({"current": PASSWORD, "new": NEW}).to_string();
    let change = request("PUT", "/me/password", &token).body(Body::from(passwords)).unwrap();
    assert_eq!(answer(&gateway, change).await.status, StatusCode::NO_CONTENT);
    let token = answer(&gateway, login("bea@example.com", NEW)).await.json()["token"].as_str().unwrap().to_owned();
    let leave = request("DELETE", "/me", &token).body(Body::empty()).unwrap();
    assert_eq!(answer(&gateway, leave).await.status, StatusCode::NO_CONTENT);
    answer(&gateway, request("GET", "/me", &token).body(Body::empty()).unwrap()).await.expect(401, "invalid_token");
    assert_eq!(world.accounts.find(&"bea@example.com".parse().unwrap()).await.unwrap(), None);
    let account = request("DELETE", "/account", &token).body(Body::empty()).unwrap();
    answer(&gateway, account).await.expect(404, "not_found");
    world.shutdown.drain(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_has_an_account_hears_that_somebody_asked_for_another() {
    let world = World::new().await;
    let (mailer, shutdown) = (Arc::new(MemoryMailer::default()), Shutdown::new());
    let verifier = Verifier::new(world.keys.clone(), world.accounts.clone(), world.clock.clone());
    let owners =
        Owners { mailer: mailer.clone(), from: "mp3@example.com".parse().unwrap(), shutdown: shutdown.clone() };
    let auth = world.auth(Registration::Open, &verifier);
    let app = microserve_http::auth(Auth { login: auth.login.clone().telling(owners), ..auth });
    let newcomer = |email: &str| body("POST", "/register", &json!({"email": email, "password": PASSWORD}));
    for email in ["bea@example.com", "Anna@example.com", "anna@example.com"] {
        let answer = answer(&app, newcomer(email)).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::CREATED, 0), "{email}");
    }
    assert!(shutdown.drain(Duration::from_secs(5)).await);
    let mails = mailer.mails();
    assert_eq!(mails.len(), 1, "once, and nobody but her: {mails:?}");
    assert_eq!(mails[0].to.canonical(), "anna@example.com");
    assert!(mails[0].text.contains("which has one already"), "{}", mails[0].text);
}
