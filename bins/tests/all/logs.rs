//! The log as JSON: a line for each event, with the request that it belongs to, and without anything personal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use microserve_testkit::media;
use microserve_testkit::port::free_port;
use microserve_testkit::server::add_user;
use serde_json::Value;

use crate::common::{Client, exe, http};

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_json_with_its_request_and_nobodys_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let email = "bertha.unlikely@example.com";
    let password = add_user(exe(), &data, email);
    let (port, ops) = (free_port(), free_port());
    let log = folder.path().join("log");
    let mut server = Command::new(exe())
        .args(["serve", "--log-format", "json", "--log", "debug,hyper=info,h2=info,sqlx=info"])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--ops-listen", &format!("127.0.0.1:{ops}"), "--data"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !is_ready(ops).await {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", std::fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = Client::login(&format!("http://127.0.0.1:{port}"), email, &password).await;
    let wrong = client.http.post(format!("{}/login", client.url)).basic_auth(email, Some("hunter2")).send();
    assert_eq!(wrong.await.unwrap().status(), 401);

    let video = std::fs::read(media::tone_mp4(2)).unwrap();
    // unlikely"ESC[31m\CRLF{"level":"FORGED"}.mp4
    let hostile = "unlikely%22%1B%5B31m%5C%0D%0A%7B%22level%22%3A%22FORGED%22%7D.mp4";
    let upload = client.http.put(format!("{}/upload/{hostile}", client.url)).bearer_auth(&client.token);
    let upload = upload.body(video.clone());
    let answer = upload.header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let job = answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned();
    let done = client.until_final(&job, Duration::from_secs(60)).await;
    client.download(done["mp3_fid"].as_str().unwrap(), &folder.path().join("a.mp3")).await;
    let delete = client.http.delete(format!("{}/jobs/{job}", client.url)).bearer_auth(&client.token);
    assert_eq!(delete.send().await.unwrap().status(), 204);

    // Without a place for videos an upload fails, and that is logged.
    std::fs::rename(data.join("blobs"), folder.path().join("away")).unwrap();
    std::fs::write(data.join("blobs"), "").unwrap();
    let put = client.http.put(format!("{}/upload/unlikely-name.mp4", client.url)).bearer_auth(&client.token);
    let answer = put.header("x-request-id", "mine-2").body(video).send().await.unwrap();
    assert!(answer.status().is_server_error(), "{}", answer.status());
    server.kill().unwrap();
    server.wait().unwrap();

    let text = std::fs::read_to_string(&log).unwrap();
    // `serve` greets people first, in words.
    let lines: Vec<Value> = text.lines().filter(|line| line.starts_with('{')).map(parse).collect();
    let of = |id: &str| lines.iter().filter(|line| line["span"]["request.id"] == id).collect::<Vec<_>>();
    assert!(of("mine-1").iter().any(|line| line["job.id"] == job.as_str()), "{text}");
    let failed = of("mine-2").into_iter().find(|line| line["code"].is_string()).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(failed["span"]["http.route"], "/upload/{name}");
    assert!(lines.iter().any(|line| line["message"] == format!("converted job {job}").as_str()), "{text}");
    let audited = |message: &str| lines.iter().any(|line| line["target"] == "audit" && line["message"] == message);
    for message in ["logged in", "refused a login", "downloaded", "deleted"] {
        assert!(audited(message), "{message}:\n{text}");
    }
    let secrets = [email, "bertha", &password, "hunter2", &client.token, "unlikely", "FORGED", "\u{1b}"];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret:?} is in the log:\n{text}");
    }
}

fn parse(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}"));
    for field in ["timestamp", "level", "target", "message"] {
        assert!(event[field].is_string(), "no {field}: {line}");
    }
    event
}

async fn is_ready(ops: u16) -> bool {
    let asked = http().build().unwrap().get(format!("http://127.0.0.1:{ops}/readyz")).send().await;
    asked.is_ok_and(|answer| answer.status() == 200)
}
