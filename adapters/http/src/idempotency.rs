//! `Idempotency-Key`: what a client calls a request, so that it can send it again without having it done twice
//! (draft-ietf-httpapi-idempotency-key-header).

use axum::http::HeaderMap;
use axum::http::request::Parts;
use microserve_core::blob::Sha256;
use microserve_core::transcode::Options;
use ring::digest::{Context, SHA256};

use crate::problem::{Code, Problem};
use crate::upload::content_length;

/// A longer key is none (bytes).
const MAX_KEY: usize = 255;

/// The key that the request has, if any: a string with its quotes (RFC 9651 §3.3.3), as the draft wants it, or without,
/// as most clients send it.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = headers.get_all("idempotency-key").iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let good = (1..=MAX_KEY).contains(&key.len()) && key.chars().all(|c| c.is_ascii_graphic() && !"\"\\,".contains(c));
    if good && lines.next().is_none() {
        return Ok(Some(key.to_owned()));
    }
    let detail = "an Idempotency-Key is one of 1 to 255 visible ASCII characters, a UUID for instance";
    Err(Problem::new(Code::InvalidHeader, detail))
}

/// A digest of what makes an upload another one, as far as it is known before its bytes: where it goes, the file's name
/// and length, and what is asked for.
pub(crate) fn digest(parts: &Parts, filename: &str, options: &Options) -> Sha256 {
    let length = content_length(&parts.headers).map_or_else(String::new, |length| length.to_string());
    // Options are numbers and text: they can always be written.
    let options = serde_json::to_string(options).unwrap_or_default();
    let mut context = Context::new(&SHA256);
    for text in [parts.method.as_str(), filename, &length, &options] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Sha256(digest)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn keys_come_with_quotes_and_without() {
        let key = |value: &[u8]| {
            key(&HeaderMap::from_iter([("idempotency-key".parse().unwrap(), HeaderValue::from_bytes(value).unwrap())]))
        };
        for good in ["8e03978e-40d5-43dd-bc93-6894a57f9324", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""] {
            assert_eq!(key(good.as_bytes()).unwrap().unwrap(), "8e03978e-40d5-43dd-bc93-6894a57f9324");
        }
        let long = "x".repeat(256);
        for bad in [&b""[..], b"\"\"", b"\"", b"a b", b"a, b", b"\xff", long.as_bytes()] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }
}
