//! What the core's words look like in JSON. The core knows no schemas: its types stand here a second time, and a test
//! compares what is written of them.

use std::borrow::Cow;

use microserve_core::api_key::Scope;
use microserve_core::job::{Phase, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! shapes {
    ($($(#[doc = $doc:literal])+ $name:ident $schema:tt;)+) => {$(
        $(#[doc = $doc])+
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!($schema);
                schema.insert("description".to_owned(), concat!($($doc),+).trim().into());
                schema
            }
        }
    )+};
}

shapes! {
    /// The name of a job, a file or an account.
    Id { "type": "string", "pattern": ID, "examples": [EXAMPLE_ID] };
    /// A time in UTC (RFC 3339).
    Time { "type": "string", "format": "date-time", "examples": ["2026-05-01T12:00:00Z"] };
    /// A SHA-256.
    Digest { "type": "string", "pattern": "^[0-9a-f]{64}$" };
    /// An e-mail address.
    Email {
        "type": "string",
        "pattern": "^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,31})?@[a-z0-9]{1,32}(\\.[a-z0-9]{1,32}){0,3}$",
        "examples": ["you@example.com"]
    };
    /// At least eight characters, at most 1024 bytes, and none of those that everybody takes.
    Password { "type": "string", "minLength": 8, "maxLength": 1024, "examples": ["eleven green bottles"] };
    /// An API key.
    Key { "type": "string", "pattern": "^msk_[0-9a-f]{64}$" };
    /// What an API key may be used for. `read`: seeing jobs and what the account uses, and downloading; `upload`; `manage`:
    /// cancelling, retrying and deleting jobs, making and revoking links.
    Scopes {
        "type": "array",
        "items": { "type": "string", "enum": Scope::ALL },
        "minItems": 1
    };
    /// How far a job is. `queued`, `converting` and `uploading` ones are unfinished.
    JobStatus { "type": "string", "enum": statuses() };
    /// What a worker does with a job.
    JobPhase { "type": "string", "enum": [Phase::Probing, Phase::Transcoding, Phase::Storing] };
    /// What has become of a mail. `unknown`: it may have been sent.
    Mail { "type": "string", "enum": ["pending", "sending", "sent", "unknown", "failed"] };
}

/// The pattern of ids.
pub(super) const ID: &str = "^[0-9a-f]{24}$";
/// An id, for examples.
pub(super) const EXAMPLE_ID: &str = "6a1f0c9be2d84f37a5c01b7e";

/// Those that clients see: what is deleted is not there for them.
pub(super) fn statuses() -> Vec<&'static str> {
    Status::ALL.into_iter().filter(|status| *status != Status::Deleted).map(Status::as_str).collect()
}

/// Why a job failed: `ERRORS.md` lists the codes.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct JobError {
    /// Stands for one case, and does not change.
    code: String,
    /// A sentence for people.
    detail: String,
}

/// What an account takes up.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct Usage {
    /// Bytes of videos and MP3s that are kept.
    bytes: u64,
    /// Jobs that have a video or an MP3, or are unfinished.
    files: u64,
    /// Jobs that are being uploaded.
    uploading: u64,
    /// Jobs that wait to be converted.
    queued: u64,
    /// Jobs that are converted.
    converting: u64,
    /// Seconds of sound in the videos that came since `since`.
    seconds: f64,
}

/// The most that an account may take up. `null`: no limit.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct Quota {
    /// Bytes of videos and MP3s that are kept.
    bytes: Option<u64>,
    /// Jobs that have a video or an MP3, or are unfinished.
    files: Option<u64>,
    /// Jobs that are being uploaded, wait, or are converted.
    unfinished: Option<u64>,
    /// Jobs that are converted at the same time; more of them wait.
    converting: Option<u64>,
    /// Seconds of sound in the videos of a day.
    seconds_per_day: Option<f64>,
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    /// The members that are always there, and all that are described.
    fn members<T: JsonSchema>() -> (Vec<String>, Vec<String>) {
        let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
        let required = schema.get("required").and_then(Value::as_array).unwrap().iter();
        let mut required: Vec<_> = required.map(|name| name.as_str().unwrap().to_owned()).collect();
        required.sort();
        let mut all: Vec<_> = schema.get("properties").and_then(Value::as_object).unwrap().keys().cloned().collect();
        all.sort();
        (required, all)
    }

    fn assert_same<T: JsonSchema>(written: impl Serialize) {
        let written = serde_json::to_value(written).unwrap();
        let mut names: Vec<_> = written.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(members::<T>(), (names.clone(), names));
    }

    #[test]
    fn the_core_writes_what_is_described() {
        assert_same::<JobError>(microserve_core::transcode::Problem { code: String::new(), detail: String::new() });
        assert_same::<Usage>(microserve_core::quota::Usage::default());
        assert_same::<Quota>(microserve_core::quota::Quota::default());
    }

    #[test]
    fn words_are_those_of_the_core() {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<JobPhase>();
        assert_eq!(schema.get("enum"), Some(&json!(["probing", "transcoding", "storing"])));
        assert_eq!(statuses(), ["uploading", "queued", "converting", "done", "failed", "cancelled", "expired"]);
    }
}
