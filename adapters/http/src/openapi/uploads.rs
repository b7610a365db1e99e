//! Uploads in one request, and what an MP3 can be like.

use microserve_core::api_key::Scope;
use microserve_core::transcode::{Options, Preset, Quality};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::call::Call;
use crate::problem::Code;
use crate::upload::Accepted;

const TAG: &str = "Uploads";

/// What is wrong with a file, or with what is asked for.
pub(super) const REFUSED: &[Code] = &[
    Code::IncompleteBody,
    Code::InvalidHeader,
    Code::TooSlow,
    Code::Cancelled,
    Code::TooLarge,
    Code::UnsupportedContainer,
    Code::NoAudioTrack,
    Code::UnsupportedCodec,
    Code::Encrypted,
    Code::Corrupt,
    Code::Unconvertible,
    Code::InvalidOption,
    Code::EmptyFile,
    Code::TooLong,
    Code::TooManyJobs,
    Code::DailyQuota,
    Code::StorageQuota,
    Code::Full,
];

pub(super) fn calls(schemas: &mut SchemaGenerator) -> Vec<Call> {
    let video = || json!({ "schema": { "type": "string", "format": "binary" } });
    let form = Call::new("POST", "/upload", "uploadForm", "Upload a video as a form")
        .says("A part with a filename is the video, whatever its name. Options stand before it, or in the query.")
        .body(
            true,
            "multipart/form-data",
            json!({ "schema": form(), "encoding": { "file": { "contentType": "*/*" } } }),
        )
        .fails(&[Code::MalformedMultipart, Code::NoFile, Code::SeveralFiles, Code::ExpectedMultipart])
        .curl(
            "curl -X POST \"$SERVER/upload\" -H \"Authorization: Bearer $TOKEN\" \\\n  \
             -F preset=podcast -F \"file=@./video.mkv\"",
        );
    let name = json!({ "type": "string", "minLength": 1, "example": "video.mkv" });
    let file = Call::new("PUT", "/upload/{name}", "uploadFile", "Upload a video as it is")
        .parameter("path", "name", "What the video is called.", name)
        .body(true, "application/octet-stream", video())
        .curl("curl -T ./video.mkv \"$SERVER/upload/video.mkv?preset=podcast\" -H \"Authorization: Bearer $TOKEN\"");
    let mut finish = |mut call: Call| {
        for (name, description, schema) in options() {
            call = call.parameter("query", name, description, schema);
        }
        call.tag(TAG)
            .bearer_or_key(Scope::Upload)
            .parameter("header", "Idempotency-Key", "Sent again under the same key, it becomes the same job.", key())
            .json::<Accepted<'_>>(202, "A job that waits for a worker.", &["Location"], schemas)
            .fails(&[Code::InvalidParameter, Code::InProgress, Code::KeyReused])
            .fails(REFUSED)
    };
    vec![finish(form), finish(file)]
}

/// Visible ASCII characters but for `"`, `,` and `\\`, with quotes or without.
const KEY: &str = r#"^([!#-+\--\[\]-~]{1,255}|"[!#-+\--\[\]-~]{1,255}")$"#;

fn key() -> Value {
    json!({
        "type": "string",
        "pattern": KEY,
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    })
}

fn form() -> Value {
    let mut properties: Map<String, Value> = options()
        .into_iter()
        .map(|(name, description, mut schema)| {
            schema["description"] = json!(description);
            (name.to_owned(), schema)
        })
        .collect();
    let file = json!({ "type": "string", "format": "binary", "description": "The video." });
    properties.insert("file".to_owned(), file);
    json!({ "type": "object", "properties": properties, "required": ["file"], "additionalProperties": false })
}

/// What an MP3 can be like: name, meaning and values of each option.
fn options() -> Vec<(&'static str, &'static str, Value)> {
    let flags = ["true", "false", "yes", "no", "on", "off", "1", "0"];
    let (low, high) = (Options::LOUDNESS.start(), Options::LOUDNESS.end());
    let loudness = json!({ "anyOf": [{ "enum": flags }, { "type": "number", "minimum": low, "maximum": high }] });
    let time = || json!({ "type": "string", "pattern": "^([0-9]{1,2}:){0,2}[0-9]{1,5}(\\.[0-9]{1,6})?$" });
    let text = || json!({ "type": "string" });
    vec![
        ("preset", "Several options under one name.", json!({ "enum": Preset::ALL.map(|(name, _)| name) })),
        ("bitrate", "A constant bitrate in kbit/s.", json!({ "type": "integer", "enum": Quality::BITRATES })),
        ("vbr", "A variable bitrate, from 0 (best) to 9 (smallest).", level()),
        ("channels", "One or two.", json!({ "type": "integer", "enum": [1, 2] })),
        ("mono", "One channel; the same as `channels`.", json!({ "enum": flags })),
        ("sample_rate", "In Hz.", json!({ "type": "integer", "enum": Options::SAMPLE_RATES })),
        ("track", "Which of several: a number from 1, or a language.", track()),
        ("start", "Where the MP3 begins: seconds, or as in 1:02:03.5.", time()),
        ("end", "Where it ends.", time()),
        ("normalize", "Make it as loud as speech usually is, or so many LUFS.", loudness),
        ("title", "For the tag.", text()),
        ("artist", "For the tag.", text()),
        ("album", "For the tag.", text()),
        ("date", "For the tag: a year, or a date.", text()),
    ]
}

fn level() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 9 })
}

fn track() -> Value {
    json!({ "type": "string", "pattern": "^([1-9][0-9]{0,3}|[A-Za-z][A-Za-z0-9-]{1,34})$", "example": "en" })
}
