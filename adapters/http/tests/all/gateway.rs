//! The happy way, who may see what, and what every answer has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use common::{Answer, World, add_account, answer, file, login, option, request, upload, wav};
use microserve_core::account::AccountId;
use microserve_core::job::{JobStore, Policy};
use microserve_core::transcode::{Channels, Quality};
use microserve_core::{Shutdown, SystemClock};
use microserve_http::{Check, Checks, Ops};

#[tokio::test]
async fn login_upload_look_download_delete() {
    let world = World::new().await;
    let answer = world.send(login("Anna@example.com", common::PASSWORD)).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let told = answer.json();
    assert_eq!((&told["token_type"], &told["expires_in"]), (&"Bearer".into(), &86_400.into()));
    let token = told["token"].as_str().unwrap();

    let answer = world.send(upload(token, "/upload", &[file("anything", "holiday.wav", &wav(1))])).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let accepted = answer.json();
    let id = accepted["job_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/jobs/{id}"));
    assert_eq!((&accepted["status"], &accepted["links"]["self"]), (&"queued".into(), &format!("/jobs/{id}").into()));

    world.convert(id, b"ID3 an mp3").await;
    let job = world.get(token, &format!("/jobs/{id}")).await.json();
    assert_eq!((&job["status"], &job["progress"], &job["error"]), (&"done".into(), &1.0.into(), &().into()));
    assert_eq!(
        (&job["filename"], &job["mail"], &job["attempts"]),
        (&"holiday.wav".into(), &"pending".into(), &1.into())
    );
    assert_eq!(job["output"]["size"], 10);
    let mp3 = world.get(token, job["links"]["download"].as_str().unwrap()).await;
    assert_eq!((mp3.status, &mp3.body[..]), (StatusCode::OK, &b"ID3 an mp3"[..]));

    let delete = || request("DELETE", &format!("/jobs/{id}"), token).body(Body::empty()).unwrap();
    assert_eq!(world.send(delete()).await.status, StatusCode::NO_CONTENT);
    world.send(delete()).await.expect(404, "not_found");
    world.get(token, &format!("/jobs/{id}")).await.expect(404, "not_found");
}

#[tokio::test]
async fn a_login_in_text_is_the_bare_token() {
    let world = World::new().await;
    let mut request = login("anna@example.com", common::PASSWORD);
    request.headers_mut().insert(header::ACCEPT, "text/plain".parse().unwrap());
    let token = String::from_utf8(world.send(request).await.body).unwrap();
    assert_eq!(world.get(&token, "/jobs").await.status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_get_the_same_bytes() {
    let world = World::new().await;
    let mut seen = HashSet::new();
    let none = Request::post("/login").body(Body::empty()).unwrap();
    for request in [login("anna@example.com", "wrong"), login("nobody@example.com", "wrong"), login("", ""), none] {
        let mut request = request;
        request.headers_mut().insert("x-request-id", "the-same".parse().unwrap());
        let answer = world.send(request).await;
        answer.expect(401, "invalid_credentials");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"microserve\", charset=\"UTF-8\"");
        seen.insert(answer.body);
    }
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn options_are_taken_from_parts_and_query() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let parts = [option("bitrate", "192k"), option("title", "Für Elise"), file("f", "a.wav", &wav(1))];
    let answer = world.send(upload(&token, "/upload?mono=true", &parts)).await;
    let id = answer.json()["job_id"].as_str().unwrap().parse().unwrap();
    let options = world.jobs.get(id).await.unwrap().unwrap().options;
    assert_eq!((options.quality, options.channels), (Some(Quality::Cbr(192)), Some(Channels::Mono)));
    assert_eq!(options.title.as_deref(), Some("Für Elise"));
}

#[tokio::test]
async fn links_lead_back_below_a_prefix() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let nested = Router::new().nest("/mp3", world.app.clone());
    let accepted = answer(&nested, upload(&token, "/mp3/upload", &[file("f", "a.wav", &wav(1))])).await;
    let location = accepted.header("location").to_owned();
    assert!(location.starts_with("/mp3/jobs/"), "{location}");
    let job = answer(&nested, request("GET", &location, &token).body(Body::empty()).unwrap()).await;
    assert_eq!(job.json()["links"]["self"], location.as_str());
}

#[tokio::test]
async fn nobody_reaches_what_is_somebody_elses() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let job = world.convert(&id, b"anna's").await;
    let fid = job.mp3().unwrap();
    add_account(&world.accounts, &SystemClock, "eve@example.com").await;
    let eve = world.token("eve@example.com").await;
    let unknown = AccountId::random();

    let paths = [("GET", "/jobs/"), ("DELETE", "/jobs/"), ("GET", "/download?fid="), ("HEAD", "/download?fid=")];
    for (method, path) in paths {
        for key in [id.clone(), fid.to_string(), job.video.to_string()] {
            let send = async |key: &str| {
                let request = request(method, &format!("{path}{key}"), &eve).header("x-request-id", "same");
                world.send(request.body(Body::empty()).unwrap()).await
            };
            let (foreign, never) = (send(&key).await, send(&unknown.to_string()).await);
            assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{method} {path}{key}");
            assert_eq!(foreign.body, never.body, "{method} {path}");
        }
    }
    assert_eq!(world.get(&eve, "/jobs").await.json()["jobs"].as_array().unwrap().len(), 0);
    assert_eq!(world.get(&token, &format!("/download?fid={fid}")).await.body, b"anna's");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_in_pages() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.upload(&token).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ids.reverse();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&token, &format!("/jobs?limit=2{cursor}")).await.json();
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 2);
        listed.extend(jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, ids);
    let done = world.get(&token, "/jobs?status=done").await.json();
    assert_eq!((done["jobs"].as_array().unwrap().len(), &done["next_cursor"]), (0, &().into()));
    for bad in ["limit=0", "limit=101", "limit=x", "status=asleep", "cursor=x", "cursor=0-x", "limit=1&limit=2"] {
        world.get(&token, &format!("/jobs?{bad}")).await.expect(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn an_unchanged_job_is_not_sent_again() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let path = format!("/jobs/{id}");
    let etag = world.get(&token, &path).await.header("etag").to_owned();
    let again = async || {
        let request = request("GET", &path, &token).header(header::IF_NONE_MATCH, &etag);
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let same = again().await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (StatusCode::NOT_MODIFIED, 0, etag.as_str()));
    world.convert(&id, b"mp3").await;
    assert_eq!(again().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unfinished_job_is_cancelled() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let cancel = request("DELETE", &format!("/jobs/{id}"), &token).body(Body::empty()).unwrap();
    let answer = world.send(cancel).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::ACCEPTED, &"cancelled".into()));
    world.get(&token, &format!("/download?fid={id}")).await.expect(409, "not_ready");
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let (now, policy) = (world.clock.now(), Policy::default());
    let job = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap().claim(now, &policy).unwrap();
    let problem = microserve_core::transcode::Problem { code: "corrupt".into(), detail: "it is damaged".into() };
    let epoch = job.epoch;
    world.jobs.update(job.fail(epoch, problem, now, &policy).unwrap()).await.unwrap();
    let job = world.get(&token, &format!("/jobs/{id}")).await.json();
    assert_eq!((&job["status"], &job["error"]["code"]), (&"failed".into(), &"corrupt".into()));
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_errors_are_problems() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let plain = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let with_id = |id: &str| Request::get("/nowhere").header("x-request-id", id).body(Body::empty()).unwrap();

    world.send(plain("GET", "/nowhere")).await.expect(404, "not_found");
    let wrong = world.send(plain("PUT", "/jobs")).await;
    wrong.expect(405, "method_not_allowed");
    assert!(wrong.header("allow").contains("GET"));
    world.send(plain("DELETE", "/login")).await.expect(405, "method_not_allowed");
    for bad in ["/jobs/x", "/jobs/%ff", "/jobs/ABCDEFABCDEFABCDEFABCDEF", "/download", "/download?fid=..%2Fetc"] {
        world.get(&token, bad).await.expect(400, "malformed_id");
    }

    let kept = world.send(with_id("trace-42.a_b")).await;
    assert_eq!(kept.header("x-request-id"), "trace-42.a_b");
    assert!(kept.json()["instance"].as_str().unwrap().ends_with("trace-42.a_b"));
    for bad in ["", "with space", "semi;colon", &"x".repeat(65)] {
        let made = world.send(with_id(bad)).await;
        assert_ne!(made.header("x-request-id"), bad);
        assert_eq!(made.header("x-request-id").len(), 24);
    }
    let good = world.get(&token, "/jobs").await;
    assert_eq!((good.header("x-request-id").len(), good.header("x-content-type-options")), (24, "nosniff"));

    let mut text = plain("GET", "/nowhere");
    text.headers_mut().insert(header::ACCEPT, "text/plain".parse().unwrap());
    let text: Answer = world.send(text).await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(String::from_utf8(text.body).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_tells_nothing() {
    let shutdown = Shutdown::new();
    let panics = Check::new("panics", || async { panic!("the secret is 42") });
    let ops = microserve_http::ops(Ops { checks: vec![panics].into(), shutdown });
    let answer = answer(&ops, Request::get("/readyz").body(Body::empty()).unwrap()).await;
    answer.expect(500, "internal");
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn readiness_names_what_is_missing() {
    let shutdown = Shutdown::new();
    let checks = || {
        vec![
            Check::new("jobs", || async { Ok(()) }),
            Check::new("queue", || async { Err("db.internal refused".into()) }),
            Check::new("mailer", || async { std::future::pending().await }),
        ]
    };
    let ops = microserve_http::ops(Ops { checks: checks().into(), shutdown: shutdown.clone() });
    let get = async |ops: &Router, path: &str| answer(ops, Request::get(path).body(Body::empty()).unwrap()).await;
    let unready = get(&ops, "/readyz").await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    let told = serde_json::json!({"jobs": "ok", "queue": "failed", "mailer": "timeout"});
    assert_eq!((&unready.json()["status"], &unready.json()["checks"]), (&"unready".into(), &told));
    assert_eq!(get(&ops, "/healthz").await.status, StatusCode::OK);
    assert_eq!(get(&ops, "/version").await.json()["name"], "microserve");

    let checks_to_come = Checks::default();
    let ops = microserve_http::ops(Ops { checks: checks_to_come.clone(), shutdown: shutdown.clone() });
    let starting = get(&ops, "/readyz").await;
    assert_eq!((starting.status, &starting.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &"starting".into()));
    checks_to_come.set(checks().into_iter().take(1).collect());
    assert_eq!(get(&ops, "/readyz").await.status, StatusCode::OK);
    shutdown.stop().cancel();
    let draining = get(&ops, "/readyz").await;
    assert_eq!((draining.status, &draining.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &"draining".into()));
}

#[tokio::test]
async fn what_is_tolerated_has_to_work_once_and_keeps_nobody_away_afterwards() {
    let works = Arc::new(AtomicBool::new(false));
    let (asked, jobs) = (Arc::clone(&works), Check::new("jobs", || async { Ok(()) }));
    let queue = Check::new("queue", move || {
        let works = asked.load(Ordering::Relaxed);
        async move { if works { Ok(()) } else { Err("refused".into()) } }
    });
    let ops = Ops { checks: vec![jobs, queue.tolerated()].into(), shutdown: Shutdown::new() };
    let ops = microserve_http::ops(ops);
    let status = async || {
        let answer = answer(&ops, Request::get("/readyz").body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), answer.json()["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status().await, (503, "unready".to_owned()));
    works.store(true, Ordering::Relaxed);
    assert_eq!(status().await, (200, "ready".to_owned()));
    works.store(false, Ordering::Relaxed);
    assert_eq!(status().await, (200, "degraded".to_owned()));
}

#[tokio::test]
async fn the_routers_live_beside_routes_of_others() {
    let world = World::new().await;
    let app = Router::new().route("/", get(|| async { "mine" })).nest("/mp3", world.app.clone());
    let mine = answer(&app, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!((mine.body, mine.headers.contains_key("x-request-id")), (b"mine".to_vec(), false));
    answer(&app, Request::get("/mp3/jobs").body(Body::empty()).unwrap()).await.expect(401, "invalid_token");
}

#[tokio::test]
async fn clients_of_the_tutorial_get_the_answers_they_wait_for() {
    let mut world = World::new().await;
    world.app = microserve_http::as_in_the_tutorial(world.app);
    let answer = world.send(login("anna@example.com", crate::common::PASSWORD)).await;
    let token = String::from_utf8(answer.body).unwrap();
    assert_eq!((answer.status, token.matches('.').count()), (StatusCode::OK, 2), "{token}");
    let part = [file("file", "holiday.wav", &wav(1))];
    let uploaded = world.send(upload(&token, "/upload", &part)).await;
    assert_eq!((uploaded.status, &*uploaded.body), (StatusCode::OK, &b"success!"[..]));
    let job = world.get(&token, uploaded.header("location")).await;
    assert_eq!(job.json()["status"], "queued");
    world.send(upload(&token, "/upload", &[])).await.expect(400, "no_file");
    assert_eq!(world.send(login("anna@example.com", "a guess")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_job_that_waits_is_told_its_place_and_when_it_should_be_done() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let [first, second] = [world.upload(&token).await, world.upload(&token).await];
    let told = async |id: &str| world.get(&token, &format!("/jobs/{id}")).await.json();
    let (one, two) = (told(&first).await, told(&second).await);
    assert_eq!((&one["position"], &one["expected_at"]), (&1.into(), &serde_json::Value::Null));
    assert!(two["position"] == 2 || two["created_at"] == one["created_at"], "{two}");
    world.convert(&first, b"an mp3").await;
    let (one, two) = (told(&first).await, told(&second).await);
    assert_eq!(one["position"], serde_json::Value::Null);
    assert!(two["position"] == 1 && two["expected_at"].is_string(), "{two}");
}
