//! The API against the document that the server serves: schemathesis makes thousands of calls, right and wrong ones,
//! and holds every answer against it. `bins/tests/openapi` has what it is told; here is the server that it talks to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]
#![allow(clippy::print_stdout, reason = "what was counted")]

use crate::common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{World, children, exe, installed};
use microserve_testkit::media;
use microserve_testkit::server::add_user;
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi");
const PATIENCE: Duration = Duration::from_secs(60);
/// Who logs in by password.
const EMAIL: &str = "bea@example.com";
/// So many calls at least.
const ENOUGH: u64 = 5_000;

/// A tenth of a second of a tone.
fn blip() -> PathBuf {
    media::make("blip.wav", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=0.1"])
}

/// Half an hour of a tone: long enough to be stopped on the way.
fn long() -> PathBuf {
    media::make("long.wav", &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=1800"])
}

/// Jobs in each state that does not pass by itself, by names.
async fn jobs(world: &World) -> Value {
    let client = &world.client;
    let done = client.upload(&blip()).await;
    assert_eq!(client.until_final(&done, PATIENCE).await["status"], "done");
    let late = client.http.put(format!("{}/upload/late.wav?start=60", client.url)).bearer_auth(&client.token);
    let failed: Value = late.body(std::fs::read(blip()).unwrap()).send().await.unwrap().json().await.unwrap();
    let failed = failed["job_id"].as_str().unwrap();
    assert_eq!(client.until_final(failed, PATIENCE).await["status"], "failed");
    // The account's only conversion stands still from here on: what comes behind it waits.
    let begun = (client.upload(&long()).await, Instant::now());
    while client.job(&begun.0).await["phase"] != "transcoding" {
        assert!(begun.1.elapsed() < PATIENCE, "it is not converted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let [child] = children(&world.server)[..] else { panic!("not one conversion") };
    assert!(Command::new("kill").args(["-STOP", &child.to_string()]).status().unwrap().success());
    let waiting = client.upload(&blip()).await;
    let part = client.http.post(format!("{}/files", client.url)).bearer_auth(&client.token);
    let part = part.header("tus-resumable", "1.0.0").header("upload-length", 1000).send().await.unwrap();
    let part = part.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    json!({ "done": done, "failed": failed, "waiting": waiting, "part": part, "converting": begun.0 })
}

/// Schemathesis, told where everything is.
struct Driver<'a> {
    world: &'a World,
    stage: Value,
    password: &'a str,
}

/// How many calls were made, and how often each operation was answered with each status.
#[derive(Default)]
struct Made {
    calls: u64,
    answers: BTreeMap<String, u64>,
}

impl Made {
    fn and(mut self, more: Self) -> Self {
        self.calls += more.calls;
        more.answers.into_iter().for_each(|(answer, count)| *self.answers.entry(answer).or_default() += count);
        self
    }
}

impl Driver<'_> {
    fn drive(&self, options: &[&str]) -> Made {
        let (started, folder) = (Instant::now(), tempfile::tempdir().unwrap());
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("stage.json"), self.stage.to_string()).unwrap();
        let output = Command::new(installed("schemathesis/bin/schemathesis"))
            .args(["--config-file", &format!("{FOLDER}/schemathesis.toml"), "run", "--no-color"])
            .args([&format!("{}/openapi.json", self.world.server.url), "--url", &self.world.server.url])
            .args(["--report", "json", "--report-json-path", "report.json"])
            .args(options)
            .envs([("SCHEMATHESIS_HOOKS", &*format!("{FOLDER}/hooks.py")), ("PYTHONDONTWRITEBYTECODE", "1")])
            .envs([("TOKEN", &*self.world.client.token), ("EMAIL", EMAIL), ("PASSWORD", self.password)])
            .current_dir(folder.path())
            .output()
            .unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "what failed, and the call that makes it, stands above");
        let report: Value = serde_json::from_slice(&std::fs::read(file("report.json")).unwrap()).unwrap();
        assert!(report["complete"] == true && report["errors"] == json!([]), "{report}");
        let calls = report["test_cases"]["generated"].as_u64().unwrap();
        println!("{options:?}: {calls} calls in {:?}", started.elapsed());
        Made { calls, answers: serde_json::from_slice(&std::fs::read(file("tally.json")).unwrap()).unwrap() }
    }

    /// Everything there is, on two processors.
    fn drive_all(&self) -> Made {
        let each = ["--phases", "examples,coverage,fuzzing"];
        // In sequences, what can be drawn depends on what the server has answered. They break off when that is noticed,
        // and begin anew as long as there is time.
        let sequences = ["--phases", "stateful", "--max-time", "20"];
        std::thread::scope(|scope| {
            let uploads = ["--include-tag-regex", "[Uu]ploads$"];
            let uploads = scope.spawn(move || self.drive(&[&each[..], &uploads].concat()));
            let others = self.drive(&[&each[..], &["--exclude-tag-regex", "[Uu]ploads$"]].concat());
            others.and(self.drive(&sequences)).and(uploads.join().unwrap())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_thousands_of_calls_is_as_the_document_has_it() {
    let options = ["--registration", "open", "--quota-converting", "1", "--sandbox-silence", "1h"];
    let world = World::with(&options).await;
    let password = add_user(exe(), &world.data, EMAIL);
    let stage = json!({ "url": world.server.url, "jobs": jobs(&world).await, "sound": blip() });
    let Made { calls, answers } = Driver { world: &world, stage, password: &password }.drive_all();
    assert!(calls >= ENOUGH, "{calls} are not enough");

    let document: Value = world.client.get("/openapi.json").await.unwrap().json().await.unwrap();
    let items = document["paths"].as_object().unwrap().values();
    for operation in items.flat_map(|item| item.as_object().unwrap().values()) {
        let good = format!("{} 2", operation["operationId"].as_str().unwrap());
        assert!(answers.keys().any(|answer| answer.starts_with(&good)), "never {good}xx: {answers:#?}");
    }
    // Those would hide all the rest.
    let all: u64 = answers.values().sum();
    let hidden = answers.iter().filter(|(answer, _)| answer.ends_with(" 401") || answer.ends_with(" 429"));
    let hidden: u64 = hidden.map(|(_, count)| count).sum();
    assert!(hidden * 10 < all, "{hidden} of {all} reached nothing: {answers:#?}");
    println!("{calls} calls, {hidden} of them refused at the door: {answers:#?}");
}
