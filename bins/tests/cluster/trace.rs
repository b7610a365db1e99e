//! A trace goes through all services, and through a message that the broker loses.

use std::time::{Duration, Instant};

use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};
use microserve_testkit::media;
use serde_json::Value;

use crate::services::{ANNA, Cluster, Servers, Service};

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The span of the line with these words, once it is there.
async fn span(service: &Service, words: &str) -> Value {
    let started = Instant::now();
    loop {
        let log = service.log();
        if let Some(line) = log.lines().find(|line| line.contains(words)) {
            return serde_json::from_str::<Value>(line).unwrap()["span"].clone();
        }
        assert!(started.elapsed() < PATIENCE, "nothing of {words:?} is in the log:\n{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_converter_and_notifier_log_the_trace_that_a_lost_message_told_of() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    for service in [&mut cluster.auth, &mut cluster.gateway, &mut cluster.notifier] {
        service.start();
        service.until("ready", PATIENCE).await;
    }
    let anna = cluster.login(ANNA).await;
    let put = anna.http.put(format!("{}/upload/tone.mp4", anna.url)).bearer_auth(&anna.token);
    let put = put.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = put.body(std::fs::read(media::tone_mp4(2)).unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let job = answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned();
    let request = span(&cluster.gateway, &format!("accepted job {job}")).await;

    // The message is taken away, as if the broker had lost it: the relay rings again.
    let connection = Connection::connect(cluster.queue(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let taken = channel.basic_get("video".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    let message: Value = serde_json::from_slice(&taken.delivery.data).unwrap();
    let span_id = request["span_id"].as_str().unwrap();
    assert_eq!(message["traceparent"], format!("00-{TRACE}-{span_id}-01"));
    cluster.converter.start();

    let conversion = span(&cluster.converter, &format!("converted job {job}")).await;
    let mail = span(&cluster.notifier, &format!("sent the mail of job {job}")).await;
    for (span, name) in [(&request, "request"), (&conversion, "conversion"), (&mail, "mail")] {
        assert_eq!((&span["name"], &span["trace_id"]), (&name.into(), &TRACE.into()), "{span}");
    }
    assert_eq!((&conversion["parent_id"], &mail["parent_id"]), (&request["span_id"], &request["span_id"]));
}
