//! Tokens: forged ones are refused, and good ones end with the password or the account.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{World, login, request};
use jiff::Timestamp;
use microserve_core::TokioClock;
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest};
use microserve_http::TokenKeys;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

/// A key that signs whatever it is given.
struct Forge(Ed25519KeyPair);

impl Forge {
    fn of(keys: &TokenKeys) -> Self {
        let pem = keys.to_pem();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        Self(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&STANDARD.decode(text).unwrap()).unwrap())
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn part(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

fn with(object: &Value, name: &str, value: Value) -> String {
    let mut object = object.clone();
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value;
    }
    object.to_string()
}

/// Everything that is not quite a token of ours.
fn forgeries(token: &str, ours: &Forge, now: i64) -> Vec<(String, String)> {
    let (header, claims) = (part(token, 0), part(token, 1));
    let (head, body) = (header.to_string(), claims.to_string());
    let mut forgeries = Vec::new();
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
        ("alg", json!("eddsa")),
        ("alg", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT")),
        ("typ", Value::Null),
        ("kid", json!("another")),
        ("kid", Value::Null),
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        forgeries.push((format!("header {name}={value}"), ours.sign(&with(&header, name, value), &body)));
    }
    for (name, value) in [
        ("iss", json!("evil")),
        ("aud", json!("other")),
        ("aud", json!(["microserve", "other"])),
        ("exp", json!(now - 31)),
        ("exp", json!("9999999999")),
        ("nbf", json!(now + 40)),
        ("iat", json!(now + 40)),
        ("iat", json!(-1)),
        ("sub", json!("x")),
        ("sub", json!("0".repeat(24))),
        ("jti", json!("")),
        ("username", json!("not an address")),
    ] {
        forgeries.push((format!("claim {name}={value}"), ours.sign(&head, &with(&claims, name, value))));
    }
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "username", "admin"] {
        forgeries.push((format!("without {name}"), ours.sign(&head, &with(&claims, name, Value::Null))));
    }

    let hmac = |secret: &[u8]| {
        let header = with(&header, "alg", json!("HS256"));
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&body));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())))
    };
    use ring::signature::KeyPair;
    forgeries.push(("HS256 with the public key".into(), hmac(ours.0.public_key().as_ref())));
    forgeries.push(("HS256 with nothing".into(), hmac(b"")));
    let stranger = Forge::of(&TokenKeys::generate().unwrap());
    forgeries.push(("another key under our kid".into(), stranger.sign(&head, &body)));
    let (unsigned, signature) = token.rsplit_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(with(&claims, "admin", json!(true)));
    let changed = format!("{}.{admin}.{signature}", unsigned.split('.').next().unwrap());
    for (name, forged) in [
        ("claims changed", changed),
        ("no signature", format!("{unsigned}.")),
        ("no signature, no dot", unsigned.to_owned()),
        ("a signature of zeros", format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("signature cut", token[..token.len() - 2].to_owned()),
        ("signature padded", format!("{token}==")),
        ("something behind", format!("{token}x")),
        ("a fourth part", format!("{token}.AAAA")),
        ("two tokens", format!("{token} {token}")),
        ("no json", ours.sign("x", &body)),
        ("a list of claims", ours.sign(&head, "[]")),
        ("longer than 4 KiB", ours.sign(&head, &with(&claims, "x", json!("x".repeat(4096))))),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
    ] {
        forgeries.push((name.into(), forged));
    }
    forgeries
}

#[tokio::test]
async fn no_forged_token_is_believed() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let ours = Forge::of(&world.keys);
    // The forge itself works: what it signs unchanged is believed.
    let (header, claims) = (part(&token, 0).to_string(), part(&token, 1).to_string());
    assert_eq!(world.get(&ours.sign(&header, &claims), "/jobs").await.status, StatusCode::OK);

    let forgeries = forgeries(&token, &ours, world.clock.now().as_second());
    assert!(forgeries.len() >= 40, "{}", forgeries.len());
    for (name, forged) in forgeries {
        println!("{name}");
        let answer = world.get(&forged, "/jobs").await;
        answer.expect(401, "invalid_token");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"microserve\", error=\"invalid_token\"");
    }
}

#[tokio::test]
async fn tokens_are_taken_from_one_authorization_header_only() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    world.send(get("/jobs")).await.expect(401, "invalid_token");
    world.send(get(&format!("/jobs?access_token={token}"))).await.expect(401, "invalid_token");
    for good in [format!("bearer {token}"), format!("BEARER   {token}  ")] {
        let request = Request::get("/jobs").header(header::AUTHORIZATION, good).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.status, StatusCode::OK);
    }
    let twice = request("GET", "/jobs", &token).header(header::AUTHORIZATION, format!("Bearer {token}"));
    world.send(twice.body(Body::empty()).unwrap()).await.expect(401, "invalid_token");
}

#[tokio::test]
async fn keys_rotate_while_tokens_of_the_old_are_good() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let new = TokenKeys::generate().unwrap().to_pem();
    let both = Arc::new(TokenKeys::from_pems([world.keys.to_pem().as_str(), new.as_str()]).unwrap());
    let auth = |keys: Arc<TokenKeys>| {
        let verifier = microserve_http::Verifier::new(keys.clone(), world.accounts.clone(), world.clock.clone());
        microserve_http::auth(microserve_http::Auth {
            keys,
            ..world.auth(microserve_http::Registration::Closed, &verifier)
        })
    };
    let validate = |token: &str| request("POST", "/validate", token).body(Body::empty()).unwrap();
    let claims = common::answer(&auth(both.clone()), validate(&token)).await.json();
    assert_eq!((&claims["username"], &claims["admin"]), (&"anna@example.com".into(), &false.into()));
    let signed = common::answer(&auth(both.clone()), login("anna@example.com", common::PASSWORD)).await.json();
    let signed = signed["token"].as_str().unwrap();
    let jwks =
        common::answer(&auth(both), Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap()).await.json();
    let kids: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    assert_eq!(kids, [&part(&token, 0)["kid"], &part(signed, 0)["kid"]]);
    world.send(validate(signed)).await.expect(401, "invalid_token");
}

/// A login without its hashing, which needs threads that a paused clock runs ahead of.
async fn paused() -> (World, Arc<Outage>, String) {
    let clock = TokioClock::start();
    let outage = Arc::new(Outage::default());
    let around = outage.clone();
    let world = World::with(Arc::new(clock), move |accounts| {
        around.accounts.set(accounts).ok();
        around
    })
    .await;
    let token = world.token("anna@example.com").await;
    tokio::time::pause();
    (world, outage, token)
}

#[tokio::test]
async fn a_token_ends_after_a_day() {
    let (world, _, token) = paused().await;
    tokio::time::advance(Duration::from_secs(86_400)).await;
    assert_eq!(world.get(&token, "/jobs").await.status, StatusCode::OK, "clocks may differ by 30 s");
    tokio::time::advance(Duration::from_secs(31)).await;
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
}

#[tokio::test]
async fn a_changed_password_ends_tokens_within_a_minute_but_not_the_next_one() {
    let (world, _, old) = paused().await;
    assert_eq!(world.get(&old, "/jobs").await.status, StatusCode::OK);
    tokio::time::advance(Duration::from_millis(100)).await;
    let hash = world.anna.password.clone();
    world.accounts.set_password(world.anna.id, &hash, world.clock.now()).await.unwrap();
    // In the same second, right after the change.
    tokio::time::advance(Duration::from_millis(100)).await;
    tokio::time::resume();
    let new = world.token("anna@example.com").await;
    tokio::time::pause();
    assert_eq!(world.get(&new, "/jobs").await.status, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(60)).await;
    world.get(&old, "/jobs").await.expect(401, "invalid_token");
    assert_eq!(world.get(&new, "/jobs").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_disabled_or_deleted_account_is_out_within_a_minute() {
    let (world, _, token) = paused().await;
    assert_eq!(world.get(&token, "/jobs").await.status, StatusCode::OK);
    world.accounts.set_disabled(world.anna.id, true).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
    let validate = request("POST", "/validate", &token).body(Body::empty()).unwrap();
    world.send(validate).await.expect(401, "invalid_token");
    world.accounts.set_disabled(world.anna.id, false).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(world.get(&token, "/jobs").await.status, StatusCode::OK);
    world.accounts.delete(world.anna.id).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
}

#[tokio::test]
async fn tokens_work_while_the_account_store_is_down() {
    let (world, outage, token) = paused().await;
    outage.down.store(true, Ordering::Relaxed);
    assert_eq!(world.get(&token, "/jobs").await.status, StatusCode::OK, "never asked about before");
    outage.down.store(false, Ordering::Relaxed);
    world.accounts.set_disabled(world.anna.id, true).await.unwrap();
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
    outage.down.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(60)).await;
    world.get(&token, "/jobs").await.expect(401, "invalid_token");
}

/// An account store that can be taken away.
#[derive(Default)]
pub(crate) struct Outage {
    pub(crate) accounts: std::sync::OnceLock<Arc<dyn AuthStore>>,
    pub(crate) down: AtomicBool,
    /// It goes away once it has made an account.
    pub(crate) insert_is_last: AtomicBool,
}

impl Outage {
    fn get(&self) -> Result<&Arc<dyn AuthStore>, AuthError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(AuthError::Unavailable("it is down".into()));
        }
        Ok(self.accounts.get().unwrap())
    }
}

#[async_trait]
impl AuthStore for Outage {
    async fn insert(&self, account: &Account) -> Result<(), AuthError> {
        let inserted = self.get()?.insert(account).await;
        self.down.fetch_or(self.insert_is_last.load(Ordering::Relaxed), Ordering::Relaxed);
        inserted
    }

    async fn find(&self, email: &Email) -> Result<Option<Account>, AuthError> {
        self.get()?.find(email).await
    }

    async fn get(&self, id: AccountId) -> Result<Option<Account>, AuthError> {
        self.get()?.get(id).await
    }

    async fn list(&self, after: Option<&Email>, limit: usize) -> Result<Vec<Account>, AuthError> {
        self.get()?.list(after, limit).await
    }

    async fn set_password(&self, id: AccountId, to: &PasswordHash, at: Timestamp) -> Result<(), AuthError> {
        self.get()?.set_password(id, to, at).await
    }

    async fn rehash(&self, id: AccountId, from: &PasswordHash, to: &PasswordHash) -> Result<bool, AuthError> {
        self.get()?.rehash(id, from, to).await
    }

    async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), AuthError> {
        self.get()?.set_disabled(id, disabled).await
    }

    async fn delete(&self, id: AccountId) -> Result<(), AuthError> {
        self.get()?.delete(id).await
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), AuthError> {
        self.get()?.insert_api_key(key).await
    }

    async fn find_api_key(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, AuthError> {
        self.get()?.find_api_key(digest).await
    }

    async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, AuthError> {
        self.get()?.api_keys(account).await
    }

    async fn delete_api_key(&self, account: AccountId, id: ApiKeyId) -> Result<bool, AuthError> {
        self.get()?.delete_api_key(account, id).await
    }

    async fn tally(&self, name: &TallyName) -> Result<Option<Tally>, AuthError> {
        self.get()?.tally(name).await
    }

    async fn swap_tally(&self, name: &TallyName, from: Option<Tally>, to: Option<Tally>) -> Result<bool, AuthError> {
        self.get()?.swap_tally(name, from, to).await
    }

    async fn forget_tallies(&self, before: Timestamp) -> Result<(), AuthError> {
        self.get()?.forget_tallies(before).await
    }

    async fn ping(&self) -> Result<(), AuthError> {
        self.get()?.ping().await
    }
}
