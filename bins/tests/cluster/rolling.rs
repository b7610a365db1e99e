//! SIGTERM through all services, two of each, while people upload: as a new version is rolled out.

use std::time::Duration;

use microserve_testkit::media;

use crate::load::{Gateway, Load};
use crate::services::{ANNA, Cluster, Servers};
use crate::verdict::verdict;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_rolled_out_without_a_failed_request_or_a_wasted_attempt() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    let (mut converter, mut notifier) = (cluster.another(&cluster.converter), cluster.another(&cluster.notifier));
    let mut gateway = cluster.another(&cluster.gateway);
    cluster.start();
    for service in [&mut gateway, &mut converter, &mut notifier] {
        service.start();
        service.until("ready", Duration::from_secs(60)).await;
    }
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    let other = crate::common::Client { url: gateway.url.clone(), ..anna.clone() };
    // A conversion that a stopping converter can't finish: half an hour of sound.
    let long = media::make(
        "half-an-hour.flac",
        &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=1800", "-c:a", "flac"],
    );
    let load = Load::start(&anna, 2, Duration::from_millis(300), Gateway::Stays);
    load.more(2).await;
    let bea = cluster.login("bea@example.com").await;
    let long = bea.upload(&long).await;
    // Workers and auth: nobody talks to them directly, or asks again.
    for service in [&mut cluster.converter, &mut converter, &mut cluster.notifier, &mut notifier, &mut cluster.auth] {
        assert!(service.stop().await.success());
        service.start();
        service.until("ready", Duration::from_secs(60)).await;
        load.more(1).await;
    }
    let counts = load.stop().await;

    // Gateways: whoever routes asks `/readyz`, and sends people to the other one. What has begun is finished.
    let leaving = Load::start(&other, 2, Duration::from_millis(100), Gateway::Stays);
    leaving.more(2).await;
    let more = leaving.stop().await;
    let begun: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let other = other.clone();
                async move { other.upload(&media::tone_mp4(2)).await }
            })
        })
        .collect();
    while other.jobs().await.iter().all(|job| job["status"] != "uploading")
        && begun.iter().any(|task| !task.is_finished())
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopped = gateway.stop();
    let mut ids = Vec::new();
    for upload in begun {
        ids.push(upload.await.unwrap());
    }
    assert!(stopped.await.success());

    counts.acknowledged.lock().unwrap().extend(more.acknowledged.lock().unwrap().drain(..).chain(ids));
    counts.aside.lock().unwrap().push(long.clone());
    let verdict = verdict(&servers, &cluster, &anna, &counts, Duration::from_secs(120)).await;
    println!("{verdict}");
    verdict.assert_good();
    assert_eq!((verdict.put_off, verdict.most_attempts), (0, 1), "{verdict}");
    let long = bea.until_final(&long, Duration::from_secs(120)).await;
    assert_eq!((&long["status"], &long["attempts"]), (&"done".into(), &1.into()), "{long}");
}
