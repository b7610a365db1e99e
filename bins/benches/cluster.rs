//! The cluster, measured: the four services as they are released, on a MongoDB, a RabbitMQ and a mail server of their own.
//! Prints a Markdown table. `make bench-cluster` runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, missing_docs, reason = "a bench is no part of the library")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use jiff::Timestamp;
use microserve_testkit::media;
use microserve_testkit::port::free_port;
use microserve_testkit::server::add_user;
use microserve_testkit::servers::{mongodb as mongod, rabbitmq};
use microserve_testkit::smtp::{Mode, Sink};
use mongodb::bson::oid::ObjectId;
use mongodb::options::{Acknowledgment, WriteConcern};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

const ANNA: &str = "anna@example.com";
/// Videos that are uploaded at the same time, and MiB in each.
const UPLOADS: usize = 20;
const MIB: u64 = 200;
/// Each copy is made so often, in turns.
const ROUNDS: usize = 5;
/// Videos whose mails are waited for.
const MAILS: usize = 60;
/// The long video: MiB and seconds.
const LONG: (u64, u32) = (3_450, 3 * 60 * 60);

struct Service(Child);

impl Service {
    /// The most memory it has had resident so far, in MiB (`VmHWM` in proc(5)).
    fn peak_mib(&self) -> f64 {
        peak_mib(self.0.id()).unwrap()
    }

    /// The same of the processes that it has started, as far as they still run: of the one that had most.
    fn child_peak_mib(&self) -> f64 {
        let id = self.0.id();
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let children = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
        let peaks = children
            .flat_map(|ids| ids.split_whitespace().filter_map(|id| peak_mib(id.parse().ok()?)).collect::<Vec<_>>());
        peaks.fold(0.0, f64::max)
    }
}

fn peak_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

impl Drop for Service {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _already_gone = self.0.wait();
    }
}

struct Cluster {
    database: mongod::Server,
    _broker: rabbitmq::Server,
    mails: Sink,
    gateway: Service,
    converter: Service,
    _others: [Service; 2],
    url: String,
    token: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (database, broker) = (mongod::Server::start(), rabbitmq::Server::start());
        let (mails, folder) = (Sink::start(Mode::Plain, None), tempfile::tempdir().unwrap());
        let (listen, auth) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let (mongodb, queue) = (database.url(), broker.vhost());
        let mailer = format!("smtp://127.0.0.1:{}", mails.port());
        let service = |exe: &str, arguments: &[&str], more: &[(&str, &str)]| {
            let mut command = Command::new(exe);
            command.args(arguments).envs(more.iter().copied());
            command.env("MICROSERVE_DATA", folder.path()).env("MICROSERVE_OPS_LISTEN", "127.0.0.1:0");
            command.env("MICROSERVE_JOBS", &mongodb).env("MICROSERVE_BLOBS", &mongodb);
            command.env("MICROSERVE_QUEUE", &queue).env("MICROSERVE_LOG", "warn");
            Service(command.stdin(Stdio::null()).spawn().unwrap())
        };
        let auth_url = format!("http://{auth}");
        let others = [
            service(env!("CARGO_BIN_EXE_microserve-auth"), &["serve"], &[("MICROSERVE_LISTEN", &auth)]),
            service(env!("CARGO_BIN_EXE_microserve-notifier"), &[], &[("MICROSERVE_MAILER", &mailer)]),
        ];
        let converter = service(env!("CARGO_BIN_EXE_microserve-converter"), &[], &[]);
        let gateway = service(
            env!("CARGO_BIN_EXE_microserve-gateway"),
            &[],
            &[("MICROSERVE_LISTEN", &listen), ("MICROSERVE_AUTH", &auth_url)],
        );
        let password = add_user(Path::new(env!("CARGO_BIN_EXE_microserve")), folder.path(), ANNA);
        let _chosen_already = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let url = format!("http://{listen}");
        let token = loop {
            let login = http.post(format!("{url}/login")).basic_auth(ANNA, Some(&password)).send().await;
            match login {
                Ok(answer) if answer.status().is_success() => {
                    let body: Value = answer.json().await.unwrap();
                    break body["token"].as_str().unwrap().to_owned();
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        Self { database, _broker: broker, mails, gateway, converter, _others: others, url, token, http, folder }
    }

    async fn upload(&self, video: &Path, query: &str) -> String {
        let file = tokio::fs::File::open(video).await.unwrap();
        let size = file.metadata().await.unwrap().len();
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024));
        let form = Form::new().part("file", Part::stream_with_length(body, size).file_name("video.mp4"));
        let answer = self.http.post(format!("{}/upload{query}", self.url)).bearer_auth(&self.token).multipart(form);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let body: Value = answer.json().await.unwrap();
        body["job_id"].as_str().unwrap().to_owned()
    }

    async fn until_done(&self, job: &str) -> Value {
        loop {
            let answer = self.http.get(format!("{}/jobs/{job}", self.url)).bearer_auth(&self.token).send().await;
            let job: Value = answer.unwrap().json().await.unwrap();
            match job["status"].as_str().unwrap() {
                "done" => return job,
                "failed" => panic!("{job}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn download(&self, fid: &str) -> usize {
        let answer = self.http.get(format!("{}/download?fid={fid}", self.url)).bearer_auth(&self.token).send().await;
        let (mut answer, mut bytes) = (answer.unwrap(), 0);
        while let Some(chunk) = answer.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        bytes
    }

    /// The driver's own GridFS, with what is promised of ours: stored by a majority, on disk.
    async fn bucket(&self, database: &str) -> mongodb::gridfs::GridFsBucket {
        let client = mongodb::Client::with_uri_str(self.database.url()).await.unwrap();
        let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let options = mongodb::options::GridFsBucketOptions::builder().write_concern(concern).build();
        client.database(database).gridfs_bucket(options)
    }
}

/// The driver's plain copy into GridFS.
async fn driver_upload(bucket: &mongodb::gridfs::GridFsBucket, video: &Path) {
    let mut file = tokio::fs::File::open(video).await.unwrap();
    let mut stream = bucket.open_upload_stream("").await.unwrap();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer).await.unwrap();
        if n == 0 {
            break;
        }
        stream.write_all(&buffer[..n]).await.unwrap();
    }
    stream.close().await.unwrap();
}

async fn driver_download(bucket: &mongodb::gridfs::GridFsBucket, fid: &str) -> usize {
    let id = ObjectId::parse_str(fid).unwrap();
    let mut stream = bucket.open_download_stream(id.into()).await.unwrap();
    let (mut buffer, mut bytes) = (vec![0; 256 * 1024], 0);
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        if n == 0 {
            return bytes;
        }
        bytes += n;
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    let started = Instant::now();
    let done = work.await;
    (started.elapsed().as_secs_f64(), done)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of both, and the median of each pair's ratio with its spread.
fn row(name: &str, mib: f64, pairs: &[(f64, f64)]) {
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let mut ratios: Vec<_> = pairs.iter().map(|(ours, theirs)| ours / theirs).collect();
    let (ours, theirs, ratio) = (mib / median(&mut ours), mib / median(&mut theirs), median(&mut ratios));
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("| {name}, {mib:.0} MiB | {ours:.0} MiB/s | {theirs:.0} MiB/s | {ratio:.2} ({least:.2} to {most:.2}) |");
}

#[tokio::main]
async fn main() {
    let cluster = Cluster::start().await;

    let small = media::tone_mp4(2);
    let (mut latencies, mut whole, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..MAILS {
        let started = Timestamp::now();
        let job = cluster.upload(&small, "").await;
        accepted.push((Timestamp::now() - started).total(jiff::Unit::Second).unwrap() * 1000.0);
        while cluster.mails.mails().len() <= n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let all = (Timestamp::now() - started).total(jiff::Unit::Second).unwrap();
        let job = cluster.until_done(&job).await;
        let at = |name: &str| job[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        let conversion = (at("finished_at") - at("started_at")).total(jiff::Unit::Second).unwrap();
        whole.push(all * 1000.0);
        latencies.push((all - conversion) * 1000.0);
    }
    let (all, accepted, latency) = (median(&mut whole), median(&mut accepted), median(&mut latencies));
    let most = latencies[latencies.len() * 95 / 100];
    println!(
        "{MAILS} videos of 2 s, one after the other: accepted after {accepted:.0} ms, the mail at its server after {all:.0} ms"
    );
    println!("(medians); without the conversion itself that is {latency:.0} ms, and 95 % within {most:.0} ms.\n");

    long_video(&cluster).await;

    let before = cluster.gateway.peak_mib();
    let big = media::big_mp4(MIB);
    let mib = std::fs::metadata(&big).unwrap().len() as f64 / f64::from(1 << 20);
    let jobs = join_all((0..UPLOADS).map(|_| cluster.upload(&big, ""))).await;
    let peak = cluster.gateway.peak_mib();
    println!(
        "{UPLOADS} uploads of {mib:.0} MiB at the same time: the gateway had {peak:.1} MiB at most, {before:.1} before.\n"
    );
    for job in &jobs {
        cluster.until_done(job).await;
    }

    println!("| | through the gateway | the driver's own GridFS | ratio of times: median (least to most) |");
    println!("|---|---|---|---|");
    let videos = cluster.bucket("videos").await;
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        let (ours, job) = timed(cluster.upload(&big, "")).await;
        cluster.until_done(&job).await;
        pairs.push((ours, timed(driver_upload(&videos, &big)).await.0));
    }
    row("upload", mib, &pairs);

    let long = half_an_hour(cluster.folder.path());
    let job = cluster.upload(&long, "?bitrate=320").await;
    let fid = cluster.until_done(&job).await["mp3_fid"].as_str().unwrap().to_owned();
    let mp3s = cluster.bucket("mp3s").await;
    let (mut pairs, mut bytes) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let (ours, got) = timed(cluster.download(&fid)).await;
        let (theirs, expected) = timed(driver_download(&mp3s, &fid)).await;
        assert_eq!(got, expected);
        bytes = got;
        pairs.push((ours, theirs));
    }
    row("download", bytes as f64 / f64::from(1 << 20), &pairs);
}

/// What a conversion out of GridFS takes that lasts for minutes: in the converter, and in the child that does the work.
async fn long_video(cluster: &Cluster) {
    let (mib, seconds) = LONG;
    let (long, before) = (media::film(mib, seconds), cluster.converter.peak_mib());
    let gigabytes = std::fs::metadata(&long).unwrap().len() as f64 / 1e9;
    let job = cluster.upload(&long, "").await;
    let started = Instant::now();
    let (mut done, mut child) = (std::pin::pin!(cluster.until_done(&job)), 0.0);
    let done = loop {
        tokio::select! {
            done = &mut done => break done,
            () = tokio::time::sleep(Duration::from_millis(20)) => child = f64::max(child, cluster.converter.child_peak_mib()),
        }
    };
    println!(
        "{gigabytes:.2} GB of video, {:.0} s of sound, converted in {:.0} s: the converter had {:.1} MiB at most, {before:.1} before,",
        done["output"]["duration"].as_f64().unwrap(),
        started.elapsed().as_secs_f64(),
        cluster.converter.peak_mib()
    );
    println!(
        "and the child that did it {child:.1} MiB; the gateway that took it in had {:.1}.\n",
        cluster.gateway.peak_mib()
    );
}

/// Half an hour of a tone in FLAC, which is quick to make and to decode.
fn half_an_hour(folder: &Path) -> PathBuf {
    let path = folder.join("long.flac");
    let source = "sine=frequency=440:sample_rate=44100:duration=1800";
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    path
}
