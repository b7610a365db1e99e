//! What a process tells of itself while it runs: logs, for people or as JSON, one line per event, on standard error; and
//! traces, by OTLP, if the program was built with the feature `otel` and the environment names a collector.

use std::io::IsTerminal;

use tracing::{Subscriber, warn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

use crate::config::{LogFormat, Otel};

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod recorder;

/// What has to be told before the process ends.
#[must_use = "what is not stopped loses the last traces"]
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    traces: Option<export::Traces>,
}

/// Starts logging. `filter` has the syntax of `tracing-subscriber`'s `EnvFilter`: `info`, `microserve=debug,warn`, …
/// A filter that can't be read means `info`. Starting a second time does nothing.
pub(crate) fn start_log(filter: &str, format: LogFormat) {
    install(registry(), filter, format);
}

/// Starts logging as [`start_log`] does, and traces beside it. Call it before there is a runtime: traces have threads of
/// their own, so that they go out however busy that is.
#[cfg(feature = "otel")]
pub(crate) fn start(filter: &str, format: LogFormat) -> Telemetry {
    match Otel::wanted().map(|otel| export::Traces::start(&otel)) {
        Some(Ok(traces)) => {
            // Beside the log's filter: what is logged does not decide what is recorded.
            install(registry().with(traces.recorder().with_filter(recorder::ours())), filter, format);
            return Telemetry { traces: Some(traces) };
        }
        Some(Err(err)) => {
            start_log(filter, format);
            warn!(error = &*err as &dyn std::error::Error, "traces can't be exported");
        }
        None => start_log(filter, format),
    }
    Telemetry { traces: None }
}

/// Starts logging as [`start_log`] does.
#[cfg(not(feature = "otel"))]
pub(crate) fn start(filter: &str, format: LogFormat) -> Telemetry {
    start_log(filter, format);
    if Otel::wanted().is_some() {
        warn!("the environment names a collector of traces, but this program was built without the feature otel");
    }
    Telemetry {}
}

impl Telemetry {
    /// Sends what is left, as far as that takes no more than a moment.
    pub(crate) fn stop(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.stop();
        }
    }
}

fn install<S>(subscriber: S, filter: &str, format: LogFormat)
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = format == LogFormat::Json || (format == LogFormat::Auto && !is_terminal);
    let _already_started = if !is_json {
        subscriber.with(layer.with_target(false).with_ansi(is_terminal).with_filter(filter)).try_init()
    } else {
        let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
        subscriber.with(layer.with_filter(filter)).try_init()
    };
    // A panic is a line like any other. The message may have bytes of a video in it: the place is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "something panicked; a decoder on a damaged video, most likely");
    }));
}
