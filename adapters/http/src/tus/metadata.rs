//! `Upload-Metadata`: what a client says of a file before it comes, in pairs of a key and a value in base64.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use microserve_core::transcode::Asked;

use super::UPLOAD_METADATA;
use crate::filename;
use crate::problem::{Code, Problem};
use crate::upload::media_type;

/// It is kept as it is (bytes).
const LONGEST: usize = 4096;
/// What clients say of files, and nobody here wants to know.
const IGNORED: [&str; 3] = ["relativePath", "lastModified", "size"];

/// What was said.
#[derive(Default)]
pub(super) struct Metadata {
    pub(super) raw: String,
    /// Clean.
    pub(super) filename: String,
    pub(super) content_type: String,
    /// What the MP3 is to be like.
    pub(super) asked: Asked,
}

/// Reads the header: the file's name and type, as the widespread clients call them, and options.
pub(super) fn read(headers: &HeaderMap) -> Result<Metadata, Problem> {
    let raw = match headers.get(&UPLOAD_METADATA) {
        Some(value) => value.to_str().map_err(|_| malformed())?,
        None => "",
    };
    if raw.len() > LONGEST {
        return Err(malformed());
    }
    let (mut name, mut kind, mut asked) = (String::new(), String::new(), Asked::default());
    for pair in raw.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim()).map_err(|_| malformed())?;
        let value = String::from_utf8(value).map_err(|_| malformed())?;
        match key {
            "filename" | "name" => name = value,
            "filetype" | "type" => kind = value,
            key if IGNORED.contains(&key) => {}
            key => asked.set(key, &value)?,
        }
    }
    Ok(Metadata { raw: raw.to_owned(), filename: filename::clean(&name), content_type: media_type(&kind), asked })
}

fn malformed() -> Problem {
    let detail = "Upload-Metadata has pairs of a key and a value in base64 of UTF-8, with commas between them, and at most 4096 bytes";
    Problem::new(Code::InvalidHeader, detail)
}
