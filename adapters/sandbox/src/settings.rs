//! What a sandbox is told: how much has to be enforced, and how much a job may use.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What becomes of it when the kernel can't enforce everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// There is no sandbox then.
    Strict,
    /// It goes on with what the kernel can do; [`Sandboxed::enforced`](crate::Sandboxed::enforced) tells what that is.
    #[default]
    BestEffort,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::BestEffort => "best-effort",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "best-effort" => Ok(Self::BestEffort),
            _ => Err(format!("{text:?} is neither strict nor best-effort")),
        }
    }
}

/// How much one job may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes, as the kernel counts what a process may write to (`RLIMIT_DATA`): heap and stacks. What is
    /// resident stays below it, but for the program's own pages. Default: 256 MiB.
    pub memory: u64,
    /// Processor time, of all threads together; whole seconds, at least one. Default: two hours.
    pub cpu: Duration,
    /// From the beginning to the end, with all the waiting for source and sink. Default: six hours.
    pub time: Duration,
    /// Without any progress, not counting what source and sink take. A probe makes none, so this is all it has.
    /// Default: a minute.
    pub silence: Duration,
    /// Bytes of the MP3. Default: 4 GiB, which is more than a day at 320 kbit/s.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 * 1024 * 1024,
            cpu: Duration::from_secs(2 * 60 * 60),
            time: Duration::from_secs(6 * 60 * 60),
            silence: Duration::from_secs(60),
            output: 4 * 1024 * 1024 * 1024,
        }
    }
}
