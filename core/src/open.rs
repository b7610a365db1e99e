//! Adapters are opened by URL: the scheme picks one, the rest tells it where.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::{Position, Url};

/// A URL that may hold a password: printing it never shows one.
#[derive(Clone)]
pub struct SecretUrl {
    whole: SecretString,
    scheme: String,
}

impl SecretUrl {
    /// What stands before the first colon, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The URL with its password: for the adapter that connects, and for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.whole.expose_secret()
    }

    /// The URL with its password; none if it has several hosts with ports, which only databases' drivers can read.
    #[must_use]
    pub fn expose_url(&self) -> Option<Url> {
        Url::parse(self.expose()).ok()
    }
}

impl FromStr for SecretUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(&split_hosts(text).0).map_err(|_| ParseUrlError)?;
        Ok(Self { whole: SecretString::from(text.to_owned()), scheme: url.scheme().to_owned() })
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, others) = split_hosts(self.expose());
        let Ok(mut url) = Url::parse(&first) else { return f.write_str("…") };
        // Its slashes were forgotten: what looks like a scheme is a user, perhaps, and what follows is a password.
        if url.cannot_be_a_base() && url.path().contains('@') {
            return f.write_str("…");
        }
        if url.password().is_some() && url.set_password(Some("…")).is_err() {
            return write!(f, "{}:…", self.scheme);
        }
        // Queries hold secrets too (tokens, passwords of key files).
        if url.query().is_some() {
            url.set_query(Some("…"));
        }
        let shown = format!("{}{others}{}", &url[..Position::AfterPort], &url[Position::AfterPort..]);
        f.write_str(&shown.replace("%E2%80%A6", "…"))
    }
}

/// The URL with the first of its hosts, and `,host:port,…` of the others. A list of hosts is no URL by the letter
/// (RFC 3986 §3.2), but how a replica set is named.
fn split_hosts(text: &str) -> (String, &str) {
    let begin = text.find("://").map_or(text.len(), |at| at + 3);
    let authority = text[begin..].split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rfind('@').map_or(authority, |at| &authority[at + 1..]);
    let others = hosts.find(',').map_or("", |at| &hosts[at..]);
    let end = begin + authority.len();
    (format!("{}{}", &text[..end - others.len()], &text[end..]), others)
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL of the form scheme://…")]
pub struct ParseUrlError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_a_url_and_hide_their_password_too() {
        let url: SecretUrl = "mongodb://anna:hunter2@a.example:1,b:2/x?prefix=abc".parse().unwrap();
        assert_eq!(url.to_string(), "mongodb://anna:…@a.example:1,b:2/x?…");
        for text in ["mongodb://a,b:2,[::1]:3", "mongodb://a:1,b", "file:///a,b/c,d"] {
            assert_eq!(text.parse::<SecretUrl>().unwrap().to_string(), text);
        }
        assert!("mongodb://a:x,b:2".parse::<SecretUrl>().is_err());
    }

    #[test]
    fn passwords_are_never_printed() {
        let url: SecretUrl = "amqp://anna:hunter2@broker:5672/%2f?token=abc".parse().unwrap();
        assert_eq!(url.scheme(), "amqp");
        for shown in [format!("{url}"), format!("{url:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("abc"), "{shown}");
            assert!(shown.contains("broker:5672"), "{shown}");
        }
        assert!(url.expose().contains("hunter2"));
        assert_eq!("anna:hunter2@broker/x".parse::<SecretUrl>().unwrap().to_string(), "…");
        assert_eq!("native:".parse::<SecretUrl>().unwrap().to_string(), "native:");
    }
}
