//! The Python services of the well-known tutorial on either side of ours. What stands in for them does what they do to
//! GridFS and RabbitMQ, and knows nothing of jobs.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use microserve_testkit::port::free_port;
use microserve_testkit::servers::{mongodb as mongod, rabbitmq};
use microserve_testkit::smtp::{Mode, Sink};
use microserve_testkit::{judge, media};
use mongodb::bson::{Document, doc, oid::ObjectId};
use mongodb::gridfs::GridFsBucket;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::common::{self, Client};

const ANNA: &str = "anna@example.com";
const PATIENCE: Duration = Duration::from_secs(60);

/// Mailbox, broker and database that both sides share, with the queues that the tutorial declares.
struct World {
    database: mongod::Server,
    broker: String,
    mails: Sink,
    client: mongodb::Client,
    channel: Channel,
    folder: tempfile::TempDir,
}

/// A service of ours, which is killed with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _already_gone = self.0.wait();
    }
}

impl World {
    async fn new() -> Self {
        let (database, broker) = (mongod::Server::start(), rabbitmq::shared().vhost());
        let client = mongodb::Client::with_uri_str(database.url()).await.unwrap();
        let connection = Connection::connect(&broker, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        for queue in ["video", "mp3"] {
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
        }
        let mails = Sink::start(Mode::Plain, None);
        Self { database, broker, mails, client, channel, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts one of our services with what it may know.
    fn service(&self, exe: &str, more: &[(&str, &str)]) -> Service {
        let mongodb = self.database.url();
        let mut command = Command::new(exe);
        if exe.ends_with("-auth") {
            command.arg("serve");
        }
        command
            .env("MICROSERVE_DATA", self.folder.path())
            .env("MICROSERVE_OPS_LISTEN", "127.0.0.1:0")
            .env("MICROSERVE_COMPAT", "tutorial")
            .env("MICROSERVE_LOG", "warn");
        if !exe.ends_with("-auth") {
            command.env("MICROSERVE_JOBS", &mongodb).env("MICROSERVE_BLOBS", &mongodb);
            command.env("MICROSERVE_QUEUE", &self.broker);
        }
        command.envs(more.iter().copied()).stdin(Stdio::null());
        Service(command.spawn().unwrap())
    }

    fn notifier(&self) -> Service {
        let mailer = format!("smtp://127.0.0.1:{}", self.mails.port());
        self.service(env!("CARGO_BIN_EXE_microserve-notifier"), &[("MICROSERVE_MAILER", &mailer)])
    }

    fn bucket(&self, database: &str) -> GridFsBucket {
        self.client.database(database).gridfs_bucket(None)
    }

    /// As `fs.put(file)`: no name, no metadata.
    async fn put(&self, database: &str, bytes: &[u8]) -> ObjectId {
        let mut stream = self.bucket(database).open_upload_stream("").await.unwrap();
        let id = stream.id().as_object_id().unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.close().await.unwrap();
        id
    }

    async fn read(&self, database: &str, id: &str) -> Vec<u8> {
        let id = ObjectId::parse_str(id).unwrap();
        let mut bytes = Vec::new();
        let mut stream = self.bucket(database).open_download_stream(id.into()).await.unwrap();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    async fn files(&self, database: &str) -> u64 {
        let files = self.client.database(database).collection::<Document>("fs.files");
        files.count_documents(doc! {}).await.unwrap()
    }

    async fn publish(&self, queue: &str, message: &Value) {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let body = message.to_string().into_bytes();
        let sent =
            self.channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), &body, persistent);
        sent.await.unwrap().await.unwrap();
    }

    /// The fid in the mail with this number, once it has come.
    async fn mailed_fid(&self, number: usize) -> String {
        let started = Instant::now();
        loop {
            if let Some(mail) = self.mails.mails().get(number) {
                assert!(mail.message.contains(ANNA), "{}", mail.message);
                let fid = mail.message.lines().find_map(|line| line.trim_end().strip_prefix("File ID: "));
                return fid.expect("the mail names the file").to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "no mail has come");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What waits until a service answers.
async fn until_ready(url: &str) {
    let (http, started) = (crate::common::http().build().unwrap(), Instant::now());
    while http.get(url).send().await.is_err() {
        assert!(started.elapsed() < PATIENCE, "{url} does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_the_tutorial_with_our_converter_and_notifier() {
    let world = World::new().await;
    let _services = (world.service(env!("CARGO_BIN_EXE_microserve-converter"), &[]), world.notifier());
    let video = world.put("videos", &std::fs::read(media::tone_mp4(3)).unwrap()).await;
    let message = json!({"video_fid": video.to_hex(), "mp3_fid": null, "username": ANNA});
    world.publish("video", &message).await;
    let fid = world.mailed_fid(0).await;
    // Their gateway gives out what lies in GridFS under the mail's id.
    let mp3 = world.folder.path().join("theirs.mp3");
    std::fs::write(&mp3, world.read("mp3s", &fid).await).unwrap();
    judge::assert_clean(&mp3);
    assert!((judge::duration(&mp3) - 3.0).abs() < 0.1, "{}", judge::duration(&mp3));

    // Their broker may deliver twice; and then there is another video behind it.
    let second = world.put("videos", &std::fs::read(media::tone_mp4(2)).unwrap()).await;
    world.publish("video", &message).await;
    world.publish("video", &json!({"video_fid": second.to_hex(), "mp3_fid": null, "username": ANNA})).await;
    assert_ne!(world.mailed_fid(1).await, fid);
    assert_eq!((world.files("mp3s").await, world.mails.mails().len()), (2, 2));
}

/// Takes messages from `video`, stores `mp3` as theirs, and announces it. Counts in the database.
async fn their_converter(broker: String, client: mongodb::Client, mp3: Vec<u8>) {
    let connection = Connection::connect(&broker, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume("video".into(), "theirs".into(), options, table).await.unwrap();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.unwrap();
        let mut message: Value = serde_json::from_slice(&delivery.data).unwrap();
        let video = ObjectId::parse_str(message["video_fid"].as_str().unwrap()).unwrap();
        let mut bytes = Vec::new();
        let mut video = client.database("videos").gridfs_bucket(None).open_download_stream(video.into()).await.unwrap();
        video.read_to_end(&mut bytes).await.unwrap();
        assert!(!bytes.is_empty());
        let mut stored = client.database("mp3s").gridfs_bucket(None).open_upload_stream("").await.unwrap();
        let id = stored.id().as_object_id().unwrap();
        stored.write_all(&mp3).await.unwrap();
        stored.close().await.unwrap();
        message["mp3_fid"] = id.to_hex().into();
        let (body, persistent) = (message.to_string().into_bytes(), BasicProperties::default().with_delivery_mode(2));
        let sent = channel.basic_publish("".into(), "mp3".into(), BasicPublishOptions::default(), &body, persistent);
        sent.await.unwrap().await.unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_gateway_with_a_converter_of_the_tutorial() {
    let world = World::new().await;
    let made = world.folder.path().join("made.mp3");
    let video = media::tone_mp4(3);
    let ffmpeg = Command::new("ffmpeg").args(["-nostdin", "-loglevel", "error", "-i"]).arg(&video).arg(&made).status();
    assert!(ffmpeg.unwrap().success());
    let mp3 = std::fs::read(&made).unwrap();
    let theirs = tokio::spawn(their_converter(world.broker.clone(), world.client.clone(), mp3.clone()));

    let (auth, gateway) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let auth_url = format!("http://{auth}");
    let _services = (
        world.service(env!("CARGO_BIN_EXE_microserve-auth"), &[("MICROSERVE_LISTEN", &auth)]),
        world.service(
            env!("CARGO_BIN_EXE_microserve-gateway"),
            &[("MICROSERVE_LISTEN", &gateway), ("MICROSERVE_AUTH", &auth_url)],
        ),
        world.notifier(),
    );
    until_ready(&format!("{auth_url}/.well-known/jwks.json")).await;
    until_ready(&format!("http://{gateway}/jobs")).await;
    let password = microserve_testkit::server::add_user(common::exe(), world.folder.path(), ANNA);
    // As the tutorial's clients do: the answers are a bare token and a word.
    let (http, url) = (common::http().build().unwrap(), format!("http://{gateway}"));
    let login = http.post(format!("{url}/login")).basic_auth(ANNA, Some(&password)).send().await.unwrap();
    let anna = Client { http, url, token: login.text().await.unwrap() };
    let file = Part::bytes(std::fs::read(&video).unwrap()).file_name("a.mp4");
    let uploaded = anna.post_form(Form::new().part("file", file)).await.unwrap();
    let job = uploaded.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!((uploaded.status().as_u16(), uploaded.text().await.unwrap().as_str()), (200, "success!"));
    let done = anna.until_final(&job, PATIENCE).await;
    assert_eq!(done["status"], "done", "{done}");
    let fid = world.mailed_fid(0).await;
    assert_eq!(done["mp3_fid"], fid);
    let downloaded = world.folder.path().join("downloaded.mp3");
    anna.download(&fid, &downloaded).await;
    assert_eq!(std::fs::read(&downloaded).unwrap(), mp3);
    assert!(!theirs.is_finished(), "their converter has stumbled over our message");
    assert_eq!(world.mails.mails().len(), 1);
}
