//! Clients of the protocol tus that are not ours, over a line that breaks and leads to another gateway each time:
//! `bins/tests/tus` has what they are told.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use microserve_testkit::{judge, media};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::installed;
use crate::services::{ANNA, Cluster, Servers};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tus/upload.py");
/// MiB of the video, unless `MICROSERVE_RESUME_MIB` asks for another number.
const MIB: u64 = 64;
/// Connections that break.
const CUTS: usize = 20;

/// What two gateways stand behind, by turns. Connections over which much is sent are cut somewhere on the way, as long as
/// there are cuts left.
struct Line {
    port: u16,
    cuts: Arc<AtomicUsize>,
    served: Arc<[AtomicUsize; 2]>,
}

impl Line {
    /// Cuts come within every `stretch` bytes.
    async fn start(gateways: [u16; 2], stretch: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, served) = (Arc::new(AtomicUsize::new(CUTS)), Arc::<[AtomicUsize; 2]>::default());
        let (left, counted, seed) = (Arc::clone(&cuts), Arc::clone(&served), AtomicU64::new(24_301));
        tokio::spawn(async move {
            for turn in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", gateways[turn % 2])).await.unwrap();
                counted[turn % 2].fetch_add(1, Ordering::Relaxed);
                let next = seed.load(Ordering::Relaxed).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.store(next, Ordering::Relaxed);
                tokio::spawn(carry(client, server, 100_000 + (next >> 33) % stretch, Arc::clone(&left)));
            }
        });
        Self { port, cuts, served }
    }
}

/// Carries bytes both ways, until either side closes or the client has sent so many and there is a cut left.
async fn carry(client: TcpStream, server: TcpStream, cut_at: u64, cuts: Arc<AtomicUsize>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let left = || cuts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    tokio::select! {
        () = copy(from_client, to_server, cut_at, left) => {}
        () = copy(from_server, to_client, u64::MAX, || false) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    cut_at: u64,
    mut is_cut: impl FnMut() -> bool,
) {
    let (mut buffer, mut sent, mut over) = (vec![0; 64 * 1024], 0, false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        sent += read as u64;
        if !over && sent > cut_at {
            over = true;
            if is_cut() {
                return;
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Has a client upload a film; the job's id.
async fn upload(client: &'static str, line: &Line, token: &str, film: &Path) -> String {
    let mut script = tokio::process::Command::from(Command::new(installed("browser/bin/python3")));
    script.args(["-B", SCRIPT, client, &format!("http://127.0.0.1:{}", line.port), token]).arg(film);
    let output = script.stderr(Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success(), "{client} gave up; why, stands above");
    let url = String::from_utf8(output.stdout).unwrap();
    url.trim().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_other_clients_go_on_at_the_other_gateway() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    let mut other = cluster.another(&cluster.gateway);
    cluster.start();
    other.start();
    cluster.until_ready().await;
    other.until("ready", Duration::from_secs(60)).await;
    let anna = cluster.login(ANNA).await;

    let mib = std::env::var("MICROSERVE_RESUME_MIB").map_or(MIB, |mib| mib.parse().unwrap());
    let film = media::film(mib, 60);
    let gateways = [&cluster.gateway.url, &other.url].map(|url| url.rsplit(':').next().unwrap().parse().unwrap());
    for client in ["tuspy", "tus-js-client"] {
        let line = Line::start(gateways, (mib << 20) / CUTS as u64).await;
        let id = upload(client, &line, &anna.token, &film).await;
        let (left, served) =
            (line.cuts.load(Ordering::Relaxed), line.served.each_ref().map(|n| n.load(Ordering::Relaxed)));
        println!("{client}: {} cuts, {served:?} connections to the gateways", CUTS - left);
        assert!(left == 0 && served.iter().all(|served| *served > CUTS / 4), "{client}: {left} cuts left, {served:?}");
        let job = anna.until_final(&id, Duration::from_secs(120)).await;
        assert_eq!((&job["status"], &job["filename"]), (&"done".into(), &"big.mp4".into()), "{job}");
        let mp3 = cluster.folder.path().join(format!("{client}.mp3"));
        anna.download(job["mp3_fid"].as_str().unwrap(), &mp3).await;
        judge::assert_clean(&mp3);
        assert!((judge::duration(&mp3) - judge::duration(&film)).abs() < 0.1);
        assert_eq!(job["output"]["bitrate"], 128_000, "{job}");
    }
}
