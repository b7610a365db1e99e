//! An upload over a line that breaks again and again, through two gateways, one of which is killed meanwhile.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use microserve_testkit::{judge, media};
use reqwest::{RequestBuilder, StatusCode};

use crate::common::Client;
use crate::services::{ANNA, Cluster, Servers};

/// MiB of the video, unless `MICROSERVE_RESUME_MIB` asks for another number.
const MIB: u64 = 48;
/// Connections that break.
const CUTS: usize = 20;
/// What is sent at once.
const PIECE: usize = 64 * 1024;

/// Somebody who speaks tus.
struct Sender {
    client: Client,
    path: String,
    video: Bytes,
}

impl Sender {
    async fn begin(client: Client, video: &Path) -> Self {
        let video = Bytes::from(std::fs::read(video).unwrap());
        let created = client.http.post(format!("{}/files", client.url)).header("upload-length", video.len());
        let created = request(&client, created).header("upload-metadata", "filename ZmlsbS5tcDQ=,bitrate MTI4");
        let created = created.send().await.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED);
        let path = created.headers()["location"].to_str().unwrap().to_owned();
        Self { client, path, video }
    }

    /// How far the upload is, as a gateway says.
    async fn offset(&self, gateway: &str) -> usize {
        let told =
            request(&self.client, self.client.http.head(format!("{gateway}{}", self.path))).send().await.unwrap();
        assert_eq!(told.status(), StatusCode::OK);
        told.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    /// Sends what is left from `offset` on, and breaks off behind `cut` bytes.
    async fn send(&self, gateway: &str, offset: usize, cut: Option<usize>) -> reqwest::Result<reqwest::Response> {
        let rest = self.video.slice(offset..);
        let sent = rest.slice(..cut.unwrap_or(rest.len()).min(rest.len()));
        let pieces = (0..sent.len()).step_by(PIECE).map(move |at| Ok(sent.slice(at..sent.len().min(at + PIECE))));
        let broken = cut.map(|_| Err(io::Error::from(io::ErrorKind::ConnectionReset)));
        let body = reqwest::Body::wrap_stream(stream::iter(pieces.chain(broken)).boxed());
        let patch = request(&self.client, self.client.http.patch(format!("{gateway}{}", self.path)));
        let patch = patch.header("upload-offset", offset).header("content-type", "application/offset+octet-stream");
        patch.header("content-length", rest.len()).body(body).send().await
    }
}

fn request(client: &Client, request: RequestBuilder) -> RequestBuilder {
    request.bearer_auth(&client.token).header("tus-resumable", "1.0.0")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_at_the_other_gateway_however_often_it_is_cut() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    let mut other = cluster.another(&cluster.gateway);
    cluster.start();
    other.start();
    cluster.until_ready().await;
    other.until("ready", Duration::from_secs(60)).await;

    let mib = std::env::var("MICROSERVE_RESUME_MIB").map_or(MIB, |mib| mib.parse().unwrap());
    let film = media::film(mib, 60);
    let sender = Sender::begin(cluster.login(ANNA).await, &film).await;
    let gateways = [cluster.gateway.url.clone(), other.url.clone()];
    let (mut seed, mut kept) = (24_301_u64, 0);
    for cut in 0..CUTS {
        let gateway = &gateways[cut % 2];
        let offset = sender.offset(gateway).await;
        assert!(offset >= kept, "{offset} bytes are left of {kept}");
        kept = offset;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = (seed >> 33) as usize % (sender.video.len() / CUTS);
        let broken = sender.send(gateway, offset, Some(bytes)).await;
        assert!(broken.is_err() || broken.is_ok_and(|answer| !answer.status().is_success()));
        if cut == CUTS / 2 {
            other.kill();
            other.start();
            other.until("ready", Duration::from_secs(60)).await;
        }
        // The gateway notices the cut, and keeps what came.
        let mut patience = 100;
        while sender.offset(gateway).await == offset && patience > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            patience -= 1;
        }
    }
    let offset = sender.offset(&gateways[0]).await;
    println!("after {CUTS} cuts {offset} of {} bytes have come", sender.video.len());
    assert!(offset > sender.video.len() / 4);
    let done = sender.send(&gateways[1], offset, None).await.unwrap();
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    let id = done.headers()["microserve-job"].to_str().unwrap().to_owned();

    let job = sender.client.until_final(&id, Duration::from_secs(120)).await;
    assert_eq!((&job["status"], &job["filename"]), (&"done".into(), &"film.mp4".into()), "{job}");
    let mp3 = cluster.folder.path().join("film.mp3");
    sender.client.download(job["mp3_fid"].as_str().unwrap(), &mp3).await;
    judge::assert_clean(&mp3);
    assert!((judge::duration(&mp3) - judge::duration(&film)).abs() < 0.1);
    assert!(job["output"]["bitrate"].as_u64().is_some_and(|bitrate| bitrate == 128_000), "{job}");
}
