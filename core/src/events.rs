//! The JSON that goes through the queues.
//!
//! A superset of what the services of the well-known Python tutorial send: `video_fid`, `mp3_fid` and `username`. A message
//! with no more than these is understood as well. Keys that are not known are kept. One of those that others may leave out,
//! or have filled with something else, is `traceparent`: see [`Event::trace`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::job::Job;
use crate::queue::Message;
use crate::trace::TraceContext;

/// The version of the message format that this library writes.
pub const VERSION: u32 = 1;

/// The key of what [`Event::trace`] reads.
const TRACEPARENT: &str = "traceparent";

/// "Look at this job": the body of every message, on `video` and on `mp3`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The video's blob.
    pub video_fid: String,
    /// The MP3's blob, once there is one.
    #[serde(default)]
    pub mp3_fid: Option<String>,
    /// The owner's address.
    #[serde(default)]
    pub username: String,
    /// The job; messages of the tutorial's services have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The version of this format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v: Option<u32>,
    /// What else there was.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Event {
    /// The event that announces a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let trace = job.trace.map(|trace| (TRACEPARENT.to_owned(), trace.to_string().into()));
        Self {
            video_fid: job.video.to_string(),
            mp3_fid: job.output.as_ref().map(|o| o.fid.to_string()),
            username: job.email.to_string(),
            job_id: Some(job.id.to_string()),
            v: Some(VERSION),
            other: trace.into_iter().collect(),
        }
    }

    /// What has caused this event: the key `traceparent`, if it is there and well-formed.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.other.get(TRACEPARENT)?.as_str()?.parse().ok()
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// When it is not JSON of this shape.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The event as a message.
    ///
    /// # Errors
    /// When `other` can't be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        Ok(Message::new(self.job_id.clone().unwrap_or_default(), serde_json::to_vec(self)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tutorials_message_is_understood_and_unknown_keys_are_kept() {
        let body = br#"{"video_fid":"64b","mp3_fid":null,"username":"anna@example.com","x":[1]}"#;
        let event = Event::from_body(body).unwrap();
        assert_eq!((event.video_fid.as_str(), event.job_id.as_deref()), ("64b", None));
        let again: Value = serde_json::from_slice(&event.to_message().unwrap().body).unwrap();
        assert_eq!(again["x"], json!([1]));
    }

    #[test]
    fn a_trace_is_told_if_it_is_one_and_is_never_in_the_way() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (told, known) in [(json!(trace), true), (json!("x"), false), (json!(5), false), (json!(null), false)] {
            let body = json!({"video_fid": "64b", "traceparent": told});
            let event = Event::from_body(body.to_string().as_bytes()).unwrap();
            assert_eq!(event.trace().map(|trace| json!(trace)), known.then_some(told.clone()));
            let again: Value = serde_json::from_slice(&event.to_message().unwrap().body).unwrap();
            assert_eq!(again["traceparent"], told);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for body in [&b""[..], b"{}", b"[]", b"null", b"\xff", br#"{"video_fid":1}"#] {
            assert!(Event::from_body(body).is_err());
        }
    }
}
