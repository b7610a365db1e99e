//! Adapters are opened by URL: the scheme picks one, the rest tells it where.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

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

    /// The URL with its password.
    #[must_use]
    pub fn expose_url(&self) -> Option<Url> {
        Url::parse(self.expose()).ok()
    }
}

impl FromStr for SecretUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| ParseUrlError)?;
        Ok(Self { whole: SecretString::from(text.to_owned()), scheme: url.scheme().to_owned() })
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut url) = self.expose_url() else { return f.write_str("…") };
        if url.password().is_some() && url.set_password(Some("…")).is_err() {
            return write!(f, "{}:…", self.scheme);
        }
        // Queries hold secrets too (tokens, passwords of key files).
        if url.query().is_some() {
            url.set_query(Some("…"));
        }
        write!(f, "{}", url.as_str().replace("%E2%80%A6", "…"))
    }
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
    fn passwords_are_never_printed() {
        let url: SecretUrl = "amqp://anna:hunter2@broker:5672/%2f?token=abc".parse().unwrap();
        assert_eq!(url.scheme(), "amqp");
        for shown in [format!("{url}"), format!("{url:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("abc"), "{shown}");
            assert!(shown.contains("broker:5672"), "{shown}");
        }
        assert!(url.expose().contains("hunter2"));
    }
}
