//! Small JSON bodies: read within bounds, and refused in our own words.

use axum::body::{Body, Bytes, to_bytes};
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

/// Longer bodies are not read (bytes).
const MOST: usize = 8 * 1024;

/// The bytes of a body that should be small.
pub(crate) async fn small(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, MOST).await.map_err(|_| Problem::new(Code::MalformedBody, "the body is too long, or it broke off"))
}

/// What a body says. `members` are what it should have been, for whoever sent something else.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], members: &'static str) -> Result<T, Problem> {
    // What serde would say of it may quote a password.
    let malformed = |_| Problem::new(Code::MalformedBody, format!("the body is not JSON of the form {members}"));
    serde_json::from_slice(body).map_err(malformed)
}
