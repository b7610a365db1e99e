//! Traces on their way to a collector: in batches, by OTLP over HTTP, from a thread of their own.
//!
//! The library of OpenTelemetry does that, with a bounded queue: when the collector is slow or gone, spans are dropped.
//! Nothing else waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use microserve_core::BoxError;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Config, SpanData, SpanExporter, SpanProcessor};
use reqwest::blocking::Client;
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tracing::{debug, info, warn};

use super::recorder::Recorder;
use crate::config::Otel;

/// The end of the process waits no longer for the last batch.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// As long as nothing can be exported, that is said this often.
const REMIND: Duration = Duration::from_secs(600);

const SERVICE_NAME: Key = Key::from_static_str("service.name");
/// Before the program's name, where the library knows no better.
const UNKNOWN: &str = "unknown_service:";

/// Exports until it is stopped.
pub(crate) struct Traces {
    processor: Arc<BatchSpanProcessor>,
}

impl Traces {
    /// Starts the thread. Nothing is sent yet.
    ///
    /// # Errors
    /// When a variable says what is not possible, or TLS can't be set up.
    pub(crate) fn start(otel: &Otel) -> Result<Self, BoxError> {
        let exporter =
            opentelemetry_otlp::SpanExporter::builder().with_http().with_http_client(client(otel)?).build()?;
        let mut processor = BatchSpanProcessor::builder(Watched::new(exporter)).build();
        processor.set_resource(&resource());
        Ok(Self { processor: Arc::new(processor) })
    }

    /// What notes the spans, as far as the sampler that the environment names wants them.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder::new(Arc::clone(&self.processor), Config::default().sampler)
    }

    pub(crate) fn stop(self) {
        if let Err(err) = self.processor.shutdown_with_timeout(LAST_MOMENT) {
            debug!(error = &err as &dyn std::error::Error, "the last traces were not exported");
        }
    }
}

/// Who exports: what the environment says, or else the program's name.
fn resource() -> Resource {
    let told = Resource::builder().build();
    let name = told.get(&SERVICE_NAME).map(|name| name.to_string()).unwrap_or_default();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match name.strip_prefix(UNKNOWN) {
        Some(program) => resource.with_service_name(program.to_owned()).build(),
        None => resource.build(),
    }
}

/// The authorities are in the program, as for everything else that it calls: its image has no others.
fn client(otel: &Otel) -> Result<Client, BoxError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &otel.certificate {
        let unusable = |err: &dyn std::fmt::Display| format!("can't use the certificates in {}: {err}", file.display());
        roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|err| unusable(&err))? {
            roots.add(certificate.map_err(|err| unusable(&err))?).map_err(|err| unusable(&err))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let client = Client::builder().timeout(otel.timeout).redirect(redirect::Policy::none());
    Ok(client.tls_backend_preconfigured(tls).build()?)
}

/// An exporter that says when it can't export, and when it can again: once, and then now and then.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    trouble: Mutex<Option<Trouble>>,
}

/// Nothing can be exported.
#[derive(Debug)]
struct Trouble {
    /// When that was last said.
    said: Instant,
    /// What was lost since the first time.
    spans: usize,
}

impl<E> Watched<E> {
    fn new(exporter: E) -> Self {
        Self { exporter, trouble: Mutex::new(None) }
    }

    fn watch(&self, outcome: &OTelSdkResult, spans: usize, now: Instant) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(err) = outcome else {
            if let Some(Trouble { spans, .. }) = trouble.take() {
                info!(lost = spans, "traces are exported again");
            }
            return;
        };
        let before = trouble.take();
        let lost = before.as_ref().map_or(0, |before| before.spans).saturating_add(spans);
        let recently = before.map(|before| before.said).filter(|said| now.duration_since(*said) < REMIND);
        if recently.is_none() {
            warn!(error = err as &dyn std::error::Error, lost, "traces can't be exported; everything else goes on");
        }
        *trouble = Some(Trouble { said: recently.unwrap_or(now), spans: lost });
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        self.watch(&outcome, spans, Instant::now());
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
