//! The brokers that tests use: started, shared, and gone afterwards.
#![allow(clippy::unwrap_used, reason = "test code")]

use microserve_testkit::servers::rabbitmq::{Server, shared};

#[test]
fn a_shared_broker_is_one_broker() {
    let (one, other) = (shared(), shared());
    assert_eq!(one.port(), other.port());
    assert_ne!(one.vhost(), other.vhost());
    assert_eq!(one.eval("1 + 1"), "2");
}

#[test]
fn a_killed_broker_comes_back_at_the_same_place() {
    let mut server = Server::start();
    server.vhost();
    server.kill();
    server.restart();
    assert_eq!(server.eval("length(rabbit_vhost:list_names())"), "2");
}
