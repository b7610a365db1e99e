//! A real server keeps every promise of the ports.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use microserve_core::conformance::Fixture;
use microserve_gridfs::Mongo;
use microserve_testkit::servers::mongodb::Server;

microserve_core::blob_store_conformance!(|| async {
    let server = Server::start();
    let mongo = Mongo::open(&server.database().parse().unwrap()).await.unwrap();
    Fixture::new(mongo.blobs("videos").await.unwrap()).keep(server)
});

microserve_core::job_store_conformance!(|| async {
    let server = Server::start();
    let mongo = Mongo::open(&server.database().parse().unwrap()).await.unwrap();
    Fixture::new(mongo.jobs().await.unwrap()).keep(server)
});
