//! A gateway whose accounts are elsewhere: an auth service over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use common::{PASSWORD, World, answer, login, request};
use jiff::Timestamp;
use microserve_core::Shutdown;
use microserve_core::account::AuthStore;
use microserve_core::clock::Clock;
use microserve_core::job::JobStore;
use microserve_http::{Auth, AuthService, Limits, Registration, TokenKeys, Verifier, accounts_elsewhere, serve};
use tokio::net::TcpListener;

/// A time that stands still until it is moved.
pub(crate) struct Hand(Mutex<Timestamp>);

impl Hand {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())))
    }

    pub(crate) fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An auth service on an address, and how many requests it has had.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    shutdown: Shutdown,
}

impl Service {
    pub(crate) async fn start(router: Router) -> Self {
        Self::start_on(router, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_on(router: Router, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, shutdown, asked) = (listener.local_addr().unwrap(), Shutdown::new(), Arc::default());
        let (stopping, counted) = (shutdown.clone(), Arc::<AtomicUsize>::clone(&asked));
        let router = router.layer(from_fn(move |request: Request, next: Next| {
            counted.fetch_add(1, Ordering::Relaxed);
            next.run(request)
        }));
        shutdown.spawn(async move { serve(listener, router, Limits::default(), &stopping).await });
        Self { address, asked, shutdown }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    pub(crate) async fn stop(&self) {
        assert!(self.shutdown.drain(Duration::from_secs(5)).await);
    }
}

/// The world's own gateway again, without accounts and keys of its own.
fn gateway(world: &World, address: SocketAddr) -> Router {
    let auth = Arc::new(AuthService::new(&format!("http://{address}")).unwrap());
    let verifier = Verifier::remote(auth.clone(), world.clock.clone());
    world.gateway(verifier).merge(accounts_elsewhere(auth))
}

#[tokio::test]
async fn a_login_is_passed_on_word_for_word() {
    let world = World::new().await;
    let service = Service::start(world.app.clone()).await;
    let gateway = gateway(&world, service.address);
    let there = answer(&gateway, login("anna@example.com", PASSWORD)).await;
    assert_eq!((there.status, there.header("cache-control")), (StatusCode::OK, "no-store"));
    let token = there.json()["token"].as_str().unwrap().to_owned();
    let jobs = answer(&gateway, request("GET", "/jobs", &token).body(Body::empty()).unwrap()).await;
    assert_eq!(jobs.status, StatusCode::OK);

    let mut wrong = login("anna@example.com", "wrong");
    wrong.headers_mut().insert("x-request-id", "mine".parse().unwrap());
    let wrong = answer(&gateway, wrong).await;
    wrong.expect(401, "invalid_credentials");
    assert_eq!(wrong.header("www-authenticate"), "Basic realm=\"microserve\", charset=\"UTF-8\"");
    assert_eq!(
        (wrong.header("x-request-id"), &wrong.json()["instance"]),
        ("mine", &"urn:microserve:request:mine".into())
    );
}

#[tokio::test]
async fn nobody_is_asked_about_a_token_that_was_just_seen() {
    let world = World::new().await;
    let service = Service::start(world.app.clone()).await;
    let gateway = gateway(&world, service.address);
    let token = world.token("anna@example.com").await;
    let jobs = || request("GET", "/jobs", &token).body(Body::empty()).unwrap();
    assert_eq!(answer(&gateway, jobs()).await.status, StatusCode::OK);
    assert_eq!(service.asked(), 2, "its keys, and whether the account is welcome");
    for _ in 0..50 {
        assert_eq!(answer(&gateway, jobs()).await.status, StatusCode::OK);
    }
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn a_changed_password_ends_tokens_at_the_gateway_within_a_minute() {
    let clock = Hand::new();
    let world = World::with(clock.clone(), |accounts| accounts).await;
    let service = Service::start(world.app.clone()).await;
    let gateway = gateway(&world, service.address);
    let token = world.token("anna@example.com").await;
    let jobs = || request("GET", "/jobs", &token).body(Body::empty()).unwrap();
    assert_eq!(answer(&gateway, jobs()).await.status, StatusCode::OK);
    clock.forward(Duration::from_secs(1));
    world.accounts.set_password(world.anna.id, &world.anna.password, clock.now()).await.unwrap();
    clock.forward(Duration::from_secs(59));
    // The service remembers an account for 30 s, and the gateway what it was told for 30 s.
    assert_eq!(answer(&gateway, jobs()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_the_auth_service_tokens_work_and_logins_are_to_be_tried_again() {
    let clock = Hand::new();
    let world = World::with(clock.clone(), |accounts| accounts).await;
    let service = Service::start(world.app.clone()).await;
    let gateway = gateway(&world, service.address);
    let (token, jobs) = (world.token("anna@example.com").await, world.jobs.clone());
    let list = || request("GET", "/jobs", &token).body(Body::empty()).unwrap();
    assert_eq!(answer(&gateway, list()).await.status, StatusCode::OK);
    service.stop().await;
    clock.forward(Duration::from_secs(600));
    assert_eq!(answer(&gateway, list()).await.status, StatusCode::OK);
    let login = answer(&gateway, login("anna@example.com", PASSWORD)).await;
    login.expect(503, "unavailable");
    assert!(!login.header("retry-after").is_empty());
    assert!(jobs.due(Timestamp::MAX, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_gateway_that_does_not_know_the_keys_yet_refuses_nobody_for_good() {
    let world = World::new().await;
    let service = Service::start(world.app.clone()).await;
    let address = service.address;
    service.stop().await;
    let token = world.token("anna@example.com").await;
    let auth = Arc::new(AuthService::new(&format!("http://{address}")).unwrap());
    let gateway = world.gateway(Verifier::remote(auth.clone(), world.clock.clone()));
    let list = || request("GET", "/jobs", &token).body(Body::empty()).unwrap();
    answer(&gateway, list()).await.expect(503, "unavailable");
    assert!(auth.ping().await.is_err());

    let service = Service::start_on(world.app.clone(), address).await;
    auth.ping().await.unwrap();
    assert_eq!(answer(&gateway, list()).await.status, StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn a_new_key_is_looked_for_and_strangers_make_nobody_look_often() {
    let world = World::new().await;
    // What the service signs with from the next login on.
    let new = TokenKeys::generate().unwrap().to_pem();
    let both = Arc::new(TokenKeys::from_pems([world.keys.to_pem().as_str(), new.as_str()]).unwrap());
    let verifier = Verifier::new(both.clone(), world.accounts.clone(), world.clock.clone());
    let auth = microserve_http::auth(Auth { keys: both, ..world.auth(Registration::Closed, &verifier) });
    let service = Service::start(world.app.clone()).await;
    let address = service.address;
    let known = Arc::new(AuthService::new(&format!("http://{address}")).unwrap());
    known.ping().await.unwrap();
    let gateway = world.gateway(Verifier::remote(known, world.clock.clone()));
    service.stop().await;

    let service = Service::start_on(auth.clone(), address).await;
    let signed = answer(&auth, login("anna@example.com", PASSWORD)).await.json();
    let token = signed["token"].as_str().unwrap();
    let list = |token: &str| request("GET", "/jobs", token).body(Body::empty()).unwrap();
    assert_eq!(answer(&gateway, list(token)).await.status, StatusCode::OK);
    service.asked();
    let stranger = World::new().await.token("anna@example.com").await;
    for _ in 0..20 {
        answer(&gateway, list(&stranger)).await.expect(401, "invalid_token");
    }
    assert_eq!(service.asked(), 0, "it was asked for its keys a moment ago");
}

/// Keys change while people work: a new one is told to the gateways, signs when all of them know it, and the old one goes
/// when its last token has ended. Nobody is refused at any moment.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "people come and go as tasks")]
async fn keys_rotate_under_load_and_nobody_is_refused() {
    let world = World::new().await;
    let [old, new] = [world.keys.to_pem(), TokenKeys::generate().unwrap().to_pem()];
    let keys = Arc::new(TokenKeys::from_pems([old.as_str()]).unwrap());
    let verifier = Verifier::new(keys.clone(), world.accounts.clone(), world.clock.clone());
    let auth = world.auth(Registration::Closed, &verifier);
    let service = Service::start(microserve_http::auth(Auth { keys: keys.clone(), ..auth })).await;
    let known = [(); 2].map(|()| Arc::new(AuthService::new(&format!("http://{}", service.address)).unwrap()));
    let gateways = known.clone().map(|auth| {
        let verifier = Verifier::remote(auth.clone(), world.clock.clone());
        world.gateway(verifier).merge(accounts_elsewhere(auth))
    });
    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let people = (0..6).map(|n| {
        let (gateways, is_over, calls) = (gateways.clone(), is_over.clone(), calls.clone());
        tokio::spawn(async move {
            for turn in n.. {
                let logged_in = answer(&gateways[turn % 2], login("anna@example.com", PASSWORD)).await;
                assert_eq!(logged_in.status, StatusCode::OK, "{:?}", logged_in.body);
                let token = logged_in.json()["token"].as_str().unwrap().to_owned();
                for gateway in gateways.iter().cycle().take(20) {
                    let jobs = answer(gateway, request("GET", "/jobs", &token).body(Body::empty()).unwrap()).await;
                    assert_eq!(jobs.status, StatusCode::OK, "{:?}", jobs.body);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        })
    });
    let people: Vec<_> = people.collect();
    let a_while = async |calls: &AtomicUsize| {
        let before = calls.load(Ordering::Relaxed);
        while calls.load(Ordering::Relaxed) < before + 500 {
            assert!(people.iter().all(|person| !person.is_finished()), "somebody was refused");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let both = || TokenKeys::from_pems([old.as_str(), new.as_str()]).unwrap();
    a_while(&calls).await;
    assert!(keys.replace(&both().signing_with(0)));
    a_while(&calls).await;
    for auth in &known {
        auth.ping().await.unwrap();
    }
    assert!(keys.replace(&both()), "the new one signs");
    a_while(&calls).await;
    is_over.store(true, Ordering::Relaxed);
    for person in people {
        person.await.unwrap();
    }
    // Tokens of the old key are good as long as it is there, and no longer.
    let verifier = Verifier::remote(known[0].clone(), world.clock.clone());
    let fresh = world.gateway(verifier);
    let token = world.token("anna@example.com").await;
    let list = || request("GET", "/jobs", &token).body(Body::empty()).unwrap();
    assert_eq!(answer(&fresh, list()).await.status, StatusCode::OK);
    assert!(keys.replace(&TokenKeys::from_pems([new.as_str()]).unwrap()));
    known[0].ping().await.unwrap();
    let fresh = world.gateway(Verifier::remote(known[0].clone(), world.clock.clone()));
    answer(&fresh, list()).await.expect(401, "invalid_token");
    service.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_the_auth_services_is_passed_to_nobody() {
    let world = World::new().await;
    let other = Router::new().fallback(|| async { (StatusCode::BAD_GATEWAY, "x".repeat(100_000)) });
    let service = Service::start(other).await;
    let gateway = gateway(&world, service.address);
    answer(&gateway, login("anna@example.com", PASSWORD)).await.expect(503, "unavailable");
}

#[test]
fn addresses_that_can_not_be_called_are_refused() {
    for bad in
        ["", "auth:5000", "ftp://auth", "http://anna:secret@auth", "http://auth?tls=no", "https://auth?ca=/nowhere"]
    {
        let refused = AuthService::new(bad).err().unwrap_or_else(|| panic!("{bad:?} is taken")).to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
    for good in ["http://auth-service:5000", "https://auth.example.com/below"] {
        assert!(AuthService::new(good).is_ok(), "{good}");
    }
}
