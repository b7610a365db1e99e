//! What goes wrong in the services of the well-known tutorial, and does not here.
//!
//! Other people's files: `worlds`. Passwords in plain text: `mysql.rs`. A server error for an unknown file: `bad_input.rs`.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use lapin::options::{BasicPublishOptions, QueuePurgeOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use microserve_testkit::chaos_proxy::Fault;
use microserve_testkit::media;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::common::exe;
use crate::services::{ANNA, Cluster, Line, Servers};

const PATIENCE: Duration = Duration::from_secs(60);

async fn channel(cluster: &Cluster) -> lapin::Channel {
    let connection = Connection::connect(cluster.queue(), ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

async fn publish(channel: &lapin::Channel, body: &[u8]) {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), "video".into(), BasicPublishOptions::default(), body, persistent);
    sent.await.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_loses_is_no_lost_video() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    for service in [&mut cluster.auth, &mut cluster.gateway, &mut cluster.notifier] {
        service.start();
        service.until("ready", PATIENCE).await;
    }
    let anna = cluster.login(ANNA).await;
    let job = anna.upload(&media::tone_mp4(2)).await;
    let purged = channel(&cluster).await.queue_purge("video".into(), QueuePurgeOptions::default()).await.unwrap();
    assert_eq!(purged, 1, "the only message is lost");
    cluster.converter.start();
    assert_eq!(anna.until_final(&job, PATIENCE).await["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_makes_no_second_mp3_and_no_second_mail() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    cluster.start();
    cluster.until_ready().await;
    let (anna, channel) = (cluster.login(ANNA).await, channel(&cluster).await);
    let job = anna.upload(&media::tone_mp4(2)).await;
    let video = anna.job(&job).await["video_fid"].clone();
    let message = json!({"video_fid": video, "mp3_fid": null, "username": ANNA, "job_id": job});
    for _ in 0..5 {
        publish(&channel, message.to_string().as_bytes()).await;
    }
    assert_eq!(anna.until_final(&job, PATIENCE).await["status"], "done");
    for _ in 0..5 {
        publish(&channel, message.to_string().as_bytes()).await;
    }
    // Behind all of them there is another.
    let last = anna.upload(&media::tone_mp4(2)).await;
    anna.until_final(&last, PATIENCE).await;
    let started = Instant::now();
    while servers.mails.mails().len() < 2 {
        assert!(started.elapsed() < PATIENCE, "the second mail is missing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(servers.mails.mails().len(), 2);
    let client = mongodb::Client::with_uri_str(servers.mongod.url()).await.unwrap();
    let files = client.database(&format!("{}mp3s", cluster.prefix)).collection::<Document>("fs.files");
    let files: Vec<_> = files.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(files.len(), 2, "an MP3 for each of two videos: {files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_message_is_set_aside_and_told_of() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    cluster.start();
    cluster.until_ready().await;
    publish(&channel(&cluster).await, b"poison").await;
    let anna = cluster.login(ANNA).await;
    let job = anna.upload(&media::tone_mp4(2)).await;
    assert_eq!(anna.until_final(&job, PATIENCE).await["status"], "done");
    let started = Instant::now();
    loop {
        let mut list = Command::new(exe());
        list.args(["dead-letters", "list", "--json", "--queue", cluster.queue()]);
        let listed = list.output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let letters: Value = serde_json::from_slice(&listed.stdout).unwrap();
        match letters.as_array().unwrap().as_slice() {
            [] => assert!(started.elapsed() < PATIENCE, "the message is nowhere"),
            [letter] => {
                assert!(letter["reason"].as_str().unwrap().contains("not an event"), "{letter}");
                break;
            }
            more => panic!("{more:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_while_nobody_talked_are_made_anew() {
    let servers = Servers::start();
    let lines = [Line::GatewayToBroker, Line::ConverterToBroker, Line::NotifierToBroker, Line::GatewayToMongod];
    let mut cluster = Cluster::on(&servers, &lines);
    cluster.start();
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    for proxy in cluster.proxies.values() {
        proxy.set(Fault::Reset);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for proxy in cluster.proxies.values() {
        proxy.heal();
    }
    let job = anna.upload(&media::tone_mp4(2)).await;
    assert_eq!(anna.until_final(&job, PATIENCE).await["status"], "done");
    let started = Instant::now();
    while servers.mails.mails().is_empty() {
        assert!(started.elapsed() < PATIENCE, "there is no mail");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
