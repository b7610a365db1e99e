//! What `/metrics` says after logins, uploads, a conversion and a mail, and what it keeps to itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use microserve_testkit::media;
use microserve_testkit::server::add_user;
use reqwest::multipart::{Form, Part};

use crate::common::{Client, World, exe};

/// A page in the text format of Prometheus (version 0.0.4), read strictly: series by name and labels.
struct Page {
    text: String,
    series: HashMap<String, f64>,
}

impl Page {
    async fn of(world: &World) -> Self {
        let answer = world.client.http.get(format!("{}/metrics", world.server.ops_url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(answer.text().await.unwrap())
    }

    fn parse(text: String) -> Self {
        let (mut series, mut types) = (HashMap::new(), HashMap::new());
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "told twice: {line}");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let bare = name.split('{').next().unwrap();
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(!bare.is_empty() && bare.chars().all(is_word), "{line}");
            assert!(name == bare || name.ends_with('}'), "{line}");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
            let known = types.contains_key(bare) || family.is_some_and(|name| types[name] == "histogram");
            assert!(known, "of no type: {line}");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(series.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
        Self { text, series }
    }

    /// The value of a series, named without the prefix; 0 if there is none.
    fn get(&self, name: &str) -> f64 {
        self.series.get(&format!("microserve_{name}")).copied().unwrap_or(0.0)
    }
}

/// Waits until the mails are sent and no request is on its way.
async fn settled(world: &World) -> Page {
    let started = Instant::now();
    loop {
        let page = Page::of(world).await;
        if page.get(r#"messages_settled_total{queue="mp3",settlement="ack"}"#) >= 1.0
            && page.get("http_requests_in_flight") == 0.0
        {
            return page;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}", page.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn form(bytes: Vec<u8>) -> Form {
    Form::new().part("file", Part::bytes(bytes).file_name("very odd name.mp4"))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_done_and_tell_nobodys_secrets() {
    let world = World::start().await;
    let (email, url) = ("bertha.unlikely@example.com", &world.server.url);
    let password = add_user(exe(), &world.data, email);
    let client = Client::login(url, email, &password).await;
    let wrong = client.http.post(format!("{url}/login")).basic_auth(email, Some("wrong")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);

    let (video, silent) = (std::fs::read(media::tone_mp4(2)).unwrap(), std::fs::read(media::video_only_mp4()).unwrap());
    let (good, bad) = (video.len(), silent.len());
    assert_eq!(client.post_form(form(silent)).await.unwrap().status(), 415);
    let accepted: serde_json::Value = client.post_form(form(video)).await.unwrap().json().await.unwrap();
    let job = accepted["job_id"].as_str().unwrap();
    let done = client.until_final(job, Duration::from_secs(60)).await;
    let fid = done["mp3_fid"].as_str().unwrap();
    let mp3 = client.get(&format!("/download?fid={fid}")).await.unwrap().bytes().await.unwrap();
    assert_eq!(client.get("/nowhere/very-odd").await.unwrap().status(), 404);

    let page = settled(&world).await;
    for (series, value) in [
        (r#"logins_total{outcome="ok"}"#, 2.0),
        (r#"logins_total{outcome="refused"}"#, 1.0),
        (r#"uploads_total{outcome="accepted"}"#, 1.0),
        (r#"uploads_total{outcome="refused"}"#, 1.0),
        (r#"http_requests_total{route="/upload",method="POST",status="2xx"}"#, 1.0),
        (r#"http_requests_total{route="/upload",method="POST",status="4xx"}"#, 1.0),
        (r#"http_request_duration_seconds_count{route="/upload",method="POST"}"#, 2.0),
        (r#"http_requests_total{route="none",method="GET",status="4xx"}"#, 1.0),
        (r#"http_sent_bytes_total{route="/download",method="GET"}"#, mp3.len() as f64),
        (r#"conversions_total{outcome="ok"}"#, 1.0),
        (r#"conversion_duration_seconds_count{outcome="ok"}"#, 1.0),
        ("conversion_speed_ratio_count", 1.0),
        ("conversions_running", 0.0),
        (r#"job_writes_total{role="converter",status="done"}"#, 1.0),
        (r#"messages_published_total{role="gateway",queue="video"}"#, 1.0),
        (r#"messages_settled_total{queue="video",settlement="ack"}"#, 1.0),
        (r#"mails_total{outcome="ok"}"#, 1.0),
        (r#"port_calls_total{role="notifier",port="mailer",method="send",outcome="ok"}"#, 1.0),
        (r#"port_calls_total{role="converter",port="mp3s",method="put",outcome="ok"}"#, 1.0),
        (r#"port_call_duration_seconds_count{port="mailer",method="send"}"#, 1.0),
        ("jobs_waiting", 0.0),
        ("oldest_waiting_job_age_seconds", 0.0),
    ] {
        assert_eq!(page.get(series), value, "{series}\n{}", page.text);
    }
    for known in ["jobs_waiting", "oldest_waiting_job_age_seconds", "conversions_running"] {
        assert!(page.series.contains_key(&format!("microserve_{known}")), "{known}");
    }
    for port in ["accounts", "jobs"] {
        let of = |state: &str| page.get(&format!(r#"pool_connections{{port="{port}",state="{state}"}}"#));
        let (used, idle, most) = (of("used"), of("idle"), of("most"));
        assert!(used + idle >= 1.0 && used + idle <= most, "{port}: {used} used, {idle} idle, {most} at most");
    }
    assert!((1.9..2.1).contains(&page.get("converted_sound_seconds_total")), "{}", page.text);
    let received = page.get(r#"http_received_bytes_total{route="/upload",method="POST"}"#);
    assert!((good as f64..=(good + bad + 2000) as f64).contains(&received), "{received} of {good} and {bad}");
    assert!(page.series["process_resident_memory_bytes"] > 1e6);
    assert!(page.text.contains("microserve_build_info{version=\""), "{}", page.text);
    let secrets =
        [email, "bertha", "anna", "@", &password, &client.token, "odd", "nowhere", job, fid, "127.0.0.1", "/work"];
    for secret in secrets {
        assert!(!page.text.contains(secret), "{secret} is told:\n{}", page.text);
    }
    assert_histograms_add_up(&page);
}

/// The buckets of each histogram rise, and the last has everything.
fn assert_histograms_add_up(page: &Page) {
    let mut seen = HashSet::new();
    let mut before: Option<(String, f64)> = None;
    for line in page.text.lines().filter(|line| line.contains("_bucket{")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (head, edge) = name.split_once("le=\"").unwrap();
        let rest = edge.split_once('"').unwrap().1.trim_start_matches(',');
        let (of, value) = (format!("{head}{rest}"), value.parse::<f64>().unwrap());
        if let Some((_, least)) = before.as_ref().filter(|(other, _)| *other == of) {
            assert!(value >= *least, "{line}");
        }
        if edge.starts_with("+Inf") {
            let count = of.replace("_bucket{", "_count{").replace(",}", "}").replace("{}", "");
            assert_eq!(page.series[&count], value, "{line}");
            assert!(seen.insert(of.clone()));
        }
        before = Some((of, value));
    }
    assert!(seen.len() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_metrics_are_given_to_those_who_ask_for_them() {
    let world = World::start().await;
    let asked = world.client.http.get(format!("{}/metrics", world.server.ops_url));
    let answer = asked.header("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n") && text.contains("\nmicroserve_logins_total{outcome=\"ok\"} 1\n"), "{text}");
}
