//! A job as the server tells of it. What it says is data of strangers: shown in one line, never believed.

use microserve_core::job::JobId;
use reqwest::Method;
use serde_json::Value;

use super::api::Api;
use crate::cli::table::one_line;
use crate::cli::{Failure, Outcome};

/// What is wrong with the file, and not with the server (`ERRORS.md`).
const OF_THE_FILE: [&str; 13] = [
    "no_audio_track",
    "no_such_track",
    "start_behind_end",
    "unsupported_codec",
    "unsupported_container",
    "encrypted",
    "corrupt",
    "unconvertible",
    "too_long",
    "memory_exceeded",
    "cpu_exceeded",
    "output_exceeded",
    "poison",
];

/// The answer to `GET /jobs/{id}`.
pub(super) struct Job(pub(super) Value);

impl Job {
    pub(super) async fn find(api: &Api, id: JobId) -> Result<Self, Failure> {
        Ok(Self(api.document(|| api.request(Method::GET, &path(id))).await?))
    }

    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(super) fn id(&self) -> String {
        one_line(self.text("job_id"), 40)
    }

    pub(super) fn status(&self) -> &str {
        self.text("status")
    }

    pub(super) fn filename(&self) -> String {
        one_line(self.text("filename"), 60)
    }

    /// The part of the conversion that is done, in 0..=1.
    pub(super) fn progress(&self) -> f64 {
        self.0["progress"].as_f64().unwrap_or(0.0).clamp(0.0, 1.0)
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.status(), "done" | "failed" | "cancelled" | "expired")
    }

    /// In a word or two, with the percentage of a conversion and the code of a failure.
    pub(super) fn state(&self) -> String {
        match self.status() {
            "converting" => format!("converting {:.0} %", self.progress() * 100.0),
            "failed" => format!("failed: {}", one_line(self.0["error"]["code"].as_str().unwrap_or("unknown"), 40)),
            status => one_line(status, 20),
        }
    }

    /// A row of a table.
    pub(super) fn row(&self) -> [String; 4] {
        let created = self.text("created_at").parse().ok();
        [self.id(), self.state(), crate::cli::table::time(created), self.filename()]
    }

    /// Whether there is an MP3, and what to do if not.
    pub(super) fn outcome(&self) -> Outcome {
        let (name, error) = (self.filename(), &self.0["error"]);
        match self.status() {
            "done" => Ok(()),
            "failed" => {
                let code = error["code"].as_str().unwrap_or("unknown");
                let detail = one_line(error["detail"].as_str().unwrap_or("no reason is given"), 500);
                let advice = microserve_core::notify::advice(code);
                let exit_code = if OF_THE_FILE.contains(&code) { Failure::NOT_CONVERTIBLE } else { 1 };
                Err(Failure::new(exit_code, format!("{name}: {detail} ({}). {advice}", one_line(code, 60))))
            }
            status => Err(Failure::new(1, format!("{name}: the job is {}", one_line(status, 20)))),
        }
    }
}

/// Where a job is found.
pub(super) fn path(id: JobId) -> String {
    format!("jobs/{id}")
}
