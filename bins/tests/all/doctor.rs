//! `microserve doctor` finds what is wrong with real servers, and says how to mend it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bson::doc;
use common::exe;
use microserve_testkit::port::free_port;
use microserve_testkit::server::add_user;
use microserve_testkit::servers::{mariadb, mongodb, rabbitmq};
use microserve_testkit::smtp::{Mode, Sink};
use serde_json::Value;

/// What the doctor said.
struct Visit {
    findings: Vec<Value>,
    failed: bool,
    took: Duration,
}

fn visit_in(data: &Path, args: &[&str]) -> Visit {
    let started = Instant::now();
    let mut doctor = Command::new(exe());
    doctor.args(["doctor", "--json"]).args(args).arg("--data").arg(data).stdin(Stdio::null());
    let output = doctor.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{args:?}: {said}"));
    assert!(
        !said.contains("hunter2") && !String::from_utf8_lossy(&output.stdout).contains("hunter2"),
        "a secret is told"
    );
    Visit { findings, failed: output.status.code() == Some(1), took: started.elapsed() }
}

fn visit(args: &[&str]) -> Visit {
    let folder = tempfile::tempdir().unwrap();
    visit_in(folder.path(), args)
}

impl Visit {
    /// The findings of one check: `verdict: what was found | what to do`.
    fn of(&self, check: &str) -> Vec<String> {
        let ours = self.findings.iter().filter(|finding| finding["check"] == check);
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        ours.map(|f| format!("{}: {} | {}", text(f, "verdict"), text(f, "found"), text(f, "fix"))).collect()
    }

    /// One of the findings begins and ends like this.
    fn assert_says(&self, check: &str, begins: &str, ends: &str) {
        let findings = self.of(check);
        let found = findings.iter().any(|finding| finding.starts_with(begins) && finding.ends_with(ends));
        assert!(found, "{begins} … {ends} is not in {findings:#?}");
        assert!(self.failed || !begins.starts_with("fail"), "the exit code tells of a failure");
    }
}

const REACH: &str = "and that no firewall or TLS setting is in between";
const LOG_IN: &str = "percent-encoded, so that @ is %40 and / is %2f";

#[test]
fn a_fresh_folder_is_told_of_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let visit = visit_in(&data, &[]);
    assert!(!visit.failed, "{:#?}", visit.findings);
    visit.assert_says("accounts", "warn: the file", "start microserve once; it makes what is missing, if it may");
    visit.assert_says("transcoder", "ok: a second of sound becomes an MP3", "");
    visit.assert_says("sandbox", "ok: files that do harm end in a sandbox", "");
    assert!(!data.exists(), "nothing is changed");
}

#[test]
fn an_embedded_installation_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    add_user(exe(), &data, "anna@example.com");
    let visit = visit_in(&data, &[]);
    assert!(!visit.failed, "{:#?}", visit.findings);
    for check in ["accounts", "jobs", "queue"] {
        visit.assert_says(check, "ok: SQLite ", "");
        visit.assert_says(check, "ok: the tables: fine", "");
    }
    let checks: Vec<&str> = visit.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert!(checks.is_sorted_by_key(|check| {
        ["accounts", "jobs", "blobs", "queue", "mailer", "transcoder", "sandbox", "data", "work"]
            .iter()
            .position(|c| c == check)
    }));
}

#[test]
fn people_get_a_line_for_each_check_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let queue = format!("amqp://127.0.0.1:{}", free_port());
    let mut doctor = Command::new(exe());
    doctor.args(["doctor", "--queue", &queue, "--data"]).arg(folder.path()).stdin(Stdio::null());
    let output = doctor.output().unwrap();
    let (told, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.code() == Some(1) && said.contains("1 check failed"), "{said}");
    let fix = "fix: see that it runs, that host and port in --queue are right";
    assert!(
        told.contains("\nfail  queue       ") && told.contains(fix) && told.contains("\nok    transcoder  "),
        "{told}"
    );
}

#[test]
fn servers_that_are_down_are_named_each() {
    let down = |scheme: &str, rest: &str| format!("{scheme}://anna:hunter2@127.0.0.1:{}{rest}", free_port());
    let (mysql, mongodb) = (down("mysql", "/auth"), down("mongodb", "/"));
    let (amqp, smtp) = (down("amqp", ""), down("smtp", ""));
    let args = ["--accounts", &mysql, "--jobs", &mongodb, "--blobs", &mongodb, "--queue", &amqp, "--mailer", &smtp];
    let visit = visit(&args);
    for check in ["accounts", "jobs", "blobs", "queue", "mailer"] {
        visit.assert_says(check, "fail: ", REACH);
        assert_eq!(visit.of(check).len(), 1);
    }
    assert!(visit.took < Duration::from_secs(30), "{:?}", visit.took);
}

#[test]
fn servers_that_say_nothing_are_not_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = |scheme: &str, rest: &str| format!("{scheme}://{}{rest}", listener.local_addr().unwrap());
    let (mysql, mongodb) = (silent("mysql", "/auth"), silent("mongodb", "/"));
    let (amqp, smtp) = (silent("amqp", ""), silent("smtp", ""));
    let args = ["--accounts", &mysql, "--jobs", &mongodb, "--blobs", &mongodb, "--queue", &amqp, "--mailer", &smtp];
    let visit = visit(&args);
    for check in ["accounts", "jobs", "blobs", "queue", "mailer"] {
        visit.assert_says(check, "fail: ", REACH);
    }
    visit.assert_says("transcoder", "ok: ", "");
    assert!(visit.took < Duration::from_secs(30), "{:?}", visit.took);
}

#[test]
fn what_can_not_be_read_is_said_to_be_wrong() {
    let args =
        ["--accounts", "oracle://anna:hunter2@db/x", "--queue", "amqp://anna@broker", "--mailer", "smtp://a?x=1"];
    let visit = visit(&[&args[..], &["--jobs", "mongodb://a/?prefix=a.b"]].concat());
    for (check, option) in
        [("accounts", "--accounts"), ("queue", "--queue"), ("mailer", "--mailer"), ("jobs", "--jobs")]
    {
        visit.assert_says(check, "fail: ", &format!("correct {option}; microserve serve --help says what it can be"));
    }
}

#[test]
fn folders_that_take_no_files_are_named() {
    let visit = visit(&["--blobs", "file:///proc/blobs", "--mailer", "file:///proc/mail"]);
    visit.assert_says(
        "blobs",
        "fail: /proc: ",
        "make it usable for the user that microserve runs as, or correct --blobs",
    );
    visit.assert_says("mailer", "fail: /proc: ", "or correct --mailer");
    visit.assert_says("data", "", "");
}

#[test]
fn a_mysql_server_is_looked_at() {
    let server = mariadb::Server::start();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    let fresh = visit(&["--accounts", &url]);
    fresh.assert_says("accounts", "ok: MariaDB ", "");
    fresh.assert_says("accounts", "ok: the line does not leave this machine", "");
    fresh.assert_says("accounts", "warn: the table user: not there yet", "if it may");

    let folder = tempfile::tempdir().unwrap();
    let listed = Command::new(exe()).args(["user", "list", "--accounts", &url, "--data"]).arg(folder.path()).output();
    assert!(listed.unwrap().status.success(), "the table is made");
    let made = visit(&["--accounts", &url]);
    assert!(!made.failed, "{:#?}", made.findings);
    made.assert_says("accounts", "ok: the table user: fine", "");
    made.assert_says("accounts", "ok: its clock is 0.", "");

    server.sql("", "CREATE USER 'reader'@'%' IDENTIFIED BY 'a'");
    for table in ["user", "microserve_tally", "microserve_api_key"] {
        server.sql("", &format!("GRANT SELECT ON {name}.{table} TO 'reader'@'%'"));
    }
    let reader = visit(&["--accounts", &server.url("reader", "a", name)]);
    for right in ["INSERT", "UPDATE", "DELETE"] {
        for table in ["user", "microserve_tally", "microserve_api_key"] {
            if (table, right) == ("microserve_api_key", "UPDATE") {
                continue;
            }
            let fix = format!("have the server's owner grant {right} on the table {table} to the user in --accounts");
            reader.assert_says("accounts", &format!("fail: the right {right} on the table {table} is missing"), &fix);
        }
    }
    let wrong = visit(&["--accounts", &server.url("reader", "hunter2", name)]);
    wrong.assert_says("accounts", "fail: ", LOG_IN);
    let nowhere = visit(&["--accounts", &server.url("root", "", "nowhere")]);
    nowhere.assert_says("accounts", "fail: ", "or correct --accounts");
    let untrusted = format!("mysql://root@localhost:{}/{name}?ssl-mode=VERIFY_IDENTITY", server.port());
    visit(&["--accounts", &untrusted]).assert_says(
        "accounts",
        "fail: ",
        "name the authority there too if it is your own",
    );
    let trusted = format!("{untrusted}&ssl-ca={}", server.authority());
    visit(&["--accounts", &trusted]).assert_says(
        "accounts",
        "ok: the line is encrypted, and the certificate verified",
        "",
    );
}

#[test]
fn clocks_that_differ_are_told_of() {
    let server = mariadb::Server::start();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    server.sql("", &format!("CREATE USER 'anna'@'%' IDENTIFIED BY 'a'; GRANT ALL ON {name}.* TO 'anna'@'%'"));
    let fix = "let both machines take their time from the network (chrony, systemd-timesyncd): tokens allow for 30 s";
    for (seconds, verdict) in [(-20, "warn: its clock is"), (60, "fail: its clock is")] {
        // Only for those who are not almighty.
        server.sql("", &format!("SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() + {seconds}'"));
        visit(&["--accounts", &server.url("anna", "a", name)]).assert_says("accounts", verdict, fix);
    }
}

#[test]
fn a_mongodb_server_is_looked_at() {
    let server = mongodb::Server::start();
    let url = server.database();
    let fresh = visit(&["--jobs", &url, "--blobs", &url]);
    assert!(!fresh.failed, "{:#?}", fresh.findings);
    fresh.assert_says("jobs", "ok: MongoDB ", "");
    fresh.assert_says("jobs", "ok: its clock is 0.", "");
    fresh.assert_says("jobs", "ok: the replica set rs0: fine", "");
    fresh.assert_says("blobs", "warn: the collection ", "start microserve once; it makes what is missing, if it may");

    let prefix = url.rsplit_once("prefix=").unwrap().1;
    let chunks = doc! { "key": { "files_id": 1, "n": 1 }, "name": "files_id_1_n_1" };
    server.run(&format!("{prefix}videos"), doc! { "createIndexes": "fs.chunks", "indexes": [chunks] });
    let other = visit(&["--blobs", &url]);
    other.assert_says("blobs", "warn: the index of ", "it makes the index unique, unless some chunk is there twice");

    server.run("admin", doc! { "createUser": "anna", "pwd": "a", "roles": [] });
    let wrong = format!("mongodb://anna:hunter2@127.0.0.1:{}/?replicaSet=rs0", server.port());
    visit(&["--jobs", &wrong]).assert_says("jobs", "fail: ", LOG_IN);
}

#[test]
fn a_mongodb_server_without_replicas_is_told_of() {
    let server = mongodb::Server::standalone();
    let visit = visit(&["--jobs", &server.url()]);
    let fix = "run rs.initiate() in mongosh once, and write ?replicaSet=rs0 in --jobs";
    visit.assert_says("jobs", "warn: MongoDB is no replica set: what is stored is on one disk only", fix);
    assert!(!visit.failed);
}

#[tokio::test]
async fn a_broker_and_its_queues_are_looked_at() {
    use microserve::core::queue::{Message, Queue, QueueName};
    use microserve::rabbitmq::RabbitQueue;
    let broker = rabbitmq::shared();
    let url = broker.vhost();
    let vhost = url.rsplit('/').next().unwrap().to_owned();
    visit(&["--queue", &url]).assert_says("queue", "warn: the queues video.dead, video, video.retry.1s", "if it may");
    let declare = |name: &str, durable: bool| {
        let resource = format!("rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{name}\">>)");
        let declared = format!("rabbit_amqqueue:declare({resource}, {durable}, false, [], none, <<\"test\">>)");
        broker.eval(&format!("{{new, _}} = {declared}, ok"));
    };
    declare("video", true);
    declare("mp3.retry.4s", true);
    let queue = RabbitQueue::open(&url.parse().unwrap()).await.unwrap();
    queue.publish(&QueueName::MP3.dead(), Message::new("1", "{}")).await.unwrap();
    let other = visit(&["--queue", &url]);
    other.assert_says("queue", "ok: RabbitMQ answers", "");
    let fix = "nothing has to be done; for a replicated one, stop all who use it, run rabbitmqctl delete_queue video, start again";
    other.assert_says("queue", "warn: the queue video is somebody else's, and used as it is: ", fix);
    let fix = "when it is empty, run rabbitmqctl delete_queue mp3.retry.4s; the next start makes it anew";
    other.assert_says("queue", "fail: the queue mp3.retry.4s may keep what waits in it for ever: ", fix);
    let fix = "microserve dead-letters list --of mp3 shows why";
    other.assert_says("queue", "warn: dead letters on mp3.dead: 1", fix);

    let well = broker.vhost();
    drop(RabbitQueue::open(&well.parse().unwrap()).await.unwrap());
    let well = visit(&["--queue", &well]);
    well.assert_says("queue", "ok: the queue mp3 and all that belongs to it: fine", "");
    assert!(!well.failed, "{:#?}", well.findings);

    let port = broker.port();
    visit(&["--queue", &format!("amqp://guest:hunter2@127.0.0.1:{port}")]).assert_says("queue", "fail: ", LOG_IN);
    let nowhere = format!("amqp://guest:guest@127.0.0.1:{port}/nowhere");
    visit(&["--queue", &nowhere]).assert_says("queue", "fail: ", "or correct --queue");
    let (tls, authority) = (format!("amqps://guest:guest@localhost:{}", broker.tls_port()), broker.authority());
    visit(&["--queue", &tls]).assert_says("queue", "fail: ", "name the authority there too if it is your own");
    let verified = visit(&["--queue", &format!("{tls}/{vhost}?ca={authority}")]);
    verified.assert_says("queue", "ok: the line is encrypted, and the certificate verified", "");
}

#[test]
fn a_mail_server_is_looked_at_and_gets_a_mail_only_if_asked() {
    let sink = Sink::start(Mode::StartTls, Some(("anna", "right")));
    let (port, ca) = (sink.port(), sink.authority());
    let url = |password: &str| format!("smtp://anna:{password}@localhost:{port}?tls=starttls&ca={ca}");
    visit(&["--mailer", &url("hunter2")]).assert_says("mailer", "fail: the server does not let us log in: ", LOG_IN);
    let right = visit(&["--mailer", &url("right")]);
    right.assert_says("mailer", "ok: the line is encrypted, and the certificate verified", "");
    right.assert_says("mailer", "ok: we are let in", "");
    assert!(!right.failed && sink.mails().is_empty(), "nothing is sent");
    let sent = visit(&["--mailer", &url("right"), "--send-mail", "bert@example.com", "--mail-from", "mp3@example.com"]);
    sent.assert_says("mail", "ok: a test mail to bert@example.com was taken", "");
    let mails = sink.mails();
    assert!(mails.len() == 1 && mails[0].to == ["bert@example.com"] && mails[0].from == "mp3@example.com", "{mails:?}");
    let untrusted = format!("smtp://anna:right@localhost:{port}?tls=starttls");
    visit(&["--mailer", &untrusted]).assert_says("mailer", "fail: ", "name the authority there too if it is your own");
    let plain = Sink::start(Mode::Plain, None);
    let upgraded = format!("smtp://127.0.0.1:{}?tls=starttls", plain.port());
    visit(&["--mailer", &upgraded]).assert_says("mailer", "fail: the line can't be encrypted: ", "if it is your own");
}
