//! Logs: for people or as JSON, one line per event, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Starts logging. `filter` has the syntax of `tracing-subscriber`'s `EnvFilter`: `info`, `microserve=debug,warn`, …
/// A filter that can't be read means `info`. Starting a second time does nothing.
pub(crate) fn start(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = format == LogFormat::Json || (format == LogFormat::Auto && !is_terminal);
    let _already_started = if !is_json {
        registry.with(layer.with_target(false).with_ansi(is_terminal)).try_init()
    } else {
        registry.with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)).try_init()
    };
    // A panic is a line like any other. The message may have bytes of a video in it: the place is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "something panicked; a decoder on a damaged video, most likely");
    }));
}
