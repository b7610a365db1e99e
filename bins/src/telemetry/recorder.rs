//! Spans as OpenTelemetry has them: of requests, conversions and mails, and of nothing else.
//!
//! Their ids are those of the log, which the core and the gateway have made; so is the tree. Only fields that are named
//! here leave the process: words and numbers of the program's own, and ids of jobs.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use microserve_core::{Clock, SystemClock};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Asked by machines every few seconds; nobody looks for them in a trace.
const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/version"];
/// Whoever sends another method may have made it up.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const METHOD: &str = "http.request.method";
const ROUTE: &str = "http.route";
const STATUS: &str = "http.response.status_code";
const OUTCOME: &str = "microserve.outcome";

/// The spans that are recorded.
pub(crate) fn ours() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let ours: fn(&Metadata<'_>) -> bool = |metadata| {
        metadata.is_span()
            && metadata.target().starts_with("microserve_")
            && metadata.fields().field("span_id").is_some()
    };
    filter_fn(ours).with_max_level_hint(LevelFilter::INFO)
}

/// Notes spans, and hands them on when they have ended.
pub(crate) struct Recorder {
    processor: Arc<BatchSpanProcessor>,
    sampler: Box<dyn ShouldSample>,
    scope: InstrumentationScope,
}

/// A span that has not ended.
struct Open {
    name: &'static str,
    began: SystemTime,
    fields: Fields,
}

impl Recorder {
    pub(crate) fn new(processor: Arc<BatchSpanProcessor>, sampler: Box<dyn ShouldSample>) -> Self {
        let scope = InstrumentationScope::builder("microserve").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { processor, sampler, scope }
    }

    /// Whether a span is recorded.
    ///
    /// A sampler decides by the trace's id and by the caller's word, and a stranger chooses both. So it gets an id of our
    /// own instead, and no caller: that of the request's span, which its job's conversions and mail name as their parent.
    /// All of them come to the same decision by that, wherever they run.
    fn is_sampled(&self, name: &str, kind: &SpanKind, fields: &Fields) -> bool {
        let ours = if name == "request" { fields.span } else { fields.parent.or(fields.span) };
        let Some(ours) = ours.map(SpanId::to_bytes) else { return false };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&ours);
        id[8..].copy_from_slice(&ours);
        let sampled = self.sampler.should_sample(None, TraceId::from_bytes(id), name, kind, &fields.attributes, &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    fn ended(&self, open: Open) -> Option<SpanData> {
        let Open { name, began, fields } = open;
        let context = SpanContext::new(fields.trace?, fields.span?, TraceFlags::SAMPLED, false, TraceState::default());
        Some(SpanData {
            span_context: context,
            parent_span_id: fields.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: fields.parent.is_some(),
            span_kind: kind(name),
            name: fields.title(name).into(),
            start_time: began,
            end_time: SystemClock.now().into(),
            status: fields.status(),
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            instrumentation_scope: self.scope.clone(),
        })
    }
}

/// Requests are served, conversions and mails are what becomes of messages.
fn kind(name: &str) -> SpanKind {
    if name == "request" { SpanKind::Server } else { SpanKind::Consumer }
}

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let (name, mut fields) = (attributes.metadata().name(), Fields::default());
        attributes.record(&mut fields);
        let is_health = fields.text(ROUTE).is_some_and(|route| HEALTH.contains(&&*route));
        if is_health || !self.is_sampled(name, &kind(name), &fields) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        span.extensions_mut().insert(Open { name, began: SystemClock.now().into(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        if let Some(ended) = open.and_then(|open| self.ended(open)) {
            self.processor.on_end(ended);
        }
    }
}

/// What a span's fields say.
#[derive(Default)]
struct Fields {
    trace: Option<TraceId>,
    span: Option<SpanId>,
    parent: Option<SpanId>,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.retain(|attribute| attribute.key.as_str() != key);
        self.attributes.push(KeyValue::new(key, value));
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(ToString::to_string)
    }

    /// What people see in a list of spans: of a request its method and route (Semantic Conventions, "HTTP spans").
    fn title(&self, name: &'static str) -> String {
        if name != "request" {
            return name.to_owned();
        }
        let method = self.text(METHOD).filter(|method| method != "_OTHER").unwrap_or_else(|| "HTTP".to_owned());
        self.text(ROUTE).map(|route| format!("{method} {route}")).unwrap_or(method)
    }

    /// A request that is refused is none of our errors; a conversion that fails is.
    fn status(&self) -> Status {
        let is_error = match (self.get(STATUS), self.text(OUTCOME).as_deref()) {
            (Some(Value::I64(status)), _) => *status >= 500,
            (_, Some("failed" | "retry" | "refused" | "deferred" | "unknown")) => true,
            _ => false,
        };
        if is_error { Status::error("") } else { Status::Unset }
    }

    fn set(&mut self, field: &Field, text: &str) {
        match field.name() {
            "trace_id" => self.trace = TraceId::from_hex(text).ok(),
            "span_id" => self.span = SpanId::from_hex(text).ok(),
            "parent_id" => self.parent = SpanId::from_hex(text).ok(),
            "http.method" => self.put(METHOD, METHODS.into_iter().find(|known| *known == text).unwrap_or("_OTHER")),
            "http.route" if text != "none" => self.put(ROUTE, text.to_owned()),
            "job.id" => self.put("microserve.job.id", text.to_owned()),
            "outcome" => self.put(OUTCOME, text.to_owned()),
            "code" => self.put("error.type", text.to_owned()),
            _ => {}
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match field.name() {
            "http.status" => self.put(STATUS, value),
            "attempt" => self.put("microserve.attempt", value),
            _ => {}
        }
    }
}
