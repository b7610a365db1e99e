//! `Upload-Checksum`: bytes that are damaged on the way are not kept.

use std::io;
use std::sync::OnceLock;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use microserve_core::blob::ByteStream;
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};

use crate::body::{self, RequestBody};
use crate::problem::{Code, Problem};

/// What clients may choose from. The protocol asks for SHA-1; nobody is to be kept from anything by it.
pub(super) const ALGORITHMS: &str = "sha1,sha256,sha512";

/// What the bytes of a request have to come to.
pub(super) struct Checksum {
    algorithm: &'static Algorithm,
    digest: Vec<u8>,
}

impl Checksum {
    /// The checksum that a request names, if any.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
        let invalid = || {
            let detail = format!("Upload-Checksum is one of {ALGORITHMS}, a space, and the digest in base64");
            Problem::new(Code::InvalidHeader, detail)
        };
        let (name, digest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(invalid)?;
        let algorithm = match name {
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &SHA256,
            "sha512" => &SHA512,
            _ => return Err(invalid()),
        };
        let digest = STANDARD.decode(digest.trim()).map_err(|_| invalid())?;
        Ok(Some(Self { algorithm, digest }))
    }

    /// The bytes of a body, `room` of them at most. The stream ends well only if they are whole and come to this;
    /// otherwise `fault` says why not.
    pub(super) fn checked<'a>(
        self,
        body: &'a mut RequestBody,
        room: u64,
        fault: &'a OnceLock<Problem>,
    ) -> ByteStream<'a> {
        let context = Context::new(self.algorithm);
        let state = (body, context, room, self.digest);
        let checked = stream::try_unfold(state, move |(body, mut context, room, digest)| async move {
            let problem = match body.next().await {
                Some(Ok(piece)) => match room.checked_sub(piece.len() as u64) {
                    Some(room) => {
                        context.update(&piece);
                        return Ok(Some((piece, (body, context, room, digest))));
                    }
                    None => Problem::new(Code::OffsetMismatch, "more bytes came than the upload has"),
                },
                Some(Err(err)) => body::problem(&err),
                None if context.finish().as_ref() == digest => return Ok(None),
                None => {
                    Problem::new(Code::ChecksumMismatch, "the bytes do not come to their checksum: send them again")
                }
            };
            let _ = fault.set(problem);
            Err(io::Error::other("the bytes are not what they should be"))
        });
        checked.boxed()
    }
}
