//! A client of a running server, as the tests need one.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use microserve_testkit::server::{Server, add_user};
use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_microserve"))
}

/// What `.ci/need test` has installed from PyPI.
#[expect(clippy::disallowed_methods, reason = "it is installed where the environment says")]
pub fn installed(path: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache"));
    let program = cache.join("microserve").join(path);
    assert!(program.exists(), "{} is not there: `.ci/need test` installs it", program.display());
    program
}

/// The processes below a server's, which convert or look at a video.
pub fn children(server: &Server) -> Vec<u32> {
    let parent = server.id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    // proc(5): the name in parentheses may hold anything; behind it come the state and the parent.
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.split(' ').nth(2) == Some(&parent))
    };
    ids.filter(is_child).collect()
}

/// A client of servers on this machine: without a proxy, and without TLS, whose provider has to be chosen all the same.
pub fn http() -> reqwest::ClientBuilder {
    let _chosen_already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// A server with its data and one account.
pub struct World {
    pub server: Server,
    pub client: Client,
    pub data: PathBuf,
    _folder: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let password = add_user(exe(), &data, "anna@example.com");
        let server = Server::start(exe(), &data, options);
        let client = Client::login(&server.url, "anna@example.com", &password).await;
        Self { server, client, data, _folder: folder }
    }

    /// Another account's client.
    pub async fn other(&self, email: &str) -> Client {
        let password = add_user(exe(), &self.data, email);
        Client::login(&self.server.url, email, &password).await
    }
}

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub url: String,
    pub token: String,
}

impl Client {
    pub async fn login(url: &str, email: &str, password: &str) -> Self {
        let http = http().build().unwrap();
        let answer = http.post(format!("{url}/login")).basic_auth(email, Some(password)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = answer.json().await.unwrap();
        Self { http, url: url.to_owned(), token: body["token"].as_str().unwrap().to_owned() }
    }

    pub async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await
    }

    pub async fn post_form(&self, form: Form) -> reqwest::Result<Response> {
        self.http.post(format!("{}/upload", self.url)).bearer_auth(&self.token).multipart(form).send().await
    }

    /// Uploads a file; the job's id.
    pub async fn upload(&self, file: &Path) -> String {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let part = Part::bytes(std::fs::read(file).unwrap()).file_name(name);
        let answer = self.post_form(Form::new().part("file", part)).await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["job_id"].as_str().unwrap().to_owned()
    }

    pub async fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/jobs/{id}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    /// Waits until the job is final.
    pub async fn until_final(&self, id: &str, patience: Duration) -> Value {
        let started = Instant::now();
        loop {
            let job = self.job(id).await;
            if matches!(job["status"].as_str(), Some("done" | "failed" | "cancelled" | "expired")) {
                return job;
            }
            assert!(started.elapsed() < patience, "job {id} is not final after {patience:?}: {job}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Downloads an MP3 to a file.
    pub async fn download(&self, fid: &str, to: &Path) {
        let answer = self.get(&format!("/download?fid={fid}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        std::fs::write(to, answer.bytes().await.unwrap()).unwrap();
    }

    /// Every job of this account.
    pub async fn jobs(&self) -> Vec<Value> {
        let mut jobs = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Value = self.get(&format!("/jobs?limit=100{cursor}")).await.unwrap().json().await.unwrap();
            jobs.extend(page["jobs"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return jobs,
            }
        }
    }
}
