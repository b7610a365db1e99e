//! What a mail server is like, without sending anything.

use microserve_core::inspect::{Fact, Line, Step};
use microserve_core::open::SecretUrl;

use crate::SmtpMailer;
use crate::session::Session;
use crate::settings::{Settings, Tls};

impl SmtpMailer {
    /// Finds out whether the server can be reached, whether the line can be encrypted, and whether it lets us log in.
    /// Nothing is sent.
    pub async fn inspect(url: &SecretUrl) -> Vec<Fact> {
        let settings = match Settings::parse(url) {
            Ok(settings) => settings,
            Err(err) => return vec![Fact::obstacle(Step::Read, err)],
        };
        let mut facts = Vec::new();
        let mut session = match Session::begin(&settings).await {
            Ok(session) => session,
            Err(trouble) => return vec![Fact::obstacle(trouble.step(), trouble.words())],
        };
        facts.push(Fact::Answers(format!("the mail server {}", session.name())));
        facts.push(Fact::Line(line(&settings)));
        match session.log_in(&settings).await {
            Ok(()) if settings.credentials.is_some() => facts.push(Fact::LoggedIn),
            Ok(()) => {}
            Err(trouble) => facts.push(Fact::obstacle(trouble.step(), trouble.words())),
        }
        session.quit().await;
        facts
    }
}

fn line(settings: &Settings) -> Line {
    match settings.tls {
        Tls::Upgraded(_) | Tls::Always(_) => Line::Verified,
        Tls::Never if settings.loopback => Line::Local,
        Tls::Never => Line::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_tls_is_open_off_this_machine() {
        for (url, expected) in [
            ("smtps://mail.example.com", Line::Verified),
            ("smtp://mail.example.com", Line::Verified),
            ("smtp://127.0.0.1:25", Line::Local),
            ("smtp://10.0.0.1:25?tls=none", Line::Open),
        ] {
            assert_eq!(line(&Settings::parse(&url.parse().unwrap()).unwrap()), expected, "{url}");
        }
    }
}
