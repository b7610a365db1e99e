//! Links that open an MP3 without a token.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use microserve_core::clock::later;
use microserve_core::job::JobStore;

use crate::common::{Answer, World, request};

async fn open(world: &World, url: &str) -> Answer {
    world.send(Request::get(url).body(Body::empty()).unwrap()).await
}

async fn ask(world: &World, method: &str, token: &str, id: &str) -> Answer {
    world.send(request(method, &format!("/jobs/{id}/link"), token).body(Body::empty()).unwrap()).await
}

async fn link(world: &World, token: &str, id: &str) -> String {
    let answer = ask(world, "POST", token, id).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::CREATED, "no-store"));
    answer.json()["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_opens_one_file_until_it_is_revoked() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let [id, other] = [world.upload(&token).await, world.upload(&token).await];
    ask(&world, "POST", &token, &id).await.expect(409, "not_ready");
    let [done, second] = [world.convert(&id, b"an mp3").await, world.convert(&other, b"another").await];
    let url = link(&world, &token, &id).await;
    let opened = open(&world, &url).await;
    assert_eq!((opened.status, &*opened.body), (StatusCode::OK, &b"an mp3"[..]));

    let (fid, other_fid) = (done.mp3().unwrap().to_string(), second.mp3().unwrap().to_string());
    let (query, signature) = url.split_once("&signature=").unwrap();
    let expires = query.split_once("expires=").unwrap().1.parse::<i64>().unwrap();
    let flipped = if signature.starts_with('0') { "1" } else { "0" }.to_owned() + &signature[1..];
    for bad in [
        url.replace(&fid, &other_fid),
        url.replace(&fid, &id),
        url.replace(&fid, "0123456789abcdef01234567"),
        url.replace(&expires.to_string(), &(expires + 1).to_string()),
        format!("{query}&signature={flipped}"),
        format!("{query}&signature="),
        format!("{query}&signature={}", &signature[..30]),
        format!("{query}&signature={signature}00"),
        format!("{query}&signature=zz"),
    ] {
        open(&world, &bad).await.expect(404, "not_found");
    }
    open(&world, &url.replace("expires=", "expires=x")).await.expect(400, "malformed_id");
    open(&world, query).await.expect(401, "invalid_token");

    assert_eq!(ask(&world, "DELETE", &token, &id).await.status, StatusCode::NO_CONTENT);
    open(&world, &url).await.expect(404, "not_found");
    let again = link(&world, &token, &id).await;
    assert_eq!(open(&world, &again).await.status, StatusCode::OK, "a new one is another");
    open(&world, &url).await.expect(404, "not_found");
}

#[tokio::test]
async fn only_the_owner_makes_and_revokes_links() {
    let world = World::new().await;
    crate::common::add_account(&world.accounts, &*world.clock, "bea@example.com").await;
    let (token, bea) = (world.token("anna@example.com").await, world.token("bea@example.com").await);
    let id = world.upload(&token).await;
    world.convert(&id, b"an mp3").await;
    for method in ["POST", "DELETE"] {
        ask(&world, method, &bea, &id).await.expect(404, "not_found");
        ask(&world, method, "nonsense", &id).await.expect(401, "invalid_token");
    }
    let job = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(job.link_key.is_some() && !format!("{job:?}").contains(&String::from(job.link_key.clone().unwrap())));
}

#[tokio::test]
async fn the_mails_link_ends_after_a_week() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let job = world.convert(&id, b"an mp3").await;
    let (from, policy) = ("a@example.com".parse().unwrap(), microserve_core::job::Policy::default());
    let mail = microserve_core::notify::compose(&job, &from, "", &policy).unwrap();
    assert_eq!(mail, microserve_core::notify::compose(&job, &from, "", &policy).unwrap(), "the same bytes again");
    assert!(mail.text.contains(&format!("\nFile ID: {}\n", job.mp3().unwrap())), "{}", mail.text);
    let url = mail.text.lines().find_map(|line| line.strip_prefix("Link (")?.split_once("): ")).unwrap().1.to_owned();
    assert!(mail.html.contains(&url.replace('&', "&amp;")), "{}", mail.html);
    assert_eq!(open(&world, &url).await.status, StatusCode::OK);
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    for (age, good) in [(week - Duration::from_secs(5), true), (week + Duration::from_secs(1), false)] {
        // As if it had been made so long ago.
        let expires = later(world.clock.now(), week).checked_sub(age).unwrap();
        let opened = open(&world, &format!("/download?{}", job.link(expires).unwrap())).await;
        if good {
            assert_eq!(opened.status, StatusCode::OK);
        } else {
            opened.expect(410, "link_expired");
        }
    }
}
