//! A network with faults between us and the broker, while messages flow: nothing acknowledged is lost, nobody waits
//! without end, and things go on by themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{RECOVERY, message, open, words};
use microserve_core::queue::{Queue, QueueError, QueueName, Settlement};
use microserve_rabbitmq::RabbitQueue;
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};
use microserve_testkit::servers::rabbitmq::shared;
use tokio::task::JoinHandle;

/// No call takes longer, whatever the fault: two answers of two seconds are waited for, and a busy machine.
const BOUND: Duration = Duration::from_secs(12);

/// The names of methods as they stand in frames: class and method (AMQP 0-9-1, section 4.2.4).
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const ACK: [u8; 4] = [0, 60, 0, 80];

/// Messages that flow from a publisher to a consumer. Their numbers grow, also when one could not be published.
struct Flow {
    /// The one that is being published.
    current: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<BTreeSet<usize>>>,
    settled: Arc<Mutex<BTreeSet<usize>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Flow {
    fn start(queue: &RabbitQueue) -> Self {
        let (current, acknowledged, settled) = (Arc::default(), Arc::default(), Arc::default());
        let publisher = tokio::spawn(publish(queue.clone(), Arc::clone(&current), Arc::clone(&acknowledged)));
        let consumer = tokio::spawn(consume(queue.clone(), Arc::clone(&settled)));
        Self { current, acknowledged, settled, tasks: vec![publisher, consumer] }
    }

    /// Waits until something whose publishing began after this was acknowledged and has come out at the other end.
    async fn flows(&self, after: &str) {
        let (started, current) = (Instant::now(), self.current.load(Ordering::Relaxed));
        loop {
            let settled = self.settled.lock().unwrap().clone();
            if self.acknowledged.lock().unwrap().intersection(&settled).any(|n| *n > current) {
                return;
            }
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "{after}: somebody has given up");
            assert!(started.elapsed() < RECOVERY, "{after}: nothing flows again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops publishing, and waits until everything acknowledged has come out.
    async fn assert_complete(mut self) {
        self.tasks.remove(0).abort();
        let started = Instant::now();
        loop {
            let acknowledged = self.acknowledged.lock().unwrap().clone();
            let missing: Vec<_> = acknowledged.difference(&self.settled.lock().unwrap()).copied().collect();
            if missing.is_empty() {
                println!("acknowledged {}, lost 0", acknowledged.len());
                break;
            }
            assert!(started.elapsed() < RECOVERY, "lost: {missing:?} of {}", acknowledged.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.tasks.remove(0).abort();
    }
}

fn assert_passing(err: &QueueError, started: Instant) {
    assert!(matches!(err, QueueError::Unavailable(_) | QueueError::Stale), "{}", words(err));
    assert!(started.elapsed() < BOUND, "{} came after {:?}", words(err), started.elapsed());
}

async fn publish(queue: RabbitQueue, current: Arc<AtomicUsize>, acknowledged: Arc<Mutex<BTreeSet<usize>>>) {
    for n in 1.. {
        let started = Instant::now();
        current.store(n, Ordering::Relaxed);
        match queue.publish(&QueueName::VIDEO, message(n)).await {
            Ok(()) => {
                acknowledged.lock().unwrap().insert(n);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(err) => {
                assert_passing(&err, started);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn consume(queue: RabbitQueue, settled: Arc<Mutex<BTreeSet<usize>>>) {
    loop {
        let started = Instant::now();
        let mut consumer = match queue.consume(&QueueName::VIDEO, 5).await {
            Ok(consumer) => consumer,
            Err(err) => {
                assert_passing(&err, started);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while let Ok(delivery) = consumer.next().await {
            let n: usize = delivery.message.id.parse().unwrap();
            let started = Instant::now();
            // Every seventh is tried twice.
            let settlement = if n.is_multiple_of(7) && delivery.attempt == 1 {
                Settlement::Retry { after: Duration::from_millis(10) }
            } else {
                Settlement::Ack
            };
            let last = settlement == Settlement::Ack;
            match delivery.receipt.settle(settlement).await {
                Ok(()) if last => {
                    settled.lock().unwrap().insert(n);
                }
                Ok(()) => {}
                Err(err) => assert_passing(&err, started),
            }
        }
    }
}

async fn survives(faults: Vec<Fault>) {
    let broker = shared();
    let direct = broker.vhost();
    let proxy = ChaosProxy::start(broker.port());
    let url = direct.replace(&format!(":{}/", broker.port()), &format!(":{}/", proxy.port()));
    let queue = open(&format!("{url}?timeout=2&heartbeat=2")).await;
    let flow = Flow::start(&queue);
    flow.flows("at first").await;
    for fault in faults {
        let name = format!("{fault:?}");
        let once = matches!(fault, Fault::CutOn { .. });
        proxy.set(fault);
        let started = Instant::now();
        while !proxy.is_healthy() && (once || started.elapsed() < Duration::from_secs(3)) {
            assert!(started.elapsed() < RECOVERY, "{name}: never came to pass");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.heal();
        let healed = Instant::now();
        flow.flows(&name).await;
        println!("{name}: flows again after {:?}", healed.elapsed());
    }
    flow.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_breaks_loses_nothing() {
    survives(vec![Fault::Refuse, Fault::Reset, Fault::HalfClose, Fault::CutAfter(3_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_loses_nothing() {
    survives(vec![Fault::BlackHole, Fault::BlackHole]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_loses_nothing() {
    survives(vec![Fault::Latency(Duration::from_millis(300)), Fault::Throttle(2_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_the_worst_moment_loses_nothing() {
    let mut cuts = Vec::new();
    for arrive in [false, true] {
        for (towards, method) in
            [(Towards::Server, PUBLISH), (Towards::Client, ACK), (Towards::Client, DELIVER), (Towards::Server, ACK)]
        {
            cuts.push(Fault::CutOn { towards, bytes: method.to_vec(), arrive });
        }
    }
    survives(cuts).await;
}
