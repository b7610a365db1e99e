//! The mailer keeps the promises of its port, on a line without TLS and with it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use microserve_core::conformance::Fixture;
use microserve_smtp::SmtpMailer;
use microserve_testkit::smtp::{Mode, Sink};

fn fixture(mode: Mode) -> Fixture<SmtpMailer> {
    let sink = Sink::start(mode, Some(("anna", "p@ss word")));
    let scheme = if mode == Mode::Implicit { "smtps" } else { "smtp" };
    let tls = if mode == Mode::StartTls { "&tls=starttls" } else { "" };
    let (port, ca) = (sink.port(), sink.authority());
    let url = format!("{scheme}://anna:p%40ss%20word@localhost:{port}?ca={ca}{tls}");
    Fixture::new(SmtpMailer::new(&url.parse().unwrap()).unwrap()).keep(sink)
}

mod plain {
    use super::*;
    microserve_core::mailer_conformance!(|| async { fixture(Mode::Plain) });
}

mod starttls {
    use super::*;
    microserve_core::mailer_conformance!(|| async { fixture(Mode::StartTls) });
}

mod implicit {
    use super::*;
    microserve_core::mailer_conformance!(|| async { fixture(Mode::Implicit) });
}
