//! Conversions and mails, counted.

use std::ops::ControlFlow;
use std::time::Instant;

use async_trait::async_trait;
use microserve_core::mail::{Accepted, Mail, MailError, Mailer};
use microserve_core::transcode::{Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Outcome;
use super::ports::{Measured, word};

/// Seconds, up to a film on a slow machine.
const SECONDS: [f64; 11] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0];
/// Seconds of sound in a second; below 1 is slower than it plays.
const SPEEDS: [f64; 9] = [1.0, 3.0, 10.0, 30.0, 60.0, 100.0, 200.0, 500.0, 1000.0];

type Timed = Family<Outcome, Histogram, fn() -> Histogram>;

/// What is counted of conversions: each attempt is one.
#[derive(Clone)]
pub(super) struct Conversions {
    ended: Family<Outcome, Counter>,
    durations: Timed,
    speeds: Histogram,
    sound: Counter<f64, std::sync::atomic::AtomicU64>,
    running: Gauge,
}

impl Conversions {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let conversions = Self {
            ended: Family::default(),
            durations: Timed::new_with_constructor(|| Histogram::new(SECONDS)),
            speeds: Histogram::new(SPEEDS),
            sound: Counter::default(),
            running: Gauge::default(),
        };
        let Self { ended, durations, speeds, sound, running } = conversions.clone();
        registry.register("conversions", "Attempts at a conversion: ok, or the code of what went wrong", ended);
        registry.register("conversion_duration_seconds", "How long attempts at a conversion take", durations);
        registry.register("conversion_speed_ratio", "Seconds of sound that are converted in a second", speeds);
        registry.register("converted_sound_seconds", "Seconds of sound that were converted", sound);
        registry.register("conversions_running", "Conversions that go on right now", running);
        conversions
    }

    fn ended(&self, outcome: &Result<Transcoded, TranscodeError>, took: f64) {
        let label = Outcome { outcome: word(outcome) };
        self.ended.get_or_create(&label).inc();
        self.durations.get_or_create(&label).observe(took);
        let Ok(transcoded) = outcome else { return };
        let sound = transcoded.duration();
        self.sound.inc_by(sound);
        if took > 0.0 {
            self.speeds.observe(sound / took);
        }
    }
}

/// A conversion that goes on, until it is dropped: also when the transcoder panics.
struct Running<'a>(&'a Gauge);

impl<'a> Running<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: Transcoder + ?Sized> Transcoder for Measured<P> {
    fn glance(&self, head: &[u8]) -> Option<TranscodeError> {
        let begun = self.calls.begin("glance");
        let problem = self.inner.glance(head);
        begun.end(problem.as_ref().map_or("ok", TranscodeError::code));
        problem
    }

    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        let begun = self.calls.begin("probe");
        let outcome = self.inner.probe(source);
        begun.end(word(&outcome));
        outcome
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let conversions = &self.calls.ports.conversions;
        let (begun, since, running) =
            (self.calls.begin("transcode"), Instant::now(), Running::new(&conversions.running));
        let outcome = self.inner.transcode(source, sink, options, progress);
        drop(running);
        begun.end(word(&outcome));
        conversions.ended(&outcome, since.elapsed().as_secs_f64());
        outcome
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: Mailer + ?Sized> Mailer for Measured<P> {
    async fn send(&self, mail: &Mail) -> Result<Accepted, MailError> {
        let outcome = self.calls.run("send", self.inner.send(mail)).await;
        self.calls.ports.mails.get_or_create(&Outcome { outcome: word(&outcome) }).inc();
        outcome
    }

    async fn ping(&self) -> Result<(), MailError> {
        self.calls.run("ping", self.inner.ping()).await
    }
}
