//! API keys: made by people for machines, good for what their scopes say, and for no longer than they should be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use microserve_core::account::AuthStore;
use microserve_core::api_key::{ApiKeys, NewKey, Scope};
use microserve_http::{AuthService, Verifier, accounts_elsewhere};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::auth_service::{Hand, Service};
use crate::common::{Answer, PASSWORD, World, add_account, answer, request};
use crate::tokens::Outage;

async fn make(app: &Router, token: &str, wanted: &Value) -> Answer {
    answer(app, request("POST", "/me/keys", token).body(Body::from(wanted.to_string())).unwrap()).await
}

async fn get(app: &Router, credential: &str, path: &str) -> Answer {
    answer(app, request("GET", path, credential).body(Body::empty()).unwrap()).await
}

async fn revoke(app: &Router, token: &str, id: &Value) -> Answer {
    let path = format!("/me/keys/{}", id.as_str().unwrap());
    answer(app, request("DELETE", &path, token).body(Body::empty()).unwrap()).await
}

async fn with_hand() -> (World, Arc<Hand>) {
    let clock = Hand::new();
    (World::with(clock.clone(), |accounts| accounts).await, clock)
}

/// The world's gateway, whose accounts are in an auth service elsewhere.
fn gateway(world: &World, address: SocketAddr) -> Router {
    let auth = Arc::new(AuthService::new(&format!("http://{address}")).unwrap());
    let verifier = Verifier::remote(auth.clone(), world.clock.clone());
    world.gateway(verifier).merge(accounts_elsewhere(auth))
}

async fn from_making_to_revoking(world: &World, clock: &Hand, app: &Router) {
    let token = world.token("anna@example.com").await;
    let wanted = json!({"password": PASSWORD, "name": "build server", "scopes": ["read"]});
    let made = make(app, &token, &wanted).await;
    assert_eq!((made.status, made.header("cache-control")), (StatusCode::CREATED, "no-store"));
    let mut made = made.json();
    let key = made["key"].take();
    let key = key.as_str().unwrap();
    assert_eq!((made["name"].as_str(), &made["scopes"]), (Some("build server"), &json!(["read"])));
    made.as_object_mut().unwrap().remove("key");
    let list = get(app, &token, "/me/keys").await;
    assert_eq!((list.status, list.json()), (StatusCode::OK, json!({ "keys": [made] })), "without the key itself");

    let me = get(app, key, "/me").await;
    assert_eq!((me.status, me.json()["email"].as_str()), (StatusCode::OK, Some("anna@example.com")));
    let id = made["key_id"].clone();
    let bea = add_account(&world.accounts, &*world.clock, "bea@example.com").await;
    revoke(app, &world.token(bea.email.as_str()).await, &id).await.expect(404, "not_found");
    revoke(app, key, &id).await.expect(403, "insufficient_scope");
    assert_eq!(revoke(app, &token, &id).await.status, StatusCode::NO_CONTENT);
    revoke(app, &token, &id).await.expect(404, "not_found");
    clock.forward(Duration::from_secs(30));
    get(app, key, "/me").await.expect(401, "invalid_token");

    let hour = clock_after(clock, Duration::from_secs(3600));
    let short = json!({"password": PASSWORD, "name": "an hour", "scopes": ["read"], "expires_at": hour});
    let short = make(app, &token, &short).await.json();
    let short = short["key"].as_str().unwrap();
    assert_eq!(get(app, short, "/jobs").await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(3590));
    assert_eq!(get(app, short, "/jobs").await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(10));
    get(app, short, "/jobs").await.expect(401, "invalid_token");
}

fn clock_after(clock: &Hand, time: Duration) -> String {
    (microserve_core::Clock::now(clock) + time).to_string()
}

#[tokio::test]
async fn a_key_is_good_from_when_it_is_made_until_it_is_revoked_or_expires() {
    let (world, clock) = with_hand().await;
    from_making_to_revoking(&world, &clock, &world.app).await;
}

#[tokio::test]
async fn a_gateway_without_accounts_takes_them_too() {
    let (world, clock) = with_hand().await;
    let service = Service::start(world.app.clone()).await;
    from_making_to_revoking(&world, &clock, &gateway(&world, service.address)).await;
    service.stop().await;
}

/// What the document says of keys is true of every call in it, so of every route.
#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let (world, clock) = with_hand().await;
    let keys = ApiKeys::new(world.accounts.clone(), clock);
    let mut secrets = Vec::new();
    for scope in Scope::ALL {
        let new = NewKey { name: "one scope".to_owned(), scopes: [scope].into_iter().collect(), expires_at: None };
        secrets.push((scope, keys.make(world.anna.id, new).await.unwrap().1));
    }
    let document = microserve_http::openapi();
    let (mut allowed, mut refused) = (0, 0);
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, call) in verbs.as_object().unwrap() {
            let Some(ways) =
                call["security"].as_array().filter(|ways| ways.iter().any(|way| way.get("token").is_some()))
            else {
                continue;
            };
            for (scope, secret) in &secrets {
                let may = ways.iter().any(|way| way["key"] == json!([scope]));
                let id = "0123456789abcdef01234567";
                let path = path
                    .replace("{id}", id)
                    .replace("{name}", "a.mp4")
                    .replace("/download", &format!("/download?fid={id}"));
                let request = Request::builder().method(Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap());
                let request = request.uri(&path).header("authorization", format!("Bearer {}", secret.expose_secret()));
                let request = request.header("tus-resumable", "1.0.0").body(Body::empty()).unwrap();
                let answer = world.send(request).await;
                let what = format!("{verb} {path} with {scope:?}");
                if may {
                    assert!(!matches!(answer.status.as_u16(), 401 | 403), "{what}: {}", answer.status);
                    allowed += 1;
                } else {
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                    refused += 1;
                }
            }
        }
    }
    assert!(allowed >= 15 && refused >= 30, "{allowed} and {refused}");
}

#[tokio::test]
async fn only_who_knows_the_password_makes_keys_and_only_such_that_can_be_used() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let wanted = json!({"password": PASSWORD, "name": "ci", "scopes": ["upload"]});
    let with = |member: &str, value: Value| {
        let mut wanted = wanted.clone();
        wanted[member] = value;
        wanted
    };
    make(&world.app, &token, &with("password", json!("a guess"))).await.expect(401, "invalid_credentials");
    for (member, value) in [("name", json!(" ")), ("scopes", json!([])), ("expires_at", json!("2020-01-01T00:00:00Z"))]
    {
        make(&world.app, &token, &with(member, value)).await.expect(422, "invalid_key");
    }
    for (member, value) in [("scopes", json!(["everything"])), ("expires_at", json!("soon")), ("admin", json!(true))] {
        make(&world.app, &token, &with(member, value)).await.expect(400, "malformed_body");
    }
    let key = make(&world.app, &token, &wanted).await.json();
    let key = key["key"].as_str().unwrap();
    make(&world.app, key, &wanted).await.expect(403, "insufficient_scope");
    let refused = get(&world.app, key, "/jobs").await;
    refused.expect(403, "insufficient_scope");
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"microserve\", error=\"insufficient_scope\", scope=\"read\""
    );
    for almost in [&key[..key.len() - 1], &format!("{key}0"), &key.replace("msk_", "msk-"), "msk_"] {
        get(&world.app, almost, "/jobs").await.expect(401, "invalid_token");
    }
}

#[tokio::test]
async fn keys_work_while_the_account_store_is_down() {
    let outage = Arc::new(Outage::default());
    let (around, clock) = (outage.clone(), Hand::new());
    let world = World::with(clock.clone(), move |accounts| {
        around.accounts.set(accounts).ok();
        around
    })
    .await;
    let keys = ApiKeys::new(world.accounts.clone(), clock.clone());
    let new =
        |name: &str| NewKey { name: name.to_owned(), scopes: [Scope::Read].into_iter().collect(), expires_at: None };
    let (_, seen) = keys.make(world.anna.id, new("seen")).await.unwrap();
    let (_, fresh) = keys.make(world.anna.id, new("fresh")).await.unwrap();
    assert_eq!(world.get(seen.expose_secret(), "/jobs").await.status, StatusCode::OK);
    outage.down.store(true, Ordering::Relaxed);
    clock.forward(Duration::from_secs(60));
    assert_eq!(world.get(seen.expose_secret(), "/jobs").await.status, StatusCode::OK);
    world.get(fresh.expose_secret(), "/jobs").await.expect(503, "unavailable");
    outage.down.store(false, Ordering::Relaxed);
    assert_eq!(world.get(fresh.expose_secret(), "/jobs").await.status, StatusCode::OK);
    world.accounts.set_disabled(world.anna.id, true).await.unwrap();
    clock.forward(Duration::from_secs(30));
    world.get(seen.expose_secret(), "/jobs").await.expect(401, "invalid_token");
}
