//! What a URL says about the server.

use microserve_core::open::SecretUrl;
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::{Host, Url};

use crate::error::Failure;

/// `mysql://user:password@host:port/database?ssl-mode=…&ssl-ca=…`, and what else sqlx knows.
pub(crate) fn parse(url: &SecretUrl) -> Result<MySqlConnectOptions, Failure> {
    let url = url.expose_url().ok_or_else(|| Failure::misuse("not a URL of the form mysql://user@host/database"))?;
    let options = MySqlConnectOptions::from_url(&url)?.disable_statement_logging();
    if options.get_database().is_none_or(str::is_empty) {
        return Err(Failure::misuse("the URL names no database: write mysql://user@host/database"));
    }
    let told = |key| url.query_pairs().any(|(name, _)| name == key);
    if told("ssl-mode") || told("sslmode") || told("socket") || is_loopback(&url) {
        return Ok(options);
    }
    // Left alone, sqlx would believe any certificate, or do without TLS if the one in the middle says so.
    Ok(options.ssl_mode(MySqlSslMode::VerifyIdentity))
}

/// Whether the server is on this machine.
pub(crate) fn is_local(url: &SecretUrl) -> bool {
    url.expose_url().is_some_and(|url| is_loopback(&url) || url.query_pairs().any(|(name, _)| name == "socket"))
}

fn is_loopback(url: &Url) -> bool {
    // Schemes that browsers don't know have their hosts left as text, addresses too.
    let host = url.host_str().map(|host| Host::parse(host).unwrap_or_else(|_| Host::Domain(host.to_owned())));
    match host {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> MySqlSslMode {
        let options = parse(&url.parse().unwrap()).unwrap();
        options.get_ssl_mode()
    }

    #[test]
    fn names_are_verified_off_the_loopback_address() {
        for url in ["mysql://a@db.example.com/x", "mysql://a@10.0.0.1:3307/x", "mysql://a:b@localhost.example.com/x"] {
            assert!(matches!(mode(url), MySqlSslMode::VerifyIdentity), "{url}");
        }
        for url in ["mysql://a@127.0.0.1/x", "mysql://a@localhost:1/x", "mysql://a@[::1]/x", "mysql:///x"] {
            assert!(matches!(mode(url), MySqlSslMode::Preferred), "{url}");
        }
        assert!(matches!(mode("mysql://a@db/x?ssl-mode=disabled"), MySqlSslMode::Disabled));
    }

    #[test]
    fn a_database_has_to_be_named() {
        for url in ["mysql://a@db", "mysql://a@db/", "mysql://"] {
            assert!(parse(&url.parse().unwrap()).is_err(), "{url}");
        }
    }
}
