//! Tokens of the tutorial's auth service: believed where that is asked for, and no more than is safe.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use microserve_core::Clock;
use microserve_core::account::AuthStore;
use microserve_http::{AuthService, JwtSecret, KeyError, Registration, TokenKeys, Verifier, accounts_elsewhere};
use ring::hmac;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::auth_service::{Hand, Service};
use crate::common::{Answer, World, answer, request};

const SECRET: &str = "a secret that is longer than thirty-two bytes";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn sign(header: &str, claims: &Value, secret: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// What the tutorial's auth service puts into a token.
fn claims(username: &str, clock: &Hand) -> Value {
    let now = clock.now().as_second();
    json!({"username": username, "exp": now + 86_400, "iat": now, "admin": true})
}

/// The world's services, which believe these tokens.
fn believing(world: &World) -> Router {
    let secret = JwtSecret::new(&SecretString::from(SECRET)).unwrap();
    let keys = TokenKeys::from_pems([world.keys.to_pem().as_str()]).unwrap().believing(secret);
    let verifier = Verifier::new(Arc::new(keys), world.accounts.clone(), world.clock.clone());
    let auth = world.auth(Registration::Closed, &verifier);
    world.gateway(verifier).merge(microserve_http::auth(auth))
}

async fn get(app: &Router, token: &str, path: &str) -> Answer {
    answer(app, request("GET", path, token).body(Body::empty()).unwrap()).await
}

async fn world() -> (World, Arc<Hand>) {
    let clock = Hand::new();
    (World::with(clock.clone(), |accounts| accounts).await, clock)
}

#[tokio::test]
async fn a_token_of_the_tutorial_is_good_for_what_people_do_every_day() {
    let (world, clock) = world().await;
    let service = Service::start(believing(&world)).await;
    let auth = Arc::new(AuthService::new(&format!("http://{}", service.address)).unwrap());
    let verifier = Verifier::remote(auth.clone(), world.clock.clone()).asking_about_tutorial_tokens();
    let apart = world.gateway(verifier).merge(accounts_elsewhere(auth));
    for app in [believing(&world), apart] {
        let token = sign(r#"{"typ":"JWT","alg":"HS256"}"#, &claims("Anna@example.com", &clock), SECRET);
        let me = get(&app, &token, "/me").await;
        assert_eq!(me.status, StatusCode::OK);
        let me = me.json();
        assert_eq!((&me["account_id"], &me["admin"]), (&world.anna.id.to_string().into(), &false.into()));
        let delete = request("DELETE", "/me", &token).body(Body::empty()).unwrap();
        answer(&app, delete).await.expect(403, "insufficient_scope");
        get(&app, &token, "/me/keys").await.expect(403, "insufficient_scope");
    }
    service.stop().await;
}

#[tokio::test]
async fn it_ends_with_its_time_a_new_password_or_its_account() {
    let (world, clock) = world().await;
    let app = believing(&world);
    let mut older = claims("anna@example.com", &clock);
    older["iat"] = json!(older["iat"].as_i64().unwrap() - 3600);
    let older = sign(HEADER, &older, SECRET);
    assert_eq!(get(&app, &older, "/jobs").await.status, StatusCode::OK, "its account was taken over");
    let old = sign(HEADER, &claims("anna@example.com", &clock), SECRET);
    assert_eq!(get(&app, &old, "/jobs").await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(60));
    world.accounts.set_password(world.anna.id, &world.anna.password, clock.now()).await.unwrap();
    get(&app, &old, "/jobs").await.expect(401, "invalid_token");
    get(&app, &older, "/jobs").await.expect(401, "invalid_token");
    let new = sign(HEADER, &claims("anna@example.com", &clock), SECRET);
    assert_eq!(get(&app, &new, "/jobs").await.status, StatusCode::OK);
    world.accounts.set_disabled(world.anna.id, true).await.unwrap();
    clock.forward(Duration::from_secs(30));
    get(&app, &new, "/jobs").await.expect(401, "invalid_token");
    world.accounts.set_disabled(world.anna.id, false).await.unwrap();
    clock.forward(Duration::from_secs(86_400 - 31));
    assert_eq!(get(&app, &new, "/jobs").await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(31));
    get(&app, &new, "/jobs").await.expect(401, "invalid_token");
}

#[tokio::test]
async fn nobody_else_makes_one_and_nobody_believes_it_unasked() {
    let (world, clock) = world().await;
    let app = believing(&world);
    let good = claims("anna@example.com", &clock);
    let with = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        sign(HEADER, &claims, SECRET)
    };
    let now = clock.now().as_second();
    let token = sign(HEADER, &good, SECRET);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for forged in [
        sign(HEADER, &good, "another secret that is longer than thirty-two bytes"),
        sign(r#"{"alg":"none","typ":"JWT"}"#, &good, SECRET),
        sign(r#"{"alg":"HS512","typ":"JWT"}"#, &good, SECRET),
        sign(r#"{"alg":"HS256","typ":"JWT","kid":"x"}"#, &good, SECRET),
        sign(r#"{"alg":"HS256"}"#, &good, SECRET),
        sign(HEADER, &json!({"username": "anna@example.com", "exp": now + 9}), SECRET),
        with("username", json!("nobody@example.com")),
        with("username", json!("anna")),
        with("exp", json!(now - 31)),
        with("exp", json!("9999999999")),
        with("iat", json!(now + 31)),
        with("iat", json!(i64::MIN)),
        format!("{signed}."),
        signed.to_owned(),
        format!("{signed}.{}", &signature[..signature.len() - 2]),
        format!("{token}="),
        format!("{token}.{signature}"),
        sign(HEADER, &json!({"x": "x".repeat(4096)}), SECRET),
    ] {
        get(&app, &forged, "/jobs").await.expect(401, "invalid_token");
    }
    assert_eq!(get(&app, &token, "/jobs").await.status, StatusCode::OK);
    get(&world.app, &token, "/jobs").await.expect(401, "invalid_token");
    assert_eq!(JwtSecret::new(&SecretString::from("sarcasm")).unwrap_err(), KeyError::ShortSecret);
}
