//! What the client is told: which server, who calls, and where it keeps what it has to remember.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use secrecy::SecretString;
use url::{Host, Url};

/// Which server is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Peer {
    /// The server's address, such as https://mp3converter.com, or http://127.0.0.1:8080 on this machine [default: the
    /// one that was last logged in to].
    #[arg(long, env = "MICROSERVE_SERVER", value_name = "ADDRESS")]
    pub(crate) server: Option<Address>,

    /// Send password, token and files without TLS to another machine: whoever is on the way can read them. `login`
    /// remembers it for this server.
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// Which server is meant, and who calls.
#[derive(Args, Clone, Debug)]
pub(crate) struct Client {
    #[command(flatten)]
    pub(crate) peer: Peer,

    /// A token or an API key to call with instead of the token of `login`, for machines. Give it by the environment, or as
    /// a file that MICROSERVE_TOKEN_FILE names: others can see a command line.
    #[arg(long, env = "MICROSERVE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    pub(crate) token: Option<SecretString>,
}

/// What nobody else is to see.
pub(super) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text.to_owned()))
}

/// A server's address: `http` or `https`, a host, perhaps a port and a path below which it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Url);

/// A text is not an address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("write the server's address as https://HOST or http://127.0.0.1:PORT, without a user and a query")]
pub(crate) struct AddressError;

impl Address {
    /// What lies at a path below it.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path()));
        url
    }

    /// Whether it is this machine, which nobody is on the way to.
    pub(crate) fn is_here(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// Whether calls are encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Without a scheme it is `https`, or `http` on this machine.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            let here: Self = format!("http://{text}").parse()?;
            return if here.is_here() { Ok(here) } else { format!("https://{text}").parse() };
        }
        let mut url = Url::parse(text).map_err(|_| AddressError)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_whole = url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain || !is_whole {
            return Err(AddressError);
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

/// Without the slash at its end.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Where the client keeps what it has to remember (XDG Base Directory Specification): the folder `microserve` in
/// `$XDG_STATE_HOME` or `~/.local/state`. None if there is no home.
#[allow(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn state_folder() -> Option<PathBuf> {
    // "If an implementation encounters a relative path […] it should consider the path invalid and ignore it."
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    Some(named.or_else(|| Some(home()?.join(".local/state")))?.join("microserve"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address, at) in [
            ("https://example.com", "https://example.com", "https://example.com/jobs"),
            ("example.com/", "https://example.com", "https://example.com/jobs"),
            ("http://example.com/mp3/", "http://example.com/mp3", "http://example.com/mp3/jobs"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080/jobs"),
            ("localhost:8080", "http://localhost:8080", "http://localhost:8080/jobs"),
            ("[::1]:8080", "http://[::1]:8080", "http://[::1]:8080/jobs"),
        ] {
            let parsed: Address = text.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.at("jobs").as_str()), (address, at), "{text}");
        }
        for bad in ["", "ftp://example.com", "https://anna:secret@example.com", "https://example.com/?a=b", "http://"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_here() {
        for (text, here) in [
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_here(), here, "{text}");
        }
    }
}
