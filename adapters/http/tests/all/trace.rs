//! The trace of a request, and of the job that it brings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use crate::common;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::{World, file, request, upload, wav};
use microserve_core::job::JobStore;
use microserve_core::trace::TraceContext;

const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends this request with these headers `traceparent`; the trace of the job that it makes.
async fn traced(world: &World, mut request: Request<Body>, told: &[&str]) -> TraceContext {
    for value in told {
        request.headers_mut().append("traceparent", value.parse().unwrap());
    }
    let answer = world.send(request).await;
    assert!(matches!(answer.status, StatusCode::ACCEPTED | StatusCode::CREATED), "{answer:?}");
    let id = answer.header("location").rsplit('/').next().unwrap().to_owned();
    let job = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
    job.trace.unwrap_or_else(|| panic!("the job has no trace: {job:?}"))
}

#[tokio::test]
async fn every_kind_of_upload_makes_a_job_in_the_trace_of_its_request() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let theirs: TraceContext = THEIRS.parse().unwrap();
    let form = || upload(&token, "/upload", &[file("file", "holiday.wav", &wav(1))]);
    let raw = || request("PUT", "/upload/holiday.wav", &token).body(wav(1).into()).unwrap();
    let tus = || {
        let request = request("POST", "/files", &token).header("tus-resumable", "1.0.0").header("upload-length", "9");
        request.header(header::CONTENT_LENGTH, "0").body(Body::empty()).unwrap()
    };
    for make in [&form as &dyn Fn() -> Request<Body>, &raw, &tus] {
        let trace = traced(&world, make(), &[THEIRS]).await;
        assert_eq!(trace.trace, theirs.trace);
        assert_ne!(trace.span, theirs.span, "the request's own span has caused the job");
        let (one, other) = (traced(&world, make(), &[]).await, traced(&world, make(), &[]).await);
        assert_ne!(one.trace, other.trace, "without a trace, one begins with each request");
        for told in [&["00-nonsense"][..], &[THEIRS, THEIRS], &[&THEIRS.to_uppercase()]] {
            let trace = traced(&world, make(), told).await;
            assert_ne!(trace.trace, theirs.trace, "{told:?}");
            assert!(!trace.sampled);
        }
    }
}
