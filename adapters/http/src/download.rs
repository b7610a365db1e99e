//! Download: an MP3, whole or in part, for its owner.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use microserve_core::api_key::Scope;
use microserve_core::blob::Fid;
use microserve_core::convert::mp3_name;
use microserve_core::download::Granted;
use serde::Deserialize;
use tracing::info;

use crate::conditional::{Validators, format_date};
use crate::filename;
use crate::gateway::{Gateway, Shared};
use crate::problem::{Code, Problem};
use crate::range::{Requested, requested};

/// `GET /download`'s parameters.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// The MP3's fid, or its job's id.
    fid: String,
    /// Of a link that opens it without a token: until when it is good, in seconds since 1970, and its signature.
    expires: Option<String>,
    signature: Option<String>,
}

impl Wanted {
    /// The MP3, if whoever asks may have it.
    async fn find(self, gateway: &Gateway, headers: &HeaderMap) -> Result<Granted, Problem> {
        let fid = self.fid.parse::<Fid>().map_err(|_| malformed())?;
        let Some(signature) = self.signature else {
            let caller = gateway.verifier.caller(headers, Scope::Read).await?;
            return Ok(gateway.download.find(caller.id, &fid).await?);
        };
        let expires = self.expires.and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        Ok(gateway.download.find_by_link(&fid, expires, &signature, gateway.clock.now()).await?)
    }
}

fn malformed() -> Problem {
    Problem::new(
        Code::MalformedId,
        "`fid` is 24 lower-case hexadecimal characters; a link is to be used as it was given",
    )
}

/// `GET` and `HEAD /download`.
pub(crate) async fn download(
    State(gateway): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|_| malformed())?;
    let granted = wanted.find(&gateway, &headers).await?;
    let size = granted.output().size;
    let validators = validators(&granted);
    if validators.not_modified(&headers) {
        return Ok(with(StatusCode::NOT_MODIFIED.into_response(), validated(&validators)));
    }

    let described = [validated(&validators), described(&granted)].concat();
    // RFC 9110 §14.2: a range is for GET alone.
    if method == Method::HEAD {
        let length = (header::CONTENT_LENGTH, size.to_string());
        return Ok(with(with(Body::empty().into_response(), described), vec![length]));
    }
    let range = headers.get(header::RANGE).filter(|_| validators.range_applies(&headers));
    let (status, range) = match range.map_or(Requested::Whole, |range| requested(range.as_bytes(), size)) {
        Requested::Whole => (StatusCode::OK, None),
        Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Requested::NotSatisfiable => return Err(Problem::range_not_satisfiable(size)),
    };
    info!(target: "audit", { job.id = %granted.job().id, account.id = %granted.job().owner }, "downloaded");
    let blob = gateway.download.open(&granted, range).await?;
    let mut sent = vec![(header::CONTENT_LENGTH, (blob.range.end - blob.range.start).to_string())];
    if status == StatusCode::PARTIAL_CONTENT {
        sent.push((header::CONTENT_RANGE, format!("bytes {}-{}/{size}", blob.range.start, blob.range.end - 1)));
    }
    // An error in the body cuts the connection: never a clean short file.
    let response = (status, Body::from_stream(blob.body)).into_response();
    Ok(with(with(response, described), sent))
}

fn validators(granted: &Granted) -> Validators {
    Validators { etag: format!("\"{}\"", granted.output().sha256), modified: granted.job().finished_at }
}

type Fields = Vec<(HeaderName, String)>;

/// What a 304 has, too (RFC 9110 §15.4.5).
fn validated(validators: &Validators) -> Fields {
    let mut fields =
        vec![(header::ETAG, validators.etag.clone()), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    fields.extend(validators.modified.and_then(format_date).map(|date| (header::LAST_MODIFIED, date)));
    fields
}

fn described(granted: &Granted) -> Fields {
    let name = mp3_name(&granted.job().filename);
    // RFC 9530 §3: of the whole file, whatever part of it is sent.
    let digest = format!("sha-256=:{}:", STANDARD.encode(granted.output().sha256.0));
    vec![
        (header::CONTENT_TYPE, "audio/mpeg".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_DISPOSITION, filename::attachment(&name)),
        (HeaderName::from_static("repr-digest"), digest),
    ]
}

fn with(mut response: Response, fields: Fields) -> Response {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
    for (name, value) in fields {
        response.headers_mut().insert(name, value);
    }
    response
}
