//! Parts that are not there: at the start, or for a while in the middle of everything.

use std::time::{Duration, Instant};

use microserve_testkit::chaos_proxy::Fault;
use microserve_testkit::media;
use reqwest::StatusCode;

use crate::common::Client;
use crate::load::{Gateway, Load};
use crate::services::{ANNA, Cluster, Line, Servers};
use crate::verdict::verdict;

const PATIENCE: Duration = Duration::from_secs(60);

/// The lines to the three servers that a start may have to wait for.
const TO: [(&str, &[Line]); 3] = [
    ("MariaDB", &[Line::AuthToMariadb]),
    ("MongoDB", &[Line::GatewayToMongod, Line::ConverterToMongod, Line::NotifierToMongod]),
    ("RabbitMQ", &[Line::GatewayToBroker, Line::ConverterToBroker, Line::NotifierToBroker]),
];

#[tokio::test(flavor = "multi_thread")]
async fn servers_may_come_up_after_the_services_in_every_order() {
    let servers = Servers::start();
    let lines: Vec<Line> = TO.iter().flat_map(|(_, lines)| lines.iter().copied()).collect();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut cluster = Cluster::on(&servers, &lines);
        let password = cluster.add_user(ANNA);
        for proxy in cluster.proxies.values() {
            proxy.set(Fault::Refuse);
        }
        cluster.start();
        // Alive, and not ready.
        for service in [&cluster.gateway, &cluster.converter, &cluster.notifier] {
            service.until("starting", PATIENCE).await;
        }
        let waiting = cluster.auth.until("unready", PATIENCE).await;
        assert_eq!(waiting["checks"]["accounts"], "failed");
        for server in order {
            for line in TO[server].1 {
                cluster.proxies[line].heal();
            }
        }
        cluster.until_ready().await;
        let anna = Client::login(&cluster.gateway.url, ANNA, &password).await;
        let job = anna.upload(&media::tone_mp4(2)).await;
        let done = anna.until_final(&job, PATIENCE).await;
        assert_eq!(done["status"], "done", "{:?}: {done}", order.map(|server| TO[server].0));
    }
}

/// One server away for some seconds while people upload: `away` and `back` make it so.
async fn without(
    servers: &mut Servers,
    away: fn(&mut Servers),
    back: fn(&mut Servers),
    told: (&str, &str),
    uploads_go_on: bool,
) {
    let mut cluster = Cluster::on(servers, &[]);
    cluster.start();
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    let load = Load::start(&anna, 3, Duration::from_millis(300), Gateway::Stays);
    load.more(3).await;
    away(servers);
    let service = match told.0 {
        "accounts" => &cluster.auth,
        "mailer" => &cluster.notifier,
        _ => &cluster.gateway,
    };
    let unwell = service.until(told.1, PATIENCE).await;
    assert_ne!(unwell["checks"][told.0], "ok", "{unwell}");
    if uploads_go_on {
        load.more(3).await;
    } else {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    back(servers);
    let healed = Instant::now();
    load.more(6).await;
    cluster.until_ready().await;
    assert!(healed.elapsed() < PATIENCE);
    let counts = load.stop().await;
    let verdict = verdict(servers, &cluster, &anna, &counts, Duration::from_secs(120)).await;
    println!("without {}: {verdict}", told.0);
    verdict.assert_good();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_may_be_away_for_a_while() {
    let mut servers = Servers::start_own();
    let (away, back): (fn(&mut Servers), fn(&mut Servers)) =
        (|servers| servers.mariadb.kill(), |servers| servers.mariadb.restart());
    without(&mut servers, away, back, ("accounts", "degraded"), true).await;
    let (away, back): (fn(&mut Servers), fn(&mut Servers)) =
        (|servers| servers.mongod.kill(), |servers| servers.mongod.restart());
    without(&mut servers, away, back, ("jobs", "unready"), false).await;
    let (away, back): (fn(&mut Servers), fn(&mut Servers)) =
        (|servers| servers.broker.kill(), |servers| servers.broker.restart());
    without(&mut servers, away, back, ("queue", "degraded"), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_auth_service_who_is_in_goes_on_and_nobody_else_gets_in() {
    let servers = Servers::start();
    let mut cluster = Cluster::on(&servers, &[]);
    cluster.start();
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    cluster.auth.kill();
    let job = anna.upload(&media::tone_mp4(2)).await;
    assert_eq!(anna.until_final(&job, PATIENCE).await["status"], "done");
    let login = anna.http.post(format!("{}/login", cluster.gateway.url)).basic_auth(ANNA, Some("x")).send();
    let login = login.await.unwrap();
    assert!(login.status() == StatusCode::SERVICE_UNAVAILABLE && login.headers().contains_key("retry-after"));
    let told = cluster.gateway.until("degraded", PATIENCE).await;
    assert_eq!(told["checks"]["auth"], "failed");
    cluster.auth.start();
    cluster.until_ready().await;
    let wrong = anna.http.post(format!("{}/login", cluster.gateway.url)).basic_auth(ANNA, Some("x")).send();
    assert_eq!(wrong.await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
