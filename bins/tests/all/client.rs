//! The client's commands against a running server: over bad lines, killed in the middle, and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{World, exe};
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault};
use microserve_testkit::port::free_port;
use microserve_testkit::server::{add_user, files_below};
use microserve_testkit::{judge, media};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

const BERT: &str = "bert@example.com";

/// Somebody with a home of their own, who runs commands in it.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// Somebody who is logged in at the world's server, at this address of it.
    fn at(world: &World, address: &str) -> Self {
        let person = Self::new();
        let password = add_user(exe(), &world.data, BERT);
        let login = person.login(address, &password);
        assert_eq!(code(&login), 0, "{}", said(&login));
        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn login_file(&self) -> PathBuf {
        self.path("state/microserve/login.json")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(exe());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MICROSERVE_")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.home.path()).env("XDG_STATE_HOME", self.path("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what has to succeed; what it prints.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(code(&output), 0, "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what has to fail with this code; what it says.
    fn fails(&self, exit_code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(code(&output), exit_code, "{args:?}: {}", said(&output));
        said(&output)
    }

    fn login(&self, address: &str, password: &str) -> Output {
        fed(self.command(&["login", "--server", address, "--email", BERT, "--password-stdin"]), password.as_bytes())
    }

    /// The upload that is remembered, once it is.
    fn upload(&self) -> String {
        let folder = self.path("state/microserve/uploads");
        until("an upload is remembered", || !files_below(&folder).is_empty());
        serde_json::from_slice(&std::fs::read(&files_below(&folder)[0]).unwrap()).unwrap()
    }
}

fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {}", said(output)))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_kept_for_its_owner_only() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    assert_eq!((mode(&person.login_file()), mode(person.login_file().parent().unwrap())), (0o600, 0o700));
    assert_eq!(person.ok(&["jobs", "--json"]), "", "the server is remembered");
    let kept = std::fs::read_to_string(person.login_file()).unwrap();
    let token = serde_json::from_str::<Value>(&kept).unwrap()["servers"][&world.server.url]["token"].clone();

    assert!(said(&person.login(&world.server.url, "wrong")).contains("(invalid_credentials)"));
    assert_eq!(code(&person.login(&world.server.url, "wrong")), 6);
    assert_eq!(std::fs::read_to_string(person.login_file()).unwrap(), kept, "a failed login changes nothing");

    std::fs::set_permissions(person.login_file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(person.fails(6, &["jobs"]).contains("can be read by others"));
    std::fs::set_permissions(person.login_file(), std::fs::Permissions::from_mode(0o600)).unwrap();

    person.ok(&["logout"]);
    assert!(!std::fs::read_to_string(person.login_file()).unwrap().contains(token.as_str().unwrap()));
    assert!(person.fails(2, &["jobs"]).contains("microserve login --server"));
    assert!(person.fails(6, &["jobs", "--server", &world.server.url]).contains("you are not logged in"));
    let machine = person
        .command(&["jobs", "--server", &world.server.url, "--json"])
        .env("MICROSERVE_TOKEN", token.as_str().unwrap())
        .output()
        .unwrap();
    assert_eq!(code(&machine), 0, "{}", said(&machine));
}

#[test]
fn passwords_go_to_nobody_who_could_read_them_on_the_way() {
    let person = Person::new();
    let said = said(&person.login("http://198.51.100.1:8080", "secret"));
    assert!(said.contains("whoever is on the way can read"), "{said}");
    assert_eq!(code(&person.login("http://198.51.100.1:8080", "secret")), 2);
    assert_eq!(code(&person.login("http://bert:secret@127.0.0.1", "secret")), 2);
    assert!(!person.login_file().exists());
    // Nobody is asked where nobody can answer.
    assert!(person.fails(2, &["login", "--server", "http://127.0.0.1:1"]).contains("--email"));
}

#[test]
fn a_server_that_is_not_there_has_its_own_exit_code() {
    let person = Person::new();
    let login = person.login(&url(free_port()), "secret");
    assert_eq!(code(&login), 7);
    assert!(said(&login).contains("can't be reached"), "{}", said(&login));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_no_longer_good_says_how_to_go_on() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    let mut logins: Value = serde_json::from_slice(&std::fs::read(person.login_file()).unwrap()).unwrap();
    logins["servers"][&world.server.url]["token"] = "eyJhbGciOiJFZERTQSJ9.e30.AAAA".into();
    std::fs::write(person.login_file(), logins.to_string()).unwrap();
    let video = media::tone_mp4(2);
    for args in [&["jobs"][..], &["upload", video.to_str().unwrap()], &["get", "0123456789abcdef01234567"]] {
        assert!(person.fails(6, args).contains("`microserve login`"), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_videos_are_uploaded_and_brought_back() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    std::fs::copy(media::tone_mp4(2), person.path("one.mp4")).unwrap();
    std::fs::copy(media::tone_mkv(3), person.path("two.mkv")).unwrap();
    std::fs::write(person.path("text.mp4"), "this is no video at all\n".repeat(100)).unwrap();
    std::fs::create_dir(person.path("out")).unwrap();

    let files =
        ["upload", "one.mp4", "text.mp4", "nowhere.mp4", "two.mkv", "--bitrate", "96", "--output", "out", "--json"];
    let output = person.run(&files);
    let words = said(&output);
    assert_eq!(code(&output), 3, "the first that failed decides: {words}");
    assert!(words.contains("text.mp4: ") && words.contains("(unsupported_container)"), "{words}");
    assert!(words.contains("nowhere.mp4") && words.contains("2 of 4 failed"), "{words}");
    let jobs = json_lines(std::str::from_utf8(&output.stdout).unwrap());
    let told: Vec<_> = jobs.iter().map(|job| (job["filename"].as_str(), job["status"].as_str())).collect();
    assert_eq!(told, [(Some("one.mp4"), Some("done")), (Some("two.mkv"), Some("done"))]);
    assert_eq!(jobs[0]["output"]["bitrate"].as_f64().map(|rate| (rate / 1000.0).round()), Some(96.0), "options arrive");
    for (name, seconds) in [("one.mp3", 2.0), ("two.mp3", 3.0)] {
        let mp3 = person.path("out").join(name);
        judge::assert_clean(&mp3);
        assert!((judge::duration(&mp3) - seconds).abs() < 0.1);
    }
    assert_eq!(files_below(&person.path("out")).len(), 2, "no draft stays behind");
    assert_eq!(files_below(&person.path("state/microserve/uploads")).len(), 0, "nothing is left to go on with");

    // Options that can't be, files that are there, and folders that are not are told before anything is sent.
    std::fs::write(person.path("mine.mp3"), "mine").unwrap();
    person.fails(2, &["upload", "one.mp4", "--bitrate", "97"]);
    person.fails(2, &["upload", "one.mp4", "two.mkv", "--output", "mine.mp3"]);
    person.fails(5, &["upload", "one.mp4", "--output", "mine.mp3"]);
    person.fails(4, &["upload", "nowhere.mp4"]);
    assert_eq!(std::fs::read(person.path("mine.mp3")).unwrap(), b"mine");
    assert_eq!(person.ok(&["jobs"]).lines().count(), 3, "no other job was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_comes_through_however_often_the_line_breaks() {
    let world = World::start().await;
    let proxy = ChaosProxy::start(world.server.port());
    let person = Person::at(&world, &url(proxy.port()));
    let film = media::film(24, 60);
    // More cuts than anybody would bear who gets nowhere.
    proxy.set(Fault::CutAfter(3 << 19));
    let job = &json_lines(&person.ok(&["upload", film.to_str().unwrap(), "--json"]))[0];
    proxy.heal();
    assert_eq!(person.ok(&["jobs"]).lines().count(), 2, "one job, and the headings");
    let watched = person.ok(&["watch", job["job_id"].as_str().unwrap()]);
    assert!(watched.contains("  done  "), "{watched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_upload_goes_on_where_it_was() {
    let world = World::start().await;
    let proxy = ChaosProxy::start(world.server.port());
    let person = Person::at(&world, &url(proxy.port()));
    let film = media::film(24, 60);
    let args = ["upload", film.to_str().unwrap(), "--json"];
    for (name, exit_code) in [("-KILL", None), ("-INT", Some(130))] {
        proxy.set(Fault::Throttle(4 << 20));
        let child = person.command(&args).spawn().unwrap();
        let id = person.upload();
        let stores = world.data.join("blobs/videos");
        let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
        let before = files_below(&stores).iter().map(size).sum::<u64>();
        until("bytes have come", || files_below(&stores).iter().map(size).sum::<u64>() > before + (2 << 20));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), exit_code, "{}", said(&output));
        assert_eq!(person.upload(), id, "it is still remembered");
    }
    let id = person.upload();
    proxy.heal();
    let job = &json_lines(&person.ok(&args))[0];
    assert_eq!(job["job_id"], id.as_str(), "the same upload, not another");
    assert_eq!(files_below(&person.path("state/microserve/uploads")).len(), 0);
    assert!(person.ok(&["watch", &id]).contains("  done  "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_upload_begins_anew() {
    let world = World::start().await;
    let proxy = ChaosProxy::start(world.server.port());
    let person = Person::at(&world, &url(proxy.port()));
    let film = media::film(24, 60);
    let args = ["upload", film.to_str().unwrap(), "--json"];
    proxy.set(Fault::Throttle(1 << 20));
    let mut child = person.command(&args).spawn().unwrap();
    let id = person.upload();
    child.kill().unwrap();
    child.wait().unwrap();
    let token = std::fs::read_to_string(person.login_file()).unwrap();
    let token = serde_json::from_str::<Value>(&token).unwrap()["servers"][url(proxy.port())]["token"].clone();
    proxy.heal();
    let delete = world.client.http.delete(format!("{}/files/{id}", world.server.url));
    let deleted = delete.bearer_auth(token.as_str().unwrap()).header("tus-resumable", "1.0.0").send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let job = &json_lines(&person.ok(&args))[0];
    assert_ne!(job["job_id"], id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_uploaded_and_the_mp3_printed() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    let video = std::fs::read(media::tone_mkv(3)).unwrap();
    let output = fed(person.command(&["upload", "-", "--name", "für dich.mkv", "--output", "-"]), &video);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let mp3 = person.path("piped.mp3");
    std::fs::write(&mp3, &output.stdout).unwrap();
    judge::assert_clean(&mp3);
    assert!(person.ok(&["jobs"]).contains("für dich.mkv"));
    assert_eq!(code(&fed(person.command(&["upload", "-"]), b"")), 3, "nothing is no video");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_and_what_is_damaged_is_not_kept() {
    let world = World::start().await;
    let proxy = ChaosProxy::start(world.server.port());
    let person = Person::at(&world, &url(proxy.port()));
    let film = media::tone_mp4(60);
    let job = person.ok(&["upload", film.to_str().unwrap(), "--bitrate", "320", "--wait", "--json"]);
    let job = &json_lines(&job)[0];
    let (id, fid) = (job["job_id"].as_str().unwrap(), job["mp3_fid"].as_str().unwrap());
    let size = job["output"]["size"].as_u64().unwrap();

    // 2.4 MB in pieces: no connection lives long enough for half of it.
    proxy.set(Fault::CutAfter(1_000_000));
    assert_eq!(person.ok(&["get", id]).trim_end(), "./tone.mp3");
    proxy.heal();
    judge::assert_clean(&person.path("tone.mp3"));
    let whole = std::fs::read(person.path("tone.mp3")).unwrap();
    assert_eq!(whole.len() as u64, size);
    assert!(person.fails(5, &["get", fid]).contains("--force"));

    // Interrupted in the middle, damaged on the disk, and gone on with.
    proxy.set(Fault::Throttle(400_000));
    let child = person.command(&["get", fid, "-o", "again.mp3"]).spawn().unwrap();
    let drafts = || {
        let hidden = files_below(person.home.path()).into_iter();
        hidden.filter(|file| file.extension().is_some_and(|ending| ending == "part")).collect::<Vec<_>>()
    };
    until("something has come", || drafts().iter().any(|file| std::fs::metadata(file).unwrap().len() > 100_000));
    signal(&child, "-INT");
    assert_eq!(code(&child.wait_with_output().unwrap()), 130);
    proxy.heal();
    let draft = drafts().remove(0);
    let kept = std::fs::read(&draft).unwrap();
    assert!(whole.starts_with(&kept) && kept.len() < whole.len());
    std::fs::write(&draft, [b"damage", &kept[6..]].concat()).unwrap();
    assert!(person.fails(1, &["get", fid, "-o", "again.mp3"]).contains("SHA-256"), "it went on with what was there");
    assert!(drafts().is_empty() && !person.path("again.mp3").exists());
    person.ok(&["get", fid, "-o", "again.mp3"]);
    assert_eq!(std::fs::read(person.path("again.mp3")).unwrap(), whole);
    assert_eq!(mode(&person.path("again.mp3")) & 0o400, 0o400);
    assert!(person.fails(1, &["get", "0123456789abcdef01234567"]).contains("(not_found)"));
    person.fails(2, &["get", "../x"]);
}

#[test]
fn a_server_can_not_write_where_it_likes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = url(listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if tcp.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                asked.push(byte[0]);
            }
            let disposition = "attachment; filename=\"../../evil.mp3\"; filename*=UTF-8''..%2F..%2Fevil.mp3";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Disposition: {disposition}\r\n");
            let _gone = tcp.write_all(format!("{head}Connection: close\r\n\r\nevil").as_bytes());
        }
    });
    let person = Person::new();
    std::fs::create_dir_all(person.path("a/b")).unwrap();
    let get = ["get", "0123456789abcdef01234567", "--server", &address, "-o", "a/b"];
    let output = person.command(&get).env("MICROSERVE_TOKEN", "token").output().unwrap();
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(std::fs::read(person.path("a/b/evil.mp3")).unwrap(), b"evil");
    assert_eq!(files_below(person.home.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_cancelled_run_again_and_deleted() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    let minute = media::make("hour.m4a", &["-f", "lavfi", "-i", "sine=duration=1800", "-c:a", "aac", "-b:a", "32k"]);
    let id =
        json_lines(&person.ok(&["upload", minute.to_str().unwrap(), "--preset", "podcast", "--json"]))[0]["job_id"]
            .as_str()
            .unwrap()
            .to_owned();
    assert!(person.fails(1, &["get", &id]).contains("(not_ready)"));
    person.ok(&["cancel", &id]);
    assert!(person.fails(1, &["watch", &id]).contains("the job is cancelled"));
    assert!(person.fails(1, &["cancel", &id]).contains("microserve delete"));
    person.ok(&["retry", &id]);
    assert!(person.fails(1, &["retry", &id]).contains("(not_retryable)"));
    person.ok(&["delete", &id]);
    assert_eq!(person.ok(&["jobs"]), "");

    let tone = media::tone_mp4(2);
    let ids: Vec<String> =
        (0..3).map(|_| person.ok(&["upload", tone.to_str().unwrap()]).split("  ").next().unwrap().to_owned()).collect();
    let watched = person.ok(&["watch", &ids[0], &ids[1], &ids[2], "--json"]);
    let done = json_lines(&watched).iter().filter(|job| job["status"] == "done").count();
    assert_eq!(done, 3, "{watched}");
    let listed = json_lines(&person.ok(&["jobs", "--status", "done", "--limit", "2", "--json"]));
    let listed: Vec<_> = listed.iter().map(|job| job["job_id"].as_str().unwrap()).collect();
    assert_eq!(listed, [&ids[2], &ids[1]], "the newest first");
    person.fails(2, &["jobs", "--status", "lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_calls_with_a_key_that_its_owner_creates_and_revokes() {
    let world = World::start().await;
    let (bert, robot) = (Person::new(), Person::new());
    let password = add_user(exe(), &world.data, BERT);
    assert_eq!(code(&bert.login(&world.server.url, &password)), 0);
    let create =
        ["keys", "create", "a robot", "--scope", "upload", "--scope", "read", "--days", "1", "--password-stdin"];
    let wrong = fed(bert.command(&create), b"a guess\n");
    assert_eq!(code(&wrong), 6, "{}", said(&wrong));
    let created = fed(bert.command(&create), format!("{password}\n").as_bytes());
    assert_eq!(code(&created), 0, "{}", said(&created));
    let key = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    assert!(key.starts_with("msk_"), "{key}");

    let with_key = |args: &[&str]| {
        let mut command = robot.command(args);
        command.env("MICROSERVE_TOKEN", &key).env("MICROSERVE_SERVER", &world.server.url);
        fed(command, b"")
    };
    let video = media::tone_mp4(2);
    let uploaded = with_key(&["upload", video.to_str().unwrap(), "--output", "."]);
    assert_eq!(code(&uploaded), 0, "{}", said(&uploaded));
    assert_eq!(with_key(&["jobs", "--json"]).stdout.split(|byte| *byte == b'\n').count(), 2);
    let listed = with_key(&["keys", "list"]);
    assert!(code(&listed) == 6 && said(&listed).contains("no API key will do"), "{}", said(&listed));

    let list = json_lines(&bert.ok(&["keys", "list", "--json"]));
    assert_eq!((list.len(), &list[0]["name"], &list[0]["key"]), (1, &"a robot".into(), &Value::Null));
    assert!(bert.ok(&["keys", "list"]).contains("read upload"));
    let id = list[0]["key_id"].as_str().unwrap();
    bert.ok(&["keys", "revoke", id]);
    bert.fails(1, &["keys", "revoke", id]);
    assert!(bert.ok(&["keys", "list", "--json"]).is_empty());
}

#[test]
fn a_token_is_not_carried_to_another_server() {
    let (first, second) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (address, other) = (url(first.local_addr().unwrap().port()), url(second.local_addr().unwrap().port()));
    let elsewhere = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {other}/jobs\r\nContent-Length: 0\r\n\r\n");
    std::thread::spawn(move || {
        let mut tcp = first.accept().unwrap().0;
        let _asked = tcp.read(&mut [0; 4096]);
        let _gone = tcp.write_all(elsewhere.as_bytes());
    });
    let person = Person::new();
    let output = person.command(&["jobs", "--server", &address]).env("MICROSERVE_TOKEN", "token").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(said(&output).contains(&other), "{}", said(&output));
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "nobody came");
}

/// A server by TLS that has no jobs, and its certificate in PEM.
fn tls_server() -> (u16, String) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![signed.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp);
            let _asked = tls.read(&mut [0; 4096]);
            let _gone = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"jobs\":[]}");
        }
    });
    (port, signed.cert.pem())
}

#[test]
fn a_server_by_tls_has_to_be_who_it_says() {
    let ((port, certificate), (_, strange)) = (tls_server(), tls_server());
    let person = Person::new();
    let ask = |authority: &str, host: &str| {
        std::fs::write(person.path("ca.pem"), authority).unwrap();
        let mut command = person.command(&["jobs", "--json", "--server", &format!("https://{host}:{port}")]);
        command.env("MICROSERVE_TOKEN", "token").env("SSL_CERT_FILE", person.path("ca.pem"));
        command.env_remove("SSL_CERT_DIR").output().unwrap()
    };
    let known = ask(&certificate, "localhost");
    assert_eq!(code(&known), 0, "{}", said(&known));
    for (authority, host) in [(&strange, "localhost"), (&certificate, "127.0.0.1")] {
        let refused = ask(authority, host);
        assert_eq!(code(&refused), 7, "{}", said(&refused));
        assert!(said(&refused).contains("certificate"), "{}", said(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_later_says_what_to_do() {
    let world = World::start().await;
    let person = Person::at(&world, &world.server.url);
    let video = media::tone_mp4(2);
    let upload = ["upload", video.to_str().unwrap(), "--track", "7", "--wait"];
    assert!(person.fails(3, &upload).contains("(no_such_track). Ask for one of the tracks that there are"));
}
