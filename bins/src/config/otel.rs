//! Where traces go: the standard variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). What is not read here, its library reads itself.

use std::path::PathBuf;
use std::time::Duration;

/// What stands behind the prefix of each variable: that for traces alone comes before that for everything.
const SCOPES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];

/// Traces are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "otel"), allow(dead_code, reason = "only said not to be possible then"))]
pub(crate) struct Otel {
    /// PEM with the authorities that sign the collector's certificate, if they are not those that browsers know.
    pub(crate) certificate: Option<PathBuf>,
    /// How long the collector has to answer.
    pub(crate) timeout: Duration,
}

impl Otel {
    /// What the environment says; nothing, unless it names a collector.
    pub(crate) fn wanted() -> Option<Self> {
        #[allow(clippy::disallowed_methods, reason = "this is where configuration is read")]
        Self::told(|name| std::env::var(name).ok())
    }

    fn told(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        // A variable that is empty is one that is not set.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let of = |name: &str| SCOPES.iter().find_map(|scope| variable(&format!("{scope}{name}")));
        of("ENDPOINT").filter(|_| !is_off)?;
        let millis = of("TIMEOUT").and_then(|millis| millis.parse().ok()).unwrap_or(10_000);
        Some(Self { certificate: of("CERTIFICATE").map(PathBuf::from), timeout: Duration::from_millis(millis) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_wanted_when_a_collector_is_named() {
        let told = |pairs: &[(&str, &str)]| {
            Otel::told(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        let plain = Otel { certificate: None, timeout: Duration::from_secs(10) };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(told(&[endpoint]), Some(plain.clone()));
        assert_eq!(told(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces")]), Some(plain.clone()));
        assert_eq!(told(&[endpoint, ("OTEL_SDK_DISABLED", "True")]), None);
        assert_eq!(told(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(told(&[endpoint, ("OTEL_TRACES_EXPORTER", "otlp")]), Some(plain.clone()));
        assert_eq!(told(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]), Some(plain));
        let more = [("OTEL_EXPORTER_OTLP_TIMEOUT", "1"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500")];
        let more = [&more[..], &[endpoint, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")]].concat();
        let expected = Otel { certificate: Some("/ca.pem".into()), timeout: Duration::from_millis(2500) };
        assert_eq!(told(&more), Some(expected));
    }
}
