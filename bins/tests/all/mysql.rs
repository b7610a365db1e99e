//! Accounts in MySQL or MariaDB: the command line and the server share them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Client, exe};
use microserve_testkit::server::Server;
use microserve_testkit::servers::mariadb;
use reqwest::StatusCode;

fn user(data: &Path, url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(exe());
    command.arg("user").args(args).args(["--accounts", url, "--data"]).arg(data);
    command.stdin(Stdio::null()).output().unwrap()
}

/// What the command printed, if it succeeded.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_the_command_line_log_in_at_the_server() {
    let (database, folder) = (mariadb::Server::start(), tempfile::tempdir().unwrap());
    let (url, data) = (database.database(), folder.path().join("data"));
    let first = printed(&user(&data, &url, &["add", "anna@example.com"]));
    assert_eq!(user(&data, &url, &["add", "Anna@example.com"]).status.code(), Some(1), "there is one already");
    assert!(printed(&user(&data, &url, &["list"])).ends_with("anna@example.com"));

    let server = Server::start(exe(), &data, &["--accounts", &url]);
    Client::login(&server.url, "anna@example.com", &first).await;
    let second = printed(&user(&data, &url, &["passwd", "anna@example.com"]));
    let anna = Client::login(&server.url, "anna@example.com", &second).await;
    assert!(anna.jobs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_down_logging_in_is_unavailable_and_tokens_are_good() {
    let (mut database, folder) = (mariadb::Server::start(), tempfile::tempdir().unwrap());
    let (url, data) = (database.database(), folder.path().join("data"));
    let password = printed(&user(&data, &url, &["add", "anna@example.com"]));
    let server = Server::start(exe(), &data, &["--accounts", &url]);
    let anna = Client::login(&server.url, "anna@example.com", &password).await;
    anna.jobs().await;

    database.kill();
    let login = anna.http.post(format!("{}/login", server.url)).basic_auth("anna@example.com", Some(&password));
    let started = Instant::now();
    let refused = login.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Two seconds, and room for a busy machine.
    assert!(refused.headers().contains_key("retry-after") && started.elapsed() < Duration::from_secs(20));
    assert!(anna.jobs().await.is_empty());
    let ready = anna.http.get(format!("{}/readyz", server.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    database.restart();
    Client::login(&server.url, "anna@example.com", &password).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_in_plain_text_let_nobody_in_unless_asked_for_and_are_hashed_then() {
    let (database, folder) = (mariadb::Server::start(), tempfile::tempdir().unwrap());
    let (url, data) = (database.database(), folder.path().join("data"));
    let name = url.rsplit('/').next().unwrap();
    let table = "CREATE TABLE user (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
        password VARCHAR(255) NOT NULL); INSERT INTO user (email, password) VALUES ('georgio@email.com', 'Admin123')";
    database.sql(name, table);
    let http = crate::common::http().build().unwrap();
    let login = async |server: &Server, password| {
        let login = http.post(format!("{}/login", server.url)).basic_auth("georgio@email.com", Some(password));
        login.send().await.unwrap().status()
    };
    let stored = || database.sql(name, "SELECT password FROM user");

    let strict = Server::start(exe(), &data, &["--accounts", &url]);
    assert_eq!(login(&strict, "Admin123").await, StatusCode::UNAUTHORIZED);
    assert_eq!(stored(), "Admin123");
    drop(strict);

    let lenient = Server::start(exe(), &data, &["--accounts", &url, "--compat", "tutorial"]);
    assert_eq!(login(&lenient, "admin123").await, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&lenient, "Admin123").await, StatusCode::OK);
    assert!(stored().starts_with("$argon2id$"), "{}", stored());
    assert_eq!(login(&lenient, "Admin123").await, StatusCode::OK);
    drop(lenient);

    let strict = Server::start(exe(), &data, &["--accounts", &url]);
    assert_eq!(login(&strict, "Admin123").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_starts_without_its_database_and_finds_it_later() {
    let (mut database, folder) = (mariadb::Server::start(), tempfile::tempdir().unwrap());
    let (url, data) = (database.database(), folder.path().join("data"));
    let password = printed(&user(&data, &url, &["add", "anna@example.com"]));
    database.kill();
    let server = Server::start(exe(), &data, &["--accounts", &url]);
    let http = crate::common::http().build().unwrap();
    let login = || http.post(format!("{}/login", server.url)).basic_auth("anna@example.com", Some(&password)).send();
    assert_eq!(login().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready = http.get(format!("{}/readyz", server.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("accounts"));

    database.restart();
    let started = Instant::now();
    while login().await.unwrap().status() != StatusCode::OK {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not find its database");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let output = user(folder.path(), "mysql://anna:hunter2@127.0.0.1:1/auth", &["list"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("127.0.0.1:1/auth") && said.contains("refused"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
