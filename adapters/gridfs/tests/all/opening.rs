//! Who is let in, and by whom one lets oneself be answered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use common::words;
use microserve_gridfs::{Mongo, OpenError};
use microserve_testkit::servers::mongodb::Server;
use mongodb::bson::doc;

async fn open(url: &str) -> Result<Mongo, OpenError> {
    Mongo::open(&url.parse().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified() {
    let server = Server::standalone();
    let (port, ca) = (server.port(), server.authority());
    for (rest, trusted) in [
        (format!("localhost:{port}/?directConnection=true&tls=true&tlsCAFile={ca}"), true),
        (format!("localhost:{port}/?directConnection=true&tls=true"), false),
        (format!("127.0.0.1:{port}/?directConnection=true&tls=true&tlsCAFile={ca}"), false),
        (format!("localhost:{port}/?directConnection=true"), true),
    ] {
        let opened = open(&format!("mongodb://{rest}")).await;
        assert_eq!(opened.is_ok(), trusted, "{rest}: {:?}", opened.err());
    }
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_try_again() {
    let server = Server::start();
    server.run("admin", doc! { "createUser": "anna", "pwd": "p@ss", "roles": [] });
    let url = |password: &str| format!("mongodb://anna:{password}@127.0.0.1:{}/?replicaSet=rs0", server.port());
    open(&url("p%40ss")).await.unwrap();
    let Err(err) = open(&url("wrong-secret")).await else { panic!("that is not her password") };
    assert!(matches!(err, OpenError::Misused(_)) && !words(&err).contains("wrong-secret"), "{}", words(&err));
}

#[tokio::test]
async fn installations_with_different_prefixes_do_not_meet() {
    use microserve_core::blob::{BlobStore, Fid};
    let server = Server::start();
    let (ours, theirs) = (open(&server.database()).await.unwrap(), open(&server.database()).await.unwrap());
    let (ours, theirs) = (ours.blobs("videos").await.unwrap(), theirs.blobs("videos").await.unwrap());
    let blob = ours.put(&Fid::random(), common::meta(), common::body(b"x")).await.unwrap();
    assert!(theirs.head(&blob.fid).await.is_err() && ours.head(&blob.fid).await.is_ok());
}
