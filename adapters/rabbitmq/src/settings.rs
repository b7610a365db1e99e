//! What the URL says.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use microserve_core::BoxError;
use microserve_core::open::SecretUrl;
use percent_encoding::percent_decode_str;
use url::Url;

/// How long to wait for an answer, unless the URL says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often, in seconds, both ends say that they live: after twice this time without a word the connection is given up.
const HEARTBEAT: u16 = 10;

/// Where the broker is, and how to talk to it.
pub(crate) struct Settings {
    /// Holds the password: never to be printed.
    pub(crate) uri: AMQPUri,
    pub(crate) tls: OwnedTLSConfig,
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) fn parse(url: &SecretUrl) -> Result<Self, SettingsError> {
        let url = url.expose_url().ok_or(SettingsError::Url)?;
        let (scheme, default_port) = match url.scheme() {
            "amqp" => (AMQPScheme::AMQP, 5672),
            "amqps" => (AMQPScheme::AMQPS, 5671),
            _ => return Err(SettingsError::Url),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SettingsError::NoHost)?;
        let query = Query::parse(&url)?;
        if query.ca.is_some() && scheme == AMQPScheme::AMQP {
            return Err(SettingsError::NoTls);
        }
        match (&scheme, query.tls) {
            (AMQPScheme::AMQPS, Some(false)) | (AMQPScheme::AMQP, Some(true)) => {
                return Err(SettingsError::Contradiction);
            }
            (AMQPScheme::AMQP, None) if !is_loopback(host) => return Err(SettingsError::PasswordInTheOpen),
            _ => {}
        }
        let authority = AMQPAuthority {
            userinfo: user(&url)?,
            // An IPv6 address stands in brackets in a URL, and without them in a certificate.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(default_port),
        };
        let heartbeat = Some(query.heartbeat.unwrap_or(HEARTBEAT));
        let uri = AMQPUri {
            scheme,
            authority,
            vhost: vhost(&url)?,
            query: AMQPQueryString { heartbeat, ..AMQPQueryString::default() },
        };
        let tls = OwnedTLSConfig { identity: None, cert_chain: query.ca.map(read).transpose()? };
        Ok(Self { uri, tls, timeout: query.timeout.unwrap_or(TIMEOUT) })
    }
}

#[derive(Default)]
struct Query {
    ca: Option<PathBuf>,
    tls: Option<bool>,
    heartbeat: Option<u16>,
    timeout: Option<Duration>,
}

impl Query {
    fn parse(url: &Url) -> Result<Self, SettingsError> {
        let mut query = Self::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "ca" => query.ca = Some(PathBuf::from(value.into_owned())),
                "tls" => query.tls = Some(value.parse().map_err(|_| SettingsError::Tls)?),
                "heartbeat" => query.heartbeat = Some(seconds("heartbeat", &value)?),
                "timeout" => query.timeout = Some(Duration::from_secs(seconds("timeout", &value)?.into())),
                _ => return Err(SettingsError::UnknownParameter(name.into_owned())),
            }
        }
        Ok(query)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn seconds(name: &'static str, value: &str) -> Result<u16, SettingsError> {
    value.parse().ok().filter(|seconds| (1..=600).contains(seconds)).ok_or(SettingsError::Seconds(name))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// Without any it is the user whom a fresh broker lets in from its own machine.
fn user(url: &Url) -> Result<AMQPUserInfo, SettingsError> {
    let (username, password) = match (url.username(), url.password()) {
        ("", None) => ("guest", "guest"),
        (user, Some(password)) if !user.is_empty() => (user, password),
        _ => return Err(SettingsError::Credentials),
    };
    let (username, password) = decode(username).zip(decode(password)).ok_or(SettingsError::Credentials)?;
    Ok(AMQPUserInfo { username, password })
}

fn vhost(url: &Url) -> Result<String, SettingsError> {
    match url.path().trim_start_matches('/') {
        "" => Ok("/".to_owned()),
        name if name.contains('/') => Err(SettingsError::VirtualHost),
        // Names in AMQP are no longer (section 4.2.5.3, short strings).
        name => decode(name).filter(|name| name.len() <= 255).ok_or(SettingsError::VirtualHost),
    }
}

fn read(path: PathBuf) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|err| SettingsError::Authority { path: path.clone(), source: err.into() })?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(text);
    }
    Err(SettingsError::Authority { path, source: "it holds no certificate in PEM".into() })
}

/// The URL says something that can't be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Not of the right form.
    #[error("not a URL of the form amqp://USER:PASSWORD@HOST:PORT/VHOST")]
    Url,
    /// It names no broker.
    #[error("the URL names no host")]
    NoHost,
    /// User or password is missing, or not UTF-8 when decoded.
    #[error("give both user and password, percent-encoded, or neither")]
    Credentials,
    /// The path is no virtual host's name.
    #[error("what follows the host is no virtual host: write it percent-encoded, / as %2f")]
    VirtualHost,
    /// A number of seconds that can't be.
    #[error("{0} is a number of seconds, from 1 to 600")]
    Seconds(&'static str),
    /// An authority, and nothing to verify.
    #[error("without TLS no certificate is verified: with ?ca= the scheme is amqps")]
    NoTls,
    /// Neither true nor false.
    #[error("write tls=false, or leave it out")]
    Tls,
    /// The scheme and `tls` say different things.
    #[error("amqps is with TLS and amqp without: leave tls out, or change the scheme")]
    Contradiction,
    /// Everybody on the way could read along.
    #[error("the password would travel unencrypted: write amqps://, or add ?tls=false where nobody listens")]
    PasswordInTheOpen,
    /// A parameter that there is not.
    #[error("there is no parameter {0:?}; there are ca, heartbeat, timeout and tls")]
    UnknownParameter(String),
    /// The authority's certificate can't be used.
    #[error("can't use the certificate in {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Settings, SettingsError> {
        Settings::parse(&url.parse().unwrap())
    }

    #[test]
    fn a_url_says_where_the_broker_is() {
        for (url, user, host, port, vhost) in [
            ("amqp://localhost", "guest", "localhost", 5672, "/"),
            ("amqp://127.0.0.1/", "guest", "127.0.0.1", 5672, "/"),
            ("amqps://anna%40x:p%3Aw@[::1]/%2f", "anna@x", "::1", 5671, "/"),
            ("amqp://anna:pw@10.0.0.1:1/vid%2feo?tls=false", "anna", "10.0.0.1", 1, "vid/eo"),
        ] {
            let AMQPUri { authority, vhost: at, .. } = parse(url).unwrap().uri;
            let found = (&*authority.userinfo.username, &*authority.host, authority.port, &*at);
            assert_eq!(found, (user, host, port, vhost), "{url}");
        }
        let settings = parse("amqps://broker?timeout=2&heartbeat=30").unwrap();
        assert_eq!((settings.timeout, settings.uri.query.heartbeat), (Duration::from_secs(2), Some(30)));
    }

    #[test]
    fn what_can_not_be_is_refused_and_tells_no_password() {
        for bad in [
            "amqp:broker",
            "amqp:///vhost",
            "http://broker",
            "amqp://anna@broker",
            "amqp://:secret@broker",
            "amqp://anna:%ff@broker",
            "amqp://anna:secret@[::1]/a/b",
            "amqp://anna:secret@localhost/%ff",
            "amqp://anna:secret@localhost?timeout=0",
            "amqp://anna:secret@localhost?timeout=5s",
            "amqp://anna:secret@localhost?heartbeat=601",
            "amqp://anna:secret@localhost?confirm=5",
            "amqp://anna:secret@localhost?ca=/nowhere/ca.pem",
            "amqp://anna:secret@broker",
            "amqp://anna:secret@broker?tls=no",
            "amqp://anna:secret@broker?tls=true",
            "amqps://anna:secret@broker?tls=false",
            "amqps://anna:secret@broker?ca=/nowhere/ca.pem",
        ] {
            let Err(err) = parse(bad) else { panic!("{bad} was taken") };
            assert!(!format!("{err} {err:?}").contains("secret"), "{err:?}");
        }
    }
}
