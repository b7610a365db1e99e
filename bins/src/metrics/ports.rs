//! Counts the calls of ports. An adapter in a [`Measured`] does what it does without; beside it each call is counted by
//! role, port, method and outcome, and timed.

use std::sync::Arc;
use std::time::Instant;

use microserve_core::account::AuthError;
use microserve_core::blob::BlobError;
use microserve_core::job::JobError;
use microserve_core::mail::MailError;
use microserve_core::queue::QueueError;
use microserve_core::transcode::TranscodeError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Outcome;
use super::queue::Messages;
use super::work::Conversions;

/// Seconds. Most calls take milliseconds; storing a large video takes minutes.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    role: &'static str,
    port: &'static str,
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    port: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Write {
    role: &'static str,
    status: &'static str,
}

type Timed = Family<Method, Histogram, fn() -> Histogram>;

/// What is counted of ports.
#[derive(Clone)]
pub(super) struct Ports {
    calls: Family<Call, Counter>,
    durations: Timed,
    writes: Family<Write, Counter>,
    pub(super) mails: Family<Outcome, Counter>,
    pub(super) messages: Messages,
    pub(super) conversions: Conversions,
}

impl Ports {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let ports = Self {
            calls: Family::default(),
            durations: Timed::new_with_constructor(|| Histogram::new(SECONDS)),
            writes: Family::default(),
            mails: Family::default(),
            messages: Messages::new(registry),
            conversions: Conversions::new(registry),
        };
        let help = "Calls of ports; what the outcome is called is said by the port's errors";
        registry.register("port_calls", help, ports.calls.clone());
        registry.register("port_call_duration_seconds", "How long calls of ports take", ports.durations.clone());
        registry.register("job_writes", "Times that a role wrote a job, by its new status", ports.writes.clone());
        registry.register("mails", "Attempts to hand over a mail", ports.mails.clone());
        ports
    }
}

/// An adapter whose calls are counted.
pub(super) struct Measured<P: ?Sized> {
    pub(super) calls: Calls,
    pub(super) inner: Arc<P>,
}

/// Counts the calls of one port by one role.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) ports: Ports,
    pub(super) role: &'static str,
    pub(super) port: &'static str,
}

impl Calls {
    /// Makes a call and counts it.
    pub(super) async fn run<T, E: Kind>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = self.begin(method);
        let outcome = call.await;
        begun.end(word(&outcome));
        outcome
    }

    pub(super) fn begin(&self, method: &'static str) -> Begun<'_> {
        Begun { calls: self, method, since: Instant::now(), outcome: "dropped" }
    }

    /// Counts a call without timing it.
    pub(super) fn count(&self, method: &'static str, outcome: &'static str) {
        let call = Call { role: self.role, port: self.port, method, outcome };
        self.ports.calls.get_or_create(&call).inc();
    }

    /// Counts that a job's row says something else now.
    pub(super) fn wrote(&self, status: &'static str) {
        self.ports.writes.get_or_create(&Write { role: self.role, status }).inc();
    }
}

/// A call that goes on. Dropped without an end, as when its caller has gone, it is counted as such.
pub(super) struct Begun<'a> {
    calls: &'a Calls,
    method: &'static str,
    since: Instant,
    outcome: &'static str,
}

impl Begun<'_> {
    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.calls.count(self.method, self.outcome);
        let method = Method { port: self.calls.port, method: self.method };
        self.calls.ports.durations.get_or_create(&method).observe(self.since.elapsed().as_secs_f64());
    }
}

/// A word for an outcome: `ok`, or the error's kind.
pub(super) fn word<T, E: Kind>(outcome: &Result<T, E>) -> &'static str {
    outcome.as_ref().map_or_else(Kind::kind, |_| "ok")
}

/// An error whose kinds have names.
pub(super) trait Kind {
    fn kind(&self) -> &'static str;
}

impl Kind for AuthError {
    fn kind(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::NotFound => "not_found",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}

impl Kind for BlobError {
    fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::AlreadyExists(_) => "already_exists",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::Body(_) => "body",
            Self::Full(_) => "full",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}

impl Kind for JobError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}

impl Kind for QueueError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}

impl Kind for MailError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Deferred { .. } => "deferred",
            Self::Unknown(_) => "unknown",
            Self::Internal(_) => "internal",
            _ => "other",
        }
    }
}

impl Kind for TranscodeError {
    fn kind(&self) -> &'static str {
        self.code()
    }
}
