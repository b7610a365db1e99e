//! A network that breaks between every service and every server while people upload.
//!
//! `make test` plays a choice of all pairs of line and fault, another for every `MICROSERVE_SEED`; `make chaos` plays all.

use std::time::{Duration, Instant};

use microserve_testkit::chaos_proxy::{Fault, Towards};
use microserve_testkit::media;

use crate::kills::{Random, is_full, seed};
use crate::load::{Gateway, Load, SECONDS};
use crate::services::{ANNA, Cluster, LINES, Line, Servers};
use crate::verdict::verdict;

/// Everything works again so soon after the network does.
const BACK: Duration = Duration::from_secs(60);
/// So many pairs of line and fault in `make test`.
const CHOICE: usize = 10;

fn faults(line: Line) -> Vec<Fault> {
    let mut faults = vec![
        Fault::Refuse,
        Fault::Reset,
        Fault::BlackHole,
        Fault::HalfClose,
        Fault::Latency(Duration::from_millis(200)),
        Fault::Throttle(20_000),
        Fault::CutAfter(5_000),
    ];
    let mut cut_on = |bytes: &[u8]| {
        for arrive in [true, false] {
            faults.push(Fault::CutOn { towards: Towards::Server, bytes: bytes.to_vec(), arrive });
        }
    };
    match line {
        Line::AuthToMariadb => cut_on(b"SELECT"),
        Line::GatewayToMongod | Line::ConverterToMongod | Line::NotifierToMongod => cut_on(b"update"),
        Line::GatewayToBroker => cut_on(b"video_fid"),
        // The class and the method of `basic.ack` (AMQP 0-9-1 §1.8.3.13).
        Line::ConverterToBroker | Line::NotifierToBroker => cut_on(&[0, 60, 0, 80]),
        Line::NotifierToSmtp => cut_on(b"\r\n.\r\n"),
        Line::GatewayToAuth => {}
    }
    faults
}

/// How long a fault lasts that does not end by itself: a silence for longer than a call's patience.
fn lasts(fault: &Fault) -> Duration {
    Duration::from_secs(if *fault == Fault::BlackHole { 8 } else { 2 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_breaks_anywhere_loses_nothing() {
    let mut pairs: Vec<(Line, Fault)> =
        LINES.iter().flat_map(|line| faults(*line).into_iter().map(|fault| (*line, fault))).collect();
    let seed = seed();
    println!("seed {seed} (MICROSERVE_SEED)");
    if !is_full() {
        let mut random = Random(seed | 1);
        while pairs.len() > CHOICE {
            let which = random.below(pairs.len() as u64) as usize;
            pairs.swap_remove(which);
        }
    }
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &LINES);
    cluster.start();
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    let load = Load::start(&anna, 2, Duration::from_millis(400), Gateway::Stays);
    load.more(2).await;
    let mut fresh = Vec::new();
    for (line, fault) in &pairs {
        let (proxy, started) = (&cluster.proxies[line], Instant::now());
        proxy.set(fault.clone());
        while started.elapsed() < lasts(fault) && !proxy.is_healthy() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.heal();
        let healed = Instant::now();
        // Uploads are taken again, and what comes now has its MP3 within a minute.
        load.more(2).await;
        let (anna, name) = (anna.clone(), format!("{line:?}, {fault:?}"));
        fresh.push(tokio::spawn(async move {
            let job = anna.upload(&media::tone_mp4(SECONDS)).await;
            assert_eq!(anna.until_final(&job, BACK).await["status"], "done", "{name}");
            println!("{name}: an MP3 {:.1} s after it was healed", healed.elapsed().as_secs_f64());
            (job, healed.elapsed())
        }));
    }
    let mut slowest = Duration::ZERO;
    let mut jobs = Vec::new();
    for fresh in fresh {
        let (job, took) = fresh.await.unwrap();
        slowest = slowest.max(took);
        jobs.push(job);
    }
    cluster.until_ready().await;
    let counts = load.stop().await;
    counts.acknowledged.lock().unwrap().extend(jobs);
    let slowest = slowest.as_secs_f64();
    println!("{} faults on {} lines, each healed {slowest:.1} s before an MP3 at most", pairs.len(), LINES.len());
    let verdict = verdict(&servers, &cluster, &anna, &counts, Duration::from_secs(240)).await;
    println!("{verdict}");
    verdict.assert_good();
}
