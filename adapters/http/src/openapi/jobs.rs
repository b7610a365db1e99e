//! Jobs, and what comes out of them.

use microserve_core::api_key::Scope;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::call::Call;
use super::shapes::{EXAMPLE_ID, statuses};
use crate::jobs::{LARGEST_PAGE, Listed, Shown};
use crate::links::Link;
use crate::problem::Code;

const TAG: &str = "Jobs";
/// What a job's answers have.
const HEADERS: &[&str] = &["ETag", "Cache-Control"];

pub(super) fn calls(schemas: &mut SchemaGenerator) -> Vec<Call> {
    let mut calls = vec![
        Call::new("GET", "/jobs", "listJobs", "List your jobs, newest first")
            .tag(TAG)
            .bearer_or_key(Scope::Read)
            .parameter("query", "status", "Only those of this status.", json!({ "type": "string", "enum": statuses() }))
            .parameter("query", "limit", "So many at most; 20 unless told.", limit())
            .parameter("query", "cursor", "The `next_cursor` of the page before.", cursor())
            .json::<Listed<'_>>(200, "A page of them.", &["Cache-Control"], schemas)
            .fails(&[Code::InvalidParameter])
            .curl("curl \"$SERVER/jobs?status=done&limit=10\" -H \"Authorization: Bearer $TOKEN\""),
        of_a_job("GET", "/jobs/{id}", "showJob", "Tell how far a job is")
            .says(
                "With `Prefer: wait=30` (RFC 7240), the answer waits so many seconds, 60 at most, until the job is final; \
                 or, if `If-None-Match` names a version, until there is another.",
            )
            .parameter("header", "Prefer", "How long to wait for news.", json!({ "type": "string", "example": "wait=30" }))
            .parameter("header", "If-None-Match", "The version that one has.", json!({ "type": "string" }))
            .json::<Shown<'_>>(200, "The job.", &["ETag", "Cache-Control", "Preference-Applied"], schemas)
            .empty(304, "It has this version still.", &["ETag", "Cache-Control", "Preference-Applied"])
            .fails(&[Code::Busy])
            .curl("curl \"$SERVER/jobs/$JOB\" -H \"Authorization: Bearer $TOKEN\" -H 'Prefer: wait=30'"),
        of_a_job("DELETE", "/jobs/{id}", "removeJob", "Cancel a job, or delete a finished one with its files")
            .json::<Shown<'_>>(202, "It was unfinished, and is cancelled now.", HEADERS, schemas)
            .empty(204, "It was finished, and is deleted now.", &[])
            .curl("curl -X DELETE \"$SERVER/jobs/$JOB\" -H \"Authorization: Bearer $TOKEN\""),
        of_a_job("GET", "/jobs/{id}/events", "watchJob", "Hear of a job's changes as they happen")
            .says(
                "Server-sent events, of which the schema shows one. Its id is the job's version, its data what \
                 `GET /jobs/{id}` says. `status` comes first, and whenever status or phase change; `progress` when anything \
                 else does. The stream ends behind a final status.",
            )
            .parameter("header", "Last-Event-ID", "The last event that one has.", json!({ "type": "string" }))
            .answer(200, "Events.", &["Cache-Control", "X-Accel-Buffering"], events(schemas))
            .empty(204, "The job is final, and `Last-Event-ID` names its last version.", &[])
            .fails(&[Code::Busy])
            .curl("curl -N \"$SERVER/jobs/$JOB/events\" -H \"Authorization: Bearer $TOKEN\""),
        of_a_job("POST", "/jobs/{id}/retry", "retryJob", "Let a failed or cancelled job run again")
            .json::<Shown<'_>>(202, "It is queued.", HEADERS, schemas)
            .fails(&[Code::NotRetryable])
            .curl("curl -X POST \"$SERVER/jobs/$JOB/retry\" -H \"Authorization: Bearer $TOKEN\""),
        of_a_job("POST", "/jobs/{id}/link", "makeLink", "Make a link that opens the MP3 without a token")
            .json::<Link>(201, "The link, and until when it is good.", &["Cache-Control"], schemas)
            .fails(&[Code::NotReady])
            .curl("curl -X POST \"$SERVER/jobs/$JOB/link\" -H \"Authorization: Bearer $TOKEN\""),
        of_a_job("DELETE", "/jobs/{id}/link", "revokeLinks", "End all links to the job's MP3, that of the mail too")
            .empty(204, "None of them is good any more.", &[])
            .curl("curl -X DELETE \"$SERVER/jobs/$JOB/link\" -H \"Authorization: Bearer $TOKEN\""),
    ];
    calls.extend(["GET", "HEAD"].map(download));
    calls
}

fn of_a_job(method: &'static str, path: &'static str, id: &str, summary: &str) -> Call {
    let scope = if method == "GET" { Scope::Read } else { Scope::Manage };
    Call::new(method, path, id, summary).tag(TAG).bearer_or_key(scope).fails(&[Code::MalformedId, Code::NotFound])
}

fn limit() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 20 })
}

fn cursor() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{1,11}-[0-9a-f]{24}$", "example": format!("19de2b8f400-{EXAMPLE_ID}") })
}

fn events(schemas: &mut SchemaGenerator) -> Value {
    let job = schemas.subschema_for::<Shown<'_>>();
    let event = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "pattern": "^[0-9]+$" },
            "event": { "enum": ["status", "progress"] },
            "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": job },
        },
        "required": ["id", "event", "data"],
    });
    let example = "retry: 3000\n\nid: 7\nevent: status\ndata: {\"job_id\": \"6a1f0c9be2d84f37a5c01b7e\", …}\n\n";
    json!({ "text/event-stream": { "schema": event, "example": example } })
}

fn download(method: &'static str) -> Call {
    let (id, summary) = match method {
        "HEAD" => ("describeMp3", "Tell what a download would give"),
        _ => ("downloadMp3", "Download an MP3"),
    };
    let fid = json!({ "$ref": "#/components/schemas/Id" });
    let text = || json!({ "type": "string" });
    let second = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let call = Call::new(method, "/download", id, summary)
        .tag(TAG)
        .says("A link, as `POST /jobs/{id}/link` makes it, needs no token.")
        .bearer_or_key_or_not(Scope::Read)
        .required("query", "fid", "The MP3's fid, or its job's id.", fid)
        .parameter("query", "expires", "Of a link: until when it is good, in seconds since 1970.", second)
        .parameter("query", "signature", "Of a link.", text())
        .parameter("header", "If-None-Match", "The version that one has.", text())
        .parameter("header", "If-Modified-Since", "When one has got it.", text())
        .empty(304, "There is no other version.", &["ETag", "Last-Modified", "Cache-Control"])
        .fails(&[Code::MalformedId, Code::NotFound, Code::NotReady, Code::Expired, Code::LinkExpired]);
    let headers = [
        "ETag",
        "Last-Modified",
        "Cache-Control",
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Length",
        "Repr-Digest",
        "Content-Range",
    ];
    let (whole, part) = (&headers[..7], &headers[..]);
    if method == "HEAD" {
        return call
            .empty(200, "The MP3, but for its bytes.", whole)
            .curl("curl -I \"$SERVER/download?fid=$FID\" -H \"Authorization: Bearer $TOKEN\"");
    }
    let mp3 = json!({ "audio/mpeg": { "schema": { "type": "string", "contentMediaType": "audio/mpeg" } } });
    call.parameter("header", "Range", "A part of it (RFC 9110 §14), such as `bytes=0-99`.", text())
        .parameter("header", "If-Range", "The version that the part is to be of; else all is sent.", text())
        .answer(200, "The MP3.", whole, mp3.clone())
        .answer(206, "The part.", part, mp3)
        .fails(&[Code::RangeNotSatisfiable])
        .curl("curl \"$SERVER/download?fid=$FID\" -H \"Authorization: Bearer $TOKEN\" --output mp3_download.mp3")
}
