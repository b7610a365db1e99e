//! A real broker keeps every promise of the ports.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use microserve_core::conformance::Fixture;
use microserve_rabbitmq::RabbitQueue;
use microserve_testkit::servers::rabbitmq::shared;

microserve_core::queue_conformance!(|| async {
    let broker = shared();
    let queue = RabbitQueue::open(&broker.vhost().parse().unwrap()).await.unwrap();
    Fixture::new(queue).keep(broker)
});

microserve_core::dead_letters_conformance!(|| async {
    let broker = shared();
    let queue = RabbitQueue::open(&broker.vhost().parse().unwrap()).await.unwrap();
    Fixture::new(queue).keep(broker)
});
