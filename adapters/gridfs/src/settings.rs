//! What a URL says about the servers.

use std::net::IpAddr;
use std::time::Duration;

use microserve_core::open::SecretUrl;
use mongodb::options::{ClientOptions, ServerAddress, Tls, TlsOptions};

use crate::error::{Failure, PATIENCE, within};

/// How long a server is looked for: the rest of [`PATIENCE`] is for saying why there is none.
const SELECTION: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(3);
/// How often each server is asked how it is. The driver's ten seconds are longer than anybody waits here for a server
/// that was given up after an error and is well again.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// One command at a time on each. A server's default is about a million in all.
const CONNECTIONS: u32 = 32;
/// MongoDB's names of databases end at 63 bytes.
const LONGEST_PREFIX: usize = 40;

pub(crate) struct Settings {
    pub(crate) options: ClientOptions,
    pub(crate) prefix: String,
    /// The URL doesn't say whether to use TLS.
    pub(crate) tls_by_default: bool,
}

/// A connection string (MongoDB "Connection String URI Format"), and `prefix`, which only we know.
pub(crate) async fn parse(url: &SecretUrl) -> Result<Settings, Failure> {
    let (text, prefix) = without_prefix(url.expose())?;
    let says_tls = options_of(&text).any(|(name, _)| ["tls", "ssl"].iter().any(|tls| name.eq_ignore_ascii_case(tls)));
    let mut options = within(PATIENCE, ClientOptions::parse(&text)).await?;
    options.app_name.get_or_insert_with(|| "microserve".to_owned());
    options.server_selection_timeout.get_or_insert(SELECTION);
    options.connect_timeout.get_or_insert(CONNECT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.max_pool_size.get_or_insert(CONNECTIONS);
    let tls_by_default = !says_tls && options.tls.is_none() && !options.hosts.iter().all(is_loopback);
    if tls_by_default {
        options.tls = Some(Tls::Enabled(TlsOptions::default()));
    }
    Ok(Settings { options, prefix, tls_by_default })
}

/// Takes `prefix` out of the options; the driver would refuse it.
fn without_prefix(text: &str) -> Result<(String, String), Failure> {
    let Some((servers, options)) = text.split_once('?') else { return Ok((text.to_owned(), String::new())) };
    let (ours, theirs): (Vec<_>, Vec<_>) = options.split('&').partition(|option| option.starts_with("prefix="));
    let prefix = match ours[..] {
        [] => "",
        [one] => one.trim_start_matches("prefix="),
        _ => return Err(Failure::misuse("the URL has more than one prefix")),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if prefix.len() > LONGEST_PREFIX || !prefix.chars().all(is_plain) {
        let words = format!("a prefix is at most {LONGEST_PREFIX} letters, digits, _ and -: change prefix={prefix}");
        return Err(Failure::misuse(words));
    }
    let text = if theirs.is_empty() { servers.to_owned() } else { format!("{servers}?{}", theirs.join("&")) };
    Ok((text, prefix.to_owned()))
}

fn options_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let options = text.split_once('?').map_or("", |(_, options)| options);
    options.split('&').filter_map(|option| option.split_once('='))
}

pub(crate) fn is_loopback(server: &ServerAddress) -> bool {
    let ServerAddress::Tcp { host, .. } = server else { return true };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settings(url: &str) -> Settings {
        parse(&url.parse().unwrap()).await.unwrap_or_else(|failure| panic!("{url}: {failure:?}"))
    }

    #[tokio::test]
    async fn names_are_verified_off_the_loopback_address() {
        for url in ["mongodb://db.example.com/", "mongodb://127.0.0.1:1,10.0.0.1:2/?replicaSet=a"] {
            let settings = settings(url).await;
            let Some(Tls::Enabled(tls)) = settings.options.tls else { panic!("{url} is reached over TLS") };
            assert!(tls.allow_invalid_certificates.is_none() && settings.tls_by_default, "{url}");
        }
        for url in ["mongodb://localhost/", "mongodb://[::1]:1,127.0.0.2/", "mongodb://%2Ftmp%2Fmongodb.sock/"] {
            assert!(settings(url).await.options.tls.is_none(), "{url}");
        }
        for url in ["mongodb://db.example.com/?tls=false", "mongodb://db.example.com/?prefix=a_&SSL=false"] {
            let settings = settings(url).await;
            assert!(!matches!(settings.options.tls, Some(Tls::Enabled(_))) && !settings.tls_by_default, "{url}");
        }
    }

    #[tokio::test]
    async fn a_prefix_is_taken_out_of_the_url() {
        for (url, prefix) in [
            ("mongodb://a", ""),
            ("mongodb://a/?prefix=", ""),
            ("mongodb://a/?prefix=Blue-1_", "Blue-1_"),
            ("mongodb://a:1,b:2/?replicaSet=x&prefix=p&tls=false", "p"),
        ] {
            assert_eq!(settings(url).await.prefix, prefix, "{url}");
        }
        for url in ["mongodb://a/?prefix=a.b", "mongodb://a/?prefix=ü", "mongodb://a/?prefix=a&prefix=b"] {
            assert!(parse(&url.parse().unwrap()).await.is_err(), "{url}");
        }
    }
}
