//! With the feature `otel`: what a collector of traces gets, and what becomes of a server whose collector does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use common::{Client, exe, http};
use microserve_testkit::media;
use microserve_testkit::port::free_port;
use microserve_testkit::server::add_user;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ANNA: &str = "anna.unlikely@example.com";
/// The kinds of spans, as OTLP numbers them.
const SERVER: i32 = 2;
const CONSUMER: i32 = 5;

/// Takes traces, and keeps the bodies of the requests.
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    async fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let keep = |State(bodies): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes| async move {
            bodies.lock().unwrap().push(body);
        };
        let router = Router::new().route("/v1/traces", post(keep)).with_state(Arc::clone(&bodies));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, bodies }
    }

    /// Each span, with the service that it is from.
    fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for body in self.bodies.lock().unwrap().iter() {
            for exported in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
                let service = text(&exported.resource.unwrap().attributes, "service.name").unwrap();
                let of_scopes = exported.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_scopes.map(|span| (service.clone(), span)));
            }
        }
        spans
    }

    /// The one span with this title, once it has come.
    async fn span(&self, title: &str) -> (String, Span) {
        let started = Instant::now();
        loop {
            let spans = self.spans();
            let mut found = spans.iter().filter(|(_, span)| span.name == title);
            if let Some(found) = found.next() {
                return found.clone();
            }
            let titles: Vec<_> = spans.iter().map(|(_, span)| &span.name).collect();
            assert!(started.elapsed() < PATIENCE, "there is no span {title}, but {titles:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A process of ours that tells a collector, and stops when it is dropped.
struct Process {
    child: Option<Child>,
    log: PathBuf,
}

impl Process {
    async fn start(exe: &str, options: &[&str], data: &Path, variables: &[(&str, String)]) -> Self {
        let ops = free_port();
        let log = data.join(format!("{ops}.log"));
        let child = Command::new(exe)
            .args(options)
            .env("MICROSERVE_OPS_LISTEN", format!("127.0.0.1:{ops}"))
            .env("MICROSERVE_DATA", data)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let process = Self { child: Some(child), log };
        let (started, http, ready) =
            (Instant::now(), http().build().unwrap(), format!("http://127.0.0.1:{ops}/readyz"));
        while !http.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(started.elapsed() < PATIENCE, "{}", process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        process
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// SIGTERM; how long it took.
    async fn stop(&mut self) -> Duration {
        let mut child = self.child.take().unwrap();
        let started = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        assert!(ended.await.unwrap().success());
        started.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _already_gone = child.wait();
        }
    }
}

/// The all-in-one and somebody who is logged in.
struct World {
    server: Process,
    anna: Client,
    _folder: TempDir,
}

impl World {
    async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let (password, url) = (add_user(exe(), &data, ANNA), format!("127.0.0.1:{}", free_port()));
        let mut environment = vec![("MICROSERVE_LISTEN", url.clone()), ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned())];
        environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let server = Process::start(exe().to_str().unwrap(), &["serve"], &data, &environment).await;
        let anna = Client::login(&format!("http://{url}"), ANNA, &password).await;
        Self { server, anna, _folder: folder }
    }

    /// An upload by somebody who claims to have recorded it, until its mail is sent.
    async fn converted(&self, trace: &str) {
        let job = upload(&self.anna, trace, "01").await;
        let started = Instant::now();
        while self.anna.job(&job).await["mail"] != "sent" {
            assert!(started.elapsed() < PATIENCE, "{}", self.server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn upload(client: &Client, trace: &str, flags: &str) -> String {
    let put = client.http.put(format!("{}/upload/unlikely-holiday.mp4", client.url)).bearer_auth(&client.token);
    let put = put.header("traceparent", format!("00-{trace}-{CALLER}-{flags}")).header("x-request-id", "unlikely-1");
    let answer = put.body(std::fs::read(media::tone_mp4(2)).unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.clone()?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_converter_and_notifier_tell_of_one_trace() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let data = folder.path();
    let password = add_user(exe(), data, ANNA);
    let (auth, gateway) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let common = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        // Nothing is logged: that decides about nothing.
        ("MICROSERVE_LOG", "error".to_owned()),
        ("MICROSERVE_AUTH", format!("http://{auth}")),
    ];
    let with = |name, value: &str| [&common[..], &[(name, value.to_owned())]].concat();
    let exes = [env!("CARGO_BIN_EXE_microserve-auth"), env!("CARGO_BIN_EXE_microserve-gateway")];
    let _auth = Process::start(exes[0], &["serve"], data, &with("MICROSERVE_LISTEN", &auth)).await;
    let _gateway = Process::start(exes[1], &[], data, &with("MICROSERVE_LISTEN", &gateway)).await;
    let _converter = Process::start(env!("CARGO_BIN_EXE_microserve-converter"), &[], data, &common).await;
    let named = with("OTEL_SERVICE_NAME", "mails");
    let _notifier = Process::start(env!("CARGO_BIN_EXE_microserve-notifier"), &[], data, &named).await;
    let anna = Client::login(&format!("http://{gateway}"), ANNA, &password).await;

    // The caller says that it has not recorded anything, which is no reason not to.
    let job = upload(&anna, TRACE, "00").await;
    let (by_mail, mail) = collector.span("mail").await;
    let (by_conversion, conversion) = collector.span("conversion").await;
    let (by_request, request) = collector.span("PUT /upload/{name}").await;
    assert_eq!([&*by_request, &by_conversion, &by_mail], ["microserve-gateway", "microserve-converter", "mails"]);
    for span in [&request, &conversion, &mail] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!((&conversion.parent_span_id, &mail.parent_span_id), (&request.span_id, &request.span_id));
    let ids = BTreeSet::from([&request.span_id, &conversion.span_id, &mail.span_id]);
    assert_eq!(ids.len(), 3);
    assert_eq!((request.kind, conversion.kind, mail.kind), (SERVER, CONSUMER, CONSUMER));
    assert_eq!(text(&request.attributes, "http.response.status_code").as_deref(), Some("202"));
    for (span, outcome) in [(&conversion, "done"), (&mail, "sent")] {
        assert_eq!(text(&span.attributes, "microserve.outcome").as_deref(), Some(outcome));
        assert_eq!(text(&span.attributes, "microserve.job.id").as_deref(), Some(&*job));
    }

    // A login goes on in the auth service.
    let spans = collector.spans();
    let logins: Vec<_> = spans.iter().filter(|(_, span)| span.name == "POST /login").collect();
    let of = |service: &str| &logins.iter().find(|(by, _)| by == service).unwrap().1;
    let (passed_on, decided) = (of("microserve-gateway"), of("microserve-auth"));
    assert_eq!((&passed_on.trace_id, &passed_on.span_id), (&decided.trace_id, &decided.parent_span_id));

    // Nothing else leaves the processes, and nothing that is anybody's.
    let known = BTreeSet::from([
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "microserve.job.id",
        "microserve.attempt",
        "microserve.outcome",
    ]);
    for (_, span) in &spans {
        let keys: BTreeSet<_> = span.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert!(keys.is_subset(&known) && span.events.is_empty(), "{span:?}");
        assert!(!span.name.contains("readyz"), "{span:?}");
    }
    for body in collector.bodies.lock().unwrap().iter() {
        let body = String::from_utf8_lossy(body);
        for secret in ["unlikely", &*password, &*anna.token] {
            assert!(!body.contains(secret), "{secret:?} was exported");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_an_error_and_what_is_refused_is_none() {
    let collector = Collector::start().await;
    let world = World::with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]).await;
    // Good headers, and nothing behind them.
    let mut video = std::fs::read(media::tone_mp4(5)).unwrap();
    let data = video.windows(4).position(|name| name == b"mdat").unwrap();
    let size = u32::from_be_bytes(video[data - 4..data].try_into().unwrap()) as usize;
    for (n, byte) in (0_u32..).zip(&mut video[data + 4..data - 4 + size]) {
        *byte = (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    let damaged = world._folder.path().join("damaged.mp4");
    std::fs::write(&damaged, video).unwrap();
    let job = world.anna.upload(&damaged).await;
    let failed = world.anna.until_final(&job, PATIENCE).await;
    let (_, conversion) = collector.span("conversion").await;
    assert_eq!(text(&conversion.attributes, "microserve.outcome").as_deref(), Some("failed"));
    assert_eq!(text(&conversion.attributes, "error.type").as_deref(), failed["error"]["code"].as_str());
    assert_eq!(conversion.status.unwrap().code, i32::from(StatusCode::Error));
    let method = reqwest::Method::from_bytes(b"UNLIKELY").unwrap();
    let nowhere = world.anna.http.request(method, format!("{}/unlikely", world.anna.url)).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    let (_, refused) = collector.span("HTTP").await;
    assert_eq!(text(&refused.attributes, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(refused.status.unwrap_or_default().code, i32::from(StatusCode::Unset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_switch_recording_on() {
    // Neither by a flag, nor by a trace id that is the first of all that a ratio takes.
    let ratio = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.000001")];
    for sampler in [&[("OTEL_TRACES_SAMPLER", "parentbased_always_off")][..], &ratio] {
        let collector = Collector::start().await;
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url)];
        let mut world = World::with(&[&endpoint[..], sampler].concat()).await;
        world.converted("00000000000000000000000000000001").await;
        world.server.stop().await;
        assert!(collector.spans().is_empty(), "{:?}", collector.spans());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent_yet_goes_out_at_the_end() {
    let collector = Collector::start().await;
    let endpoint = format!("{}/v1/traces", collector.url);
    let variables = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let mut world = World::with(&variables).await;
    world.converted(TRACE).await;
    assert!(collector.spans().is_empty());
    world.server.stop().await;
    let spans = collector.spans();
    for name in ["PUT /upload/{name}", "conversion", "mail"] {
        assert!(spans.iter().any(|(service, span)| service == "microserve" && span.name == name), "{name}: {spans:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_or_hangs_costs_a_warning_and_a_moment_at_the_end() {
    // Nobody listens; and somebody who takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [free_port(), silent.local_addr().unwrap().port()] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        let mut world = World::with(&variables).await;
        let started = Instant::now();
        while !world.server.log().contains("traces can't be exported") {
            assert!(started.elapsed() < PATIENCE, "{}", world.server.log());
            world.converted(TRACE).await;
        }
        world.converted(TRACE).await;
        assert!(world.server.stop().await < Duration::from_secs(10));
        assert_eq!(world.server.log().matches("traces can't be exported").count(), 1, "{}", world.server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_exported_to_is_said_and_hinders_nobody() {
    for variables in [
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "no address at all")][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")],
    ] {
        let world = World::with(variables).await;
        world.converted(TRACE).await;
        assert!(world.server.log().contains("traces can't be exported"), "{}", world.server.log());
    }
}
