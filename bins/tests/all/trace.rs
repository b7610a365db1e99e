//! One trace from the upload to the mail, as the log of the all-in-one tells it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use microserve_testkit::media;
use microserve_testkit::port::free_port;
use microserve_testkit::server::add_user;
use serde_json::Value;

use crate::common::{Client, exe, http};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that logs to a file.
struct Logging {
    child: Child,
    client: Client,
    log: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Logging {
    async fn start(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, log) = (folder.path().join("data"), folder.path().join("log"));
        let password = add_user(exe(), &data, "anna@example.com");
        let (port, ops) = (free_port(), free_port());
        let child = Command::new(exe())
            .args(["serve", "--log-format", format, "--listen", &format!("127.0.0.1:{port}")])
            .args(["--ops-listen", &format!("127.0.0.1:{ops}"), "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (started, http, ready) =
            (Instant::now(), http().build().unwrap(), format!("http://127.0.0.1:{ops}/readyz"));
        while !http.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(started.elapsed() < PATIENCE, "{}", std::fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let client = Client::login(&format!("http://127.0.0.1:{port}"), "anna@example.com", &password).await;
        Self { child, client, log, _folder: folder }
    }

    /// Uploads a video with this header, if any; the job's id.
    async fn upload(&self, video: &Path, traceparent: Option<&str>) -> String {
        let put = self.client.http.put(format!("{}/upload/tone.mp4", self.client.url)).bearer_auth(&self.client.token);
        let put = traceparent.into_iter().fold(put, |put, value| put.header("traceparent", value));
        let answer = put.body(std::fs::read(video).unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned()
    }

    /// The line with these words, once it is there.
    async fn line(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap();
            if let Some(line) = text.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "nothing of {words:?} is in the log:\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the log says of a job's request, conversion and mail.
    async fn of(&self, job: &str) -> [String; 3] {
        let words = ["accepted job", "converted job", "sent the mail of job"].map(|words| format!("{words} {job}"));
        [self.line(&words[0]).await, self.line(&words[1]).await, self.line(&words[2]).await]
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_conversion_and_mail_are_logged_in_the_callers_trace() {
    let server = Logging::start("json").await;
    let job = server.upload(&media::tone_mp4(2), Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    let spans = server.of(&job).await.map(|line| serde_json::from_str::<Value>(&line).unwrap()["span"].clone());
    let [request, conversion, mail] = &spans;
    for (span, name) in [(request, "request"), (conversion, "conversion"), (mail, "mail")] {
        assert_eq!((&span["name"], &span["trace_id"]), (&name.into(), &TRACE.into()), "{spans:#?}");
    }
    assert_eq!(request["parent_id"], CALLER);
    assert_eq!((&conversion["parent_id"], &mail["parent_id"]), (&request["span_id"], &request["span_id"]));
    let mut ids: Vec<_> = spans.iter().map(|span| span["span_id"].as_str().unwrap()).collect();
    ids.push(CALLER);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each has a span of its own: {spans:#?}");

    // Without a header each upload has a trace of its own.
    let job = server.upload(&media::tone_mp4(2), None).await;
    let spans = server.of(&job).await.map(|line| serde_json::from_str::<Value>(&line).unwrap()["span"].clone());
    let trace = spans[0]["trace_id"].as_str().unwrap();
    assert!(trace.len() == 32 && trace != TRACE, "{trace}");
    assert!(spans.iter().all(|span| span["trace_id"] == trace), "{spans:#?}");
    assert!(spans[0].get("parent_id").is_none(), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people_name_the_trace_too() {
    let server = Logging::start("text").await;
    let job = server.upload(&media::tone_mp4(2), Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    for line in server.of(&job).await {
        assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
    }
}
