//! The same people, the same videos, in every world: in a process of the library's user, in the all-in-one server, and in
//! services of their own on real servers.

use std::any::Any;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use microserve::config::{SandboxMode, Serve, Stores};
use microserve::core::Shutdown;
use microserve::registry::Registry;
use microserve_testkit::server::{Server, add_user, files_below};
use microserve_testkit::{judge, media};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::common::{Client, exe};
use crate::services::{Cluster, Servers};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where people are.
struct World {
    url: String,
    add_user: Box<dyn Fn(&str) -> String + Send + Sync>,
    mails: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    _alive: Box<dyn Any + Send>,
}

/// The command line of `microserve serve`, for its defaults.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    serve: Serve,
}

impl World {
    async fn in_process() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut config =
            Defaults::parse_from(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]).serve;
        config.stores = Stores::embedded(data.clone());
        // A test's main function is not ours, so a child of it would not know that it is one.
        config.stores.transcoder.sandbox.sandbox = SandboxMode::Off;
        let shutdown = Shutdown::new();
        let server = microserve::server::Server::start(&config, &Registry::embedded(), &shutdown).await.unwrap();
        Self::embedded(format!("http://{}", server.address), &data, Box::new((server, shutdown, folder)))
    }

    async fn all_in_one() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let server = Server::start(exe(), &data, &[]);
        Self::embedded(server.url.clone(), &data, Box::new((server, folder)))
    }

    fn embedded(url: String, data: &Path, alive: Box<dyn Any + Send>) -> Self {
        let (accounts, mails) = (data.to_owned(), data.join("mail"));
        let mails = move || {
            let mails = files_below(&mails).into_iter().filter(|path| path.extension().is_some_and(|e| e == "eml"));
            mails.map(|path| std::fs::read_to_string(path).unwrap()).collect()
        };
        let add_user = move |email: &str| add_user(exe(), &accounts, email);
        Self { url, add_user: Box::new(add_user), mails: Box::new(mails), _alive: alive }
    }

    async fn cluster() -> Self {
        let servers = std::sync::Arc::new(Servers::start());
        let mut cluster = Cluster::on(&servers, &[]);
        cluster.start();
        cluster.until_ready().await;
        let (url, cluster) = (cluster.gateway.url.clone(), std::sync::Arc::new(cluster));
        let (accounts, mails) = (cluster.clone(), servers.clone());
        Self {
            url,
            add_user: Box::new(move |email| accounts.add_user(email)),
            mails: Box::new(move || mails.mails.mails().into_iter().map(|mail| mail.message).collect()),
            _alive: Box::new((servers, cluster)),
        }
    }

    async fn login(&self, email: &str) -> Client {
        Client::login(&self.url, email, &(self.add_user)(email)).await
    }

    /// The mail with these words, once it has come.
    async fn mail(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(mail) = (self.mails)().into_iter().find(|mail| mail.contains(words)) {
                return mail;
            }
            assert!(started.elapsed() < PATIENCE, "there is no mail with {words:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn a_video_becomes_a_mail_and_an_mp3(world: World) {
    let anna = world.login("anna@example.com").await;
    let job = anna.upload(&media::tone_mp4(3)).await;
    let mail = world.mail("Your MP3 file is ready!").await;
    assert!(mail.contains("anna@example.com"), "{mail}");
    let fid = mail.lines().find_map(|line| line.trim_end().strip_prefix("File ID: ")).unwrap();
    assert_eq!(anna.until_final(&job, PATIENCE).await["mp3_fid"], fid);
    let folder = tempfile::tempdir().unwrap();
    let mp3 = folder.path().join("one.mp3");
    anna.download(fid, &mp3).await;
    judge::assert_clean(&mp3);
    assert!((judge::duration(&mp3) - 3.0).abs() < 0.001);

    let part = anna.http.get(format!("{}/download?fid={job}", anna.url)).bearer_auth(&anna.token);
    let part = part.header("range", "bytes=100-299").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), std::fs::read(&mp3).unwrap()[100..300]);
}

async fn whoever_waits_for_a_job_hears_of_its_end(world: World) {
    let anna = world.login("anna@example.com").await;
    let job = anna.upload(&media::tone_mp4(60)).await;
    let get = |path: &str| anna.http.get(format!("{}/jobs/{job}{path}", anna.url)).bearer_auth(&anna.token);
    let events = async { get("/events").send().await.unwrap().text().await.unwrap() };
    let waited = async { get("").header("prefer", "wait=60").send().await.unwrap().json::<Value>().await.unwrap() };
    let both = async { tokio::join!(events, waited) };
    let (events, waited) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(waited["status"], "done", "{waited}");
    assert!(events.starts_with("retry: 3000\n\nid: "), "{events}");
    let last: Value = serde_json::from_str(events.rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["mp3_fid"]), (&waited["status"], &waited["mp3_fid"]));
    let retry = anna.http.post(format!("{}/jobs/{job}/retry", anna.url)).bearer_auth(&anna.token);
    assert_eq!(retry.send().await.unwrap().status(), StatusCode::CONFLICT);
}

async fn nobody_sees_other_peoples_things(world: World) {
    let (anna, bea) = (world.login("anna@example.com").await, world.login("bea@example.com").await);
    let job = anna.upload(&media::tone_mp4(2)).await;
    let done = anna.until_final(&job, PATIENCE).await;
    let fid = done["mp3_fid"].as_str().unwrap();
    let (events, downloads) = (format!("/jobs/{job}/events"), [fid, &job].map(|fid| format!("/download?fid={fid}")));
    for path in [format!("/jobs/{job}"), events].into_iter().chain(downloads) {
        let unknown = path.replace(fid, "0123456789abcdef01234567").replace(&*job, "0123456789abcdef01234567");
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let ask = async |path: &str| {
                let ask = bea.http.request(method.clone(), format!("{}{path}", bea.url)).bearer_auth(&bea.token);
                ask.send().await.unwrap().status()
            };
            let (theirs, nobodys) = (ask(&path).await, ask(&unknown).await);
            assert!(theirs.is_client_error(), "{method} {path}: {theirs}");
            assert_eq!(theirs, nobodys, "{method} {path}");
        }
    }
    assert!(bea.jobs().await.is_empty());
    assert_eq!(anna.job(&job).await["status"], "done");
}

async fn a_video_that_fails_is_told_by_mail(world: World) {
    let anna = world.login("anna@example.com").await;
    // Its headers are good; of what they tell of, nothing is.
    let (mut video, folder) = (std::fs::read(media::tone_mp4(5)).unwrap(), tempfile::tempdir().unwrap());
    let data = video.windows(4).position(|name| name == b"mdat").unwrap();
    let size = u32::from_be_bytes(video[data - 4..data].try_into().unwrap()) as usize;
    for (n, byte) in (0_u32..).zip(&mut video[data + 4..data - 4 + size]) {
        *byte = (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    let damaged = folder.path().join("damaged.mp4");
    std::fs::write(&damaged, video).unwrap();
    let job = anna.upload(&damaged).await;
    let failed = anna.until_final(&job, PATIENCE).await;
    assert_eq!((&failed["status"], &failed["attempts"]), (&"failed".into(), &1.into()), "{failed}");
    let mail = world.mail("Your video could not be converted").await;
    assert!(mail.contains(&*job) && mail.contains(failed["error"]["code"].as_str().unwrap()), "{mail}");
}

async fn what_is_deleted_is_gone(world: World) {
    let anna = world.login("anna@example.com").await;
    let job = anna.upload(&media::tone_mp4(2)).await;
    let fid = anna.until_final(&job, PATIENCE).await["mp3_fid"].as_str().unwrap().to_owned();
    let delete = async || {
        let delete = anna.http.delete(format!("{}/jobs/{job}", anna.url)).bearer_auth(&anna.token);
        delete.send().await.unwrap().status()
    };
    assert_eq!(delete().await, StatusCode::NO_CONTENT);
    assert_eq!(delete().await, StatusCode::NOT_FOUND);
    assert_eq!(anna.get(&format!("/download?fid={fid}")).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(anna.jobs().await.is_empty());
}

async fn who_is_not_known_gets_nothing(world: World) {
    let anna = world.login("anna@example.com").await;
    for (user, password) in [("anna@example.com", "wrong"), ("nobody@example.com", "wrong")] {
        let login = anna.http.post(format!("{}/login", world.url)).basic_auth(user, Some(password)).send();
        let login = login.await.unwrap();
        assert_eq!(login.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(login.headers()["www-authenticate"], "Basic realm=\"microserve\", charset=\"UTF-8\"");
    }
    let forged = Client { token: format!("{}x", anna.token), ..anna.clone() };
    for path in [
        "/jobs",
        "/jobs/0123456789abcdef01234567",
        "/jobs/0123456789abcdef01234567/events",
        "/download?fid=0123456789abcdef01234567",
    ] {
        assert_eq!(forged.get(path).await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

macro_rules! in_every_world {
    ($($check:ident,)+) => {
        in_world! { in_process: $($check,)+ }
        in_world! { all_in_one: $($check,)+ }
        in_world! { cluster: $($check,)+ }
    };
}

macro_rules! in_world {
    ($world:ident: $($check:ident,)+) => {
        mod $world {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $check() {
                    super::$check(super::World::$world().await).await;
                }
            )+
        }
    };
}

in_every_world! {
    a_video_becomes_a_mail_and_an_mp3,
    whoever_waits_for_a_job_hears_of_its_end,
    nobody_sees_other_peoples_things,
    a_video_that_fails_is_told_by_mail,
    what_is_deleted_is_gone,
    who_is_not_known_gets_nothing,
}
