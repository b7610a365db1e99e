//! What the URL says.

use std::net::IpAddr;
use std::path::PathBuf;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use microserve_core::BoxError;
use microserve_core::open::SecretUrl;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Where the server is, and how to talk to it.
pub(crate) struct Settings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) hello: ClientId,
    /// The server is on this machine.
    pub(crate) loopback: bool,
}

/// When the conversation is encrypted.
pub(crate) enum Tls {
    Never,
    /// After `STARTTLS`, without which nothing is said.
    Upgraded(TlsParameters),
    /// From the first byte.
    Always(TlsParameters),
}

impl Settings {
    pub(crate) fn parse(url: &SecretUrl) -> Result<Self, SettingsError> {
        let url = url.expose_url().ok_or(SettingsError::Url)?;
        let host = url.host().ok_or(SettingsError::NoHost)?;
        let (loopback, host) = (is_loopback(&host), host.to_string());
        let query = Query::parse(&url)?;
        let wanted = match (url.scheme(), query.tls.as_deref()) {
            ("smtps", None) => Wanted::Always,
            ("smtps", Some(_)) => return Err(SettingsError::Contradiction),
            ("smtp", Some("none")) => Wanted::Never,
            ("smtp", Some("starttls")) => Wanted::Upgraded,
            ("smtp", Some(_)) => return Err(SettingsError::UnknownTls),
            ("smtp", None) if loopback => Wanted::Never,
            ("smtp", None) => Wanted::Upgraded,
            _ => return Err(SettingsError::Url),
        };
        let credentials = credentials(&url)?;
        if credentials.is_some() && !loopback && matches!(wanted, Wanted::Never) {
            return Err(SettingsError::PasswordInTheOpen);
        }
        let default_port = if let Wanted::Always = wanted { 465 } else { 587 };
        let parameters = || tls_parameters(&host, query.ca.as_ref());
        let tls = match wanted {
            Wanted::Never => Tls::Never,
            Wanted::Upgraded => Tls::Upgraded(parameters()?),
            Wanted::Always => Tls::Always(parameters()?),
        };
        let hello = query.hello.map_or_else(ClientId::default, ClientId::Domain);
        Ok(Self { port: url.port().unwrap_or(default_port), host, tls, credentials, hello, loopback })
    }
}

enum Wanted {
    Never,
    Upgraded,
    Always,
}

#[derive(Default)]
struct Query {
    tls: Option<String>,
    ca: Option<PathBuf>,
    hello: Option<String>,
}

impl Query {
    fn parse(url: &Url) -> Result<Self, SettingsError> {
        let mut query = Self::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "tls" => query.tls = Some(value.into_owned()),
                "ca" => query.ca = Some(PathBuf::from(value.into_owned())),
                "hello" if !value.chars().any(|c| c.is_control() || c.is_whitespace()) => {
                    query.hello = Some(value.into_owned());
                }
                _ => return Err(SettingsError::UnknownParameter(name.into_owned())),
            }
        }
        Ok(query)
    }
}

/// URLs of schemes that the web does not know keep an IPv4 address as a name (URL standard, "host parser").
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, SettingsError> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) if !user.is_empty() => {
            let (user, password) = (decode(user), decode(password));
            let (Ok(user), Ok(password)) = (user, password) else { return Err(SettingsError::Credentials) };
            Ok(Some(Credentials::new(user, password)))
        }
        _ => Err(SettingsError::Credentials),
    }
}

fn tls_parameters(host: &str, ca: Option<&PathBuf>) -> Result<TlsParameters, SettingsError> {
    // An IPv6 address stands in brackets in a URL, and without them in a certificate.
    let mut builder = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
    if let Some(path) = ca {
        let unreadable = |err: BoxError| SettingsError::Authority { path: path.clone(), source: err };
        let pem = std::fs::read(path).map_err(|err| unreadable(err.into()))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|err| unreadable(err.into()))?);
    }
    builder.build_rustls().map_err(|err| SettingsError::Tls(err.into()))
}

/// The URL says something that can't be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Not of the right form.
    #[error("not a URL of the form smtp://USER:PASSWORD@HOST:PORT")]
    Url,
    /// It names no server.
    #[error("the URL names no host")]
    NoHost,
    /// User or password is missing, or not UTF-8 when decoded.
    #[error("give both user and password, percent-encoded, or neither")]
    Credentials,
    /// A parameter that there is not.
    #[error("there is no parameter {0:?}: there are tls, ca and hello")]
    UnknownParameter(String),
    /// A value of `tls` that there is not.
    #[error("tls is none or starttls")]
    UnknownTls,
    /// `smtps` is TLS already.
    #[error("smtps is encrypted from the first byte: leave tls out, or write smtp")]
    Contradiction,
    /// A password would be readable to everybody on the way.
    #[error("without TLS the password could be read on its way: leave tls=none out, or the password")]
    PasswordInTheOpen,
    /// The certificate authority can't be read.
    #[error("can't read the certificate authority {}", .path.display())]
    Authority {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: BoxError,
    },
    /// TLS can't be set up.
    #[error("can't set up TLS")]
    Tls(#[source] BoxError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Settings, SettingsError> {
        Settings::parse(&url.parse().unwrap())
    }

    #[test]
    fn tls_is_the_default_but_on_the_loopback_address() {
        let settings = parse("smtp://anna%40example.com:p%3Aw@mail.example.com").unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("mail.example.com", 587));
        assert!(matches!(settings.tls, Tls::Upgraded(_)) && settings.credentials.is_some());
        assert!(matches!(parse("smtps://mail.example.com").unwrap(), Settings { port: 465, tls: Tls::Always(_), .. }));
        for local in ["smtp://127.0.0.1:2525", "smtp://localhost:25", "smtp://[::1]:25", "smtp://a:b@127.8.0.1"] {
            assert!(matches!(parse(local).unwrap().tls, Tls::Never), "{local}");
        }
        assert!(matches!(parse("smtp://127.0.0.1:25?tls=starttls").unwrap().tls, Tls::Upgraded(_)));
        assert!(matches!(parse("smtp://relay.example.com:25?tls=none").unwrap().tls, Tls::Never));
    }

    #[test]
    fn what_can_not_be_is_refused_and_tells_no_password() {
        for bad in [
            "smtp:mail",
            "smtp://anna@mail.example.com",
            "smtp://:secret@mail.example.com",
            "smtp://anna:secret@mail.example.com?tls=none",
            "smtp://mail.example.com?tls=perhaps",
            "smtps://mail.example.com?tls=none",
            "smtp://mail.example.com?timeout=5",
            "smtp://mail.example.com?ca=/nowhere/ca.pem",
            "smtp://anna:%ff@mail.example.com",
        ] {
            let Err(err) = parse(bad) else { panic!("{bad} was taken") };
            assert!(!format!("{err} {err:?}").contains("secret"), "{err:?}");
        }
    }
}
