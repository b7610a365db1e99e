//! `kill -9` of our processes and of the servers at random moments while people upload.
//!
//! `make test` does it with 30 kills, `make chaos` with 100; the same seed kills at the same moments.

use std::time::{Duration, Instant};

use crate::load::{Gateway, Load};
use crate::services::{ANNA, Cluster, Servers};
use crate::verdict::verdict;

/// xorshift64*: the same choices for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

pub fn seed() -> u64 {
    std::env::var("MICROSERVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed)
}

/// Whether everything is to be played, however long it takes.
pub fn is_full() -> bool {
    std::env::var_os("MICROSERVE_CHAOS").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost_when_anything_is_killed() {
    let (kills, jobs) = if is_full() { (100, 300) } else { (30, 60) };
    let (seed, started) = (seed(), Instant::now());
    let mut random = Random(seed | 1);
    let mut servers = Servers::start_own();
    let mut cluster = Cluster::on(&servers, &[]);
    cluster.start();
    cluster.until_ready().await;
    let anna = cluster.login(ANNA).await;
    let load = Load::start(&anna, 4, Duration::from_millis(400), Gateway::Dies);
    load.more(4).await;
    let mut killed = [0; 7];
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.below(800))).await;
        // Our own more often than the servers, and RabbitMQ, which takes long to start, least.
        let which = match random.below(20) {
            n @ 0..16 => (n % 4) as usize,
            16 | 17 => 4,
            18 => 5,
            _ => 6,
        };
        killed[which] += 1;
        match which {
            4 => {
                servers.mongod.kill();
                servers.mongod.restart();
            }
            5 => {
                servers.mariadb.kill();
                servers.mariadb.restart();
            }
            6 => {
                servers.broker.kill();
                servers.broker.restart();
            }
            ours => {
                let [auth, gateway, converter, notifier] = cluster.services();
                let service = [auth, gateway, converter, notifier].into_iter().nth(ours).unwrap();
                service.kill();
                service.start();
            }
        }
    }
    let healed = Instant::now();
    while load.acknowledged() < jobs {
        load.more(1).await;
    }
    cluster.until_ready().await;
    let counts = load.stop().await;
    let verdict = verdict(&servers, &cluster, &anna, &counts, Duration::from_secs(300)).await;
    println!("seed {seed} (MICROSERVE_SEED), {kills} kills in {:.0} s:", (healed - started).as_secs_f64());
    println!(
        "auth {}, gateway {}, converter {}, notifier {}, mongod {}, mariadbd {}, rabbitmq {}",
        killed[0], killed[1], killed[2], killed[3], killed[4], killed[5], killed[6]
    );
    println!("{verdict}");
    println!("all final {:.0} s after the last kill", healed.elapsed().as_secs_f64());
    verdict.assert_good();
    assert!(verdict.in_hand <= killed[3], "a mail stays in hand only if its notifier was killed: {verdict}");
}
