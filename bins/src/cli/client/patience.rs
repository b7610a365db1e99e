//! What may go wrong with a call, and how often it is tried again.

use std::time::Duration;

use indicatif::ProgressBar;
use microserve_core::Backoff;
use microserve_http::Code;
use reqwest::StatusCode;

use crate::cli::table::one_line;
use crate::cli::{Failure, say};

/// Between two attempts, unless the server says how long.
const PAUSE: Backoff = Backoff { first: Duration::from_millis(500), factor: 2, max: Duration::from_secs(30) };
/// A server that asks for more is not waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a call has failed.
pub(super) enum Trouble {
    /// The server was not reached, or the connection broke, or the server fell silent.
    Line(String),
    /// What the server says.
    Told(Told),
    /// Something on this side.
    Ours(Failure),
}

/// An answer that is no success.
pub(super) struct Told {
    pub(super) status: StatusCode,
    /// The problem's code; empty if the answer has none.
    pub(super) code: String,
    /// A sentence for people.
    pub(super) detail: String,
    /// `Retry-After`.
    pub(super) after: Option<Duration>,
}

impl Told {
    /// Whether it may be otherwise in a moment.
    fn may_pass(&self) -> bool {
        let busy = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        busy || self.code == Code::InProgress.as_str() || self.status.is_server_error()
    }

    /// The process's exit code.
    fn exit_code(&self) -> u8 {
        let code = Code::ALL.iter().find(|code| code.as_str() == self.code);
        match (code, self.status) {
            (Some(Code::InvalidOption), _) => Failure::USAGE,
            (Some(Code::ExpectedMultipart | Code::ExpectedPart), _) => 1,
            (Some(Code::TooLong | Code::EmptyFile), _) => Failure::NOT_CONVERTIBLE,
            (_, StatusCode::UNSUPPORTED_MEDIA_TYPE) => Failure::NOT_CONVERTIBLE,
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Failure::REFUSED,
            (_, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
                Failure::UNREACHABLE
            }
            _ => 1,
        }
    }

    /// What it says, and what to do.
    pub(super) fn words(&self) -> String {
        let detail = one_line(&self.detail, 500);
        if self.code.is_empty() {
            return format!("the server says {}: {detail}", self.status);
        }
        let code = one_line(&self.code, 60);
        let remedy = match Code::ALL.iter().find(|known| known.as_str() == self.code) {
            Some(Code::InvalidToken) => "`microserve login` lets you in again.",
            Some(known) => known.remedy(),
            None => "",
        };
        format!("{detail} ({code}). {remedy}").trim_end().to_owned()
    }
}

impl Trouble {
    /// Whether the server does not want it, now and later; not for who calls, which another login may change.
    pub(super) fn is_for_good(&self) -> bool {
        let Self::Told(told) = self else { return false };
        let of_the_caller = matches!(told.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        told.status.is_client_error() && !told.may_pass() && !of_the_caller
    }

    /// How long to wait before the call is made again; none if that is of no use.
    fn wait(&self, failed: u32) -> Option<Duration> {
        let pause = PAUSE.delay(failed, u64::from(std::process::id()));
        match self {
            Self::Line(_) => Some(pause),
            Self::Told(told) if told.may_pass() => Some(told.after.unwrap_or(pause)).filter(|wait| *wait <= LONGEST),
            Self::Told(_) | Self::Ours(_) => None,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Line(words) => Self::new(Self::UNREACHABLE, words),
            Trouble::Told(told) => Self::new(told.exit_code(), told.words()),
            Trouble::Ours(failure) => failure,
        }
    }
}

/// How often something is tried again.
pub(super) struct Patience {
    most: u32,
    failed: u32,
    bar: ProgressBar,
}

impl Patience {
    /// For a question: some seconds.
    pub(super) fn short() -> Self {
        Self { most: 3, failed: 0, bar: ProgressBar::hidden() }
    }

    /// For what has come far already: some minutes.
    pub(super) fn long(bar: &ProgressBar) -> Self {
        Self { most: 12, failed: 0, bar: bar.clone() }
    }

    /// Something went well.
    pub(super) fn renew(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next attempt makes sense.
    ///
    /// # Errors
    /// The trouble, when it will not pass, or has come too often.
    pub(super) async fn after(&mut self, trouble: Trouble) -> Result<(), Failure> {
        self.failed += 1;
        let Some(wait) = trouble.wait(self.failed).filter(|_| self.failed <= self.most) else {
            return Err(trouble.into());
        };
        if self.failed == 2 {
            let failure = Failure::from(trouble);
            self.bar.suspend(|| say(&format!("microserve: {}; trying again", failure.error)));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
