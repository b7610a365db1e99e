//! The trace that a request, a conversion and a mail belong to, so that whoever looks into the log finds all of it by one
//! id.
//!
//! A [`TraceContext`] is what W3C Trace Context (<https://www.w3.org/TR/trace-context/>) calls `traceparent`: a trace, and a
//! piece of work in it, a *span*. It comes with a request or begins there, is kept with the job, and goes along with the
//! job's messages. A [`Place`] is where a piece of work stands in its trace; its [`Place::of`] is all that a use-case
//! needs. What is written down of spans, and where, is decided outside: here they are spans of `tracing`, with the fields
//! `trace_id`, `span_id` and, if there is one, `parent_id`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::random_bytes;

/// Names a trace: sixteen bytes, not all of them zero.
pub type TraceId = Id<16>;
/// Names a span within its trace: eight bytes, not all of them zero. The standard's `parent-id`.
pub type SpanId = Id<8>;

/// So many bytes, not all of them zero; printed as lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id<const N: usize>([u8; N]);

impl<const N: usize> Id<N> {
    fn random() -> Self {
        let mut bytes = random_bytes();
        if bytes == [0; N] {
            bytes[N - 1] = 1;
        }
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> FromStr for Id<N> {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        match bytes(text.as_bytes()) {
            Ok(bytes) if bytes != [0; N] => Ok(Self(bytes)),
            _ => Err(ParseTraceError),
        }
    }
}

/// A span, and the trace that it is in. As text it is the standard's `traceparent`:
/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whoever sent this may have recorded it. That is passed on, and decides about nothing here: a stranger can claim it
    /// of every request ("Denial of service").
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent as W3C Trace Context has it")]
pub struct ParseTraceError;

impl TraceContext {
    /// The first span of a new trace.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn begin() -> Self {
        // "Sampled flag": whoever begins a trace, and leaves it to others what is recorded, sets it to 0.
        Self { trace: Id::random(), span: Id::random(), sampled: false }
    }

    /// Another span of the same trace.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: Id::random(), ..*self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        // "Versioning of traceparent": a later version has the same first four fields, and perhaps more behind them.
        let mut fields = text.splitn(5, '-');
        let mut field = || fields.next().ok_or(ParseTraceError);
        let ([version], trace, span, [flags]) =
            (bytes(field()?.as_bytes())?, field()?.parse()?, field()?.parse()?, bytes(field()?.as_bytes())?);
        let is_longer = fields.next().is_some();
        if version == 0xff || (version == 0 && is_longer) {
            return Err(ParseTraceError);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Exactly so many bytes, as lower-case hexadecimal characters.
fn bytes<const N: usize>(text: &[u8]) -> Result<[u8; N], ParseTraceError> {
    let mut bytes = [0; N];
    if text.iter().any(u8::is_ascii_uppercase) {
        return Err(ParseTraceError);
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseTraceError)?;
    Ok(bytes)
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a piece of work stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its own span.
    pub here: TraceContext,
    /// The span that has caused it; none if the trace begins here.
    pub parent: Option<SpanId>,
}

impl Place {
    /// The place of new work that was caused by `cause`.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn of(cause: Option<TraceContext>) -> Self {
        match cause {
            Some(cause) => Self { here: cause.child(), parent: Some(cause.span) },
            None => Self { here: TraceContext::begin(), parent: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_is_read_and_written() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span.to_string(), "00f067aa0ba902b7");
        assert!(context.sampled);
        assert_eq!(context.to_string(), EXAMPLE);
        let not_sampled = EXAMPLE.replace("-01", "-00");
        assert_eq!(not_sampled.parse::<TraceContext>().unwrap().to_string(), not_sampled);
    }

    #[test]
    fn a_later_version_is_read_by_its_first_four_fields() {
        for later in
            ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &format!("01{}-what-ever", &EXAMPLE[2..])]
        {
            assert_eq!(later.parse::<TraceContext>().unwrap().to_string(), EXAMPLE, "{later}");
        }
        assert_eq!(format!("fe{}-", &EXAMPLE[2..]).parse::<TraceContext>().unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn of_the_flags_only_the_one_that_is_known_counts() {
        for (flags, kept) in [("03", "01"), ("ff", "01"), ("fe", "00"), ("02", "00")] {
            let read: TraceContext = EXAMPLE.replace("-01", &format!("-{flags}")).parse().unwrap();
            assert!(read.to_string().ends_with(&format!("-{kept}")), "{flags} became {read}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let zeros = |n| "0".repeat(n);
        let hostile = [
            String::new(),
            "-".into(),
            "---".into(),
            "00---".into(),
            "00".into(),
            "-".repeat(10_000),
            "0".repeat(100_000),
            EXAMPLE[..54].into(),
            format!("{EXAMPLE}0"),
            format!("{EXAMPLE}-"),
            format!("{EXAMPLE}-00"),
            format!(" {EXAMPLE}"),
            format!("{EXAMPLE} "),
            format!("{EXAMPLE}\n"),
            format!("{EXAMPLE},{EXAMPLE}"),
            EXAMPLE.replacen("00-", "ff-", 1),
            EXAMPLE.replacen("00-", "0-", 1),
            EXAMPLE.replacen("00-", "000-", 1),
            EXAMPLE.replacen("00-", "FE-", 1),
            EXAMPLE.replacen("00-", "cc-", 1) + "x",
            EXAMPLE.replacen("00-", "cc-", 1).replace("-01", "-0"),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace("4bf9", "4Bf9"),
            EXAMPLE.replace("00f0", "00F0"),
            EXAMPLE.replace("-01", "-0A"),
            EXAMPLE.replace("4bf9", "4bg9"),
            EXAMPLE.replace("4bf9", "4bé"),
            EXAMPLE.replace("-01", "-+1"),
            EXAMPLE.replace("00f0", "00f-"),
            format!("00-{}-00f067aa0ba902b7-01", zeros(32)),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", zeros(16)),
            format!("00-{}-{}-01", "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ];
        for text in hostile {
            assert_eq!(text.parse::<TraceContext>(), Err(ParseTraceError), "{text:?}");
        }
    }

    #[test]
    fn work_is_in_the_trace_of_its_cause_and_begins_one_without() {
        let cause: TraceContext = EXAMPLE.parse().unwrap();
        let Place { here, parent } = Place::of(Some(cause));
        assert_eq!((here.trace, parent, here.sampled), (cause.trace, Some(cause.span), true));
        assert_ne!(here.span, cause.span);
        let (first, other) = (Place::of(None), Place::of(None));
        assert_eq!((first.parent, first.here.sampled), (None, false));
        assert_ne!(first.here.trace, other.here.trace);
        assert_eq!(first.here.to_string().parse(), Ok(first.here));
    }
}
