//! Resumable uploads.

use microserve_core::api_key::Scope;
use serde_json::{Value, json};

use super::call::Call;
use super::uploads::REFUSED;
use crate::problem::Code;

const TAG: &str = "Resumable uploads";
/// What tells how far an upload is.
const STANDS: &[&str] = &["Upload-Offset", "Upload-Expires", "Microserve-Job"];
/// As that, and what is known of the file.
const KNOWN: &[&str] = &[
    "Upload-Offset",
    "Upload-Expires",
    "Microserve-Job",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Cache-Control",
];
const PART: &str = "application/offset+octet-stream";

pub(super) fn calls() -> Vec<Call> {
    let options = |path, id| {
        let headers = &["Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"];
        Call::new("OPTIONS", path, id, "Tell what can be done")
            .tag(TAG)
            .always_with(&["Tus-Resumable"])
            .empty(204, "In headers.", headers)
            .curl("curl -i -X OPTIONS \"$SERVER/files\"")
    };
    vec![
        options("/files", "showProtocol"),
        with_version(Call::new("POST", "/files", "beginUpload", "Begin a resumable upload"))
            .says(
                "The protocol is tus 1.0.0 (<https://tus.io/protocols/resumable-upload>). The bytes may come along, or \
                 follow by `PATCH`. Once all have come, `Microserve-Job` names the job.",
            )
            .parameter("header", "Upload-Length", "The file's length in bytes, unless it is deferred.", bytes())
            .parameter("header", "Upload-Defer-Length", "The length is told later.", json!({ "const": "1" }))
            .parameter("header", "Upload-Metadata", "`filename`, `filetype` and options, in base64.", metadata())
            .parameter("header", "Upload-Checksum", "Of the bytes that come along.", checksum())
            .body(false, PART, json!({ "schema": { "type": "string", "format": "binary" } }))
            .empty(201, "It has begun.", &["Location", "Upload-Offset", "Upload-Expires", "Microserve-Job"])
            .fails(&[Code::ChecksumMismatch, Code::OffsetMismatch])
            .fails(REFUSED)
            .curl(
                "curl -i -X POST \"$SERVER/files\" -H \"Authorization: Bearer $TOKEN\" -H 'Tus-Resumable: 1.0.0' \\\n  \
                 -H \"Upload-Length: $(stat -c %s video.mkv)\" -H \"Upload-Metadata: filename $(echo -n video.mkv | base64)\"",
            ),
        options("/files/{id}", "showProtocolOfUpload"),
        of_an_upload("HEAD", "showUpload", "Tell how far an upload is")
            .empty(200, "How many bytes have come.", KNOWN)
            .fails(REFUSED)
            .curl("curl -I \"$SERVER/files/$ID\" -H \"Authorization: Bearer $TOKEN\" -H 'Tus-Resumable: 1.0.0'"),
        of_an_upload("PATCH", "continueUpload", "Go on with an upload")
            .required("header", "Upload-Offset", "Where these bytes begin.", bytes())
            .parameter("header", "Upload-Length", "The file's length in bytes, if it was deferred.", bytes())
            .parameter("header", "Upload-Checksum", "Of these bytes.", checksum())
            .body(true, PART, json!({ "schema": { "type": "string", "format": "binary" } }))
            .empty(204, "The bytes have come.", STANDS)
            .fails(&[Code::ChecksumMismatch, Code::OffsetMismatch, Code::ExpectedPart])
            .fails(REFUSED)
            .curl(
                "curl -i -X PATCH \"$SERVER/files/$ID\" -H \"Authorization: Bearer $TOKEN\" -H 'Tus-Resumable: 1.0.0' \\\n  \
                 -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' --data-binary @video.mkv",
            ),
        of_an_upload("DELETE", "abandonUpload", "Give an upload up")
            .empty(204, "What has come is gone.", &[])
            .fails(&[Code::UploadComplete, Code::Cancelled])
            .curl("curl -X DELETE \"$SERVER/files/$ID\" -H \"Authorization: Bearer $TOKEN\" -H 'Tus-Resumable: 1.0.0'"),
        of_an_upload("POST", "overrideMethod", "Do one of the others, for clients that can't send its method")
            .required("header", "X-HTTP-Method-Override", "The method.", json!({ "enum": ["PATCH", "DELETE", "HEAD"] }))
            .parameter("header", "Upload-Offset", "As of `PATCH`.", bytes())
            .parameter("header", "Upload-Length", "As of `PATCH`.", bytes())
            .parameter("header", "Upload-Checksum", "As of `PATCH`.", checksum())
            .body(false, PART, json!({ "schema": { "type": "string", "format": "binary" } }))
            .empty(200, "As of `HEAD`.", KNOWN)
            .empty(204, "As of `PATCH` or `DELETE`.", &["Upload-Expires", "Microserve-Job"])
            .fails(&[Code::ChecksumMismatch, Code::OffsetMismatch, Code::ExpectedPart, Code::UploadComplete])
            .fails(&[Code::MethodNotAllowed])
            .fails(REFUSED)
            .curl(
                "curl -X POST \"$SERVER/files/$ID\" -H \"Authorization: Bearer $TOKEN\" -H 'Tus-Resumable: 1.0.0' \\\n  \
                 -H 'X-HTTP-Method-Override: DELETE'",
            ),
    ]
}

fn with_version(call: Call) -> Call {
    call.tag(TAG)
        .bearer_or_key(Scope::Upload)
        .always_with(&["Tus-Resumable"])
        .required("header", "Tus-Resumable", "The version of the protocol.", json!({ "const": "1.0.0" }))
        .fails(&[Code::UnknownVersion])
}

fn of_an_upload(method: &'static str, id: &str, summary: &str) -> Call {
    with_version(Call::new(method, "/files/{id}", id, summary)).fails(&[Code::MalformedId, Code::NotFound])
}

fn bytes() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// Base64 of RFC 4648 §4: whole groups, then one that is padded. The bits that its last character has too many are zero
/// (§3.5).
const GROUP: &str = "[A-Za-z0-9+/]{4}";
const PADDED_ONCE: &str = "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=";
const PADDED_TWICE: &str = "[A-Za-z0-9+/][AQgw]==";

fn checksum() -> Value {
    let (sha1, sha256) = (format!("({GROUP}){{6}}{PADDED_ONCE}"), format!("({GROUP}){{10}}{PADDED_ONCE}"));
    let sha512 = format!("({GROUP}){{21}}{PADDED_TWICE}");
    json!({
        "type": "string",
        "pattern": format!("^(sha1 {sha1}|sha256 {sha256}|sha512 {sha512})$"),
        "example": "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    })
}

fn metadata() -> Value {
    let pair = format!("[A-Za-z_]+( ({GROUP})*({PADDED_ONCE}|{PADDED_TWICE})?)?");
    json!({
        "type": "string",
        "pattern": format!("^{pair}(,{pair})*$"),
        "example": "filename dmlkZW8ubWt2,preset cG9kY2FzdA==",
    })
}
