//! What becomes of a mail, by where its conversation ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::time::Duration;

use microserve_core::mail::{Mail, MailError, Mailer};
use microserve_smtp::SmtpMailer;
use microserve_testkit::smtp::{Fault, Mode, Sink, Stage};

fn mail(id: &str) -> Mail {
    Mail {
        message_id: id.to_owned(),
        from: "microserve@example.com".parse().unwrap(),
        to: "anna@example.com".parse().unwrap(),
        date: "2026-01-01T12:00:00Z".parse().unwrap(),
        subject: "Your MP3 file is ready!".to_owned(),
        text: "File ID: 4f2a\n.\n..dots\n".to_owned(),
        html: "<p>File ID: 4f2a</p>".to_owned(),
    }
}

fn mailer(url: &str) -> SmtpMailer {
    SmtpMailer::new(&url.parse().unwrap()).unwrap()
}

fn plain(sink: &Sink) -> SmtpMailer {
    mailer(&format!("smtp://127.0.0.1:{}", sink.port()))
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let sink = Sink::start(Mode::StartTls, Some(("anna", "secret")));
    let (port, ca) = (sink.port(), sink.authority());
    let mailer = mailer(&format!("smtp://anna:secret@localhost:{port}?tls=starttls&ca={ca}"));
    let accepted = mailer.send(&mail("1")).await.unwrap();
    assert_eq!(accepted.reply, "kept");
    let [received] = &sink.mails()[..] else { panic!("one mail") };
    let written = String::from_utf8(mail("1").to_message().unwrap().formatted()).unwrap();
    // SMTP ends a mail with a line break of its own.
    assert_eq!(received.message.trim_end(), written.trim_end());
    assert_eq!(
        (received.from.as_str(), &received.to[..]),
        ("microserve@example.com", &["anna@example.com".to_owned()][..])
    );
    assert_eq!((received.encrypted, received.user.as_deref()), (true, Some("anna")));
}

#[tokio::test]
async fn a_refusal_of_the_mail_is_final() {
    for stage in [Stage::Sender, Stage::Recipient, Stage::Data, Stage::Dot] {
        let sink = Sink::start(Mode::Plain, None);
        sink.misbehave(stage, Fault::Reply("550 5.1.1 no such user"));
        match plain(&sink).send(&mail("1")).await {
            Err(MailError::Refused { reply }) => assert!(reply.contains("no such user"), "{stage:?}: {reply}"),
            other => panic!("{stage:?}: {other:?}"),
        }
        assert!(sink.mails().is_empty());
        plain(&sink).send(&mail("2")).await.unwrap();
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let all = [Stage::Greeting, Stage::Hello, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Dot];
    for stage in all {
        let sink = Sink::start(Mode::Plain, None);
        sink.misbehave(stage, Fault::Reply("451 4.7.1 greylisted, come back later"));
        let outcome = plain(&sink).send(&mail("1")).await;
        assert!(matches!(outcome, Err(MailError::Deferred { .. })), "{stage:?}: {outcome:?}");
        plain(&sink).send(&mail("1")).await.unwrap();
        assert_eq!(sink.mails().len(), 1, "{stage:?}");
    }
}

#[tokio::test]
async fn before_the_final_dot_nobody_has_the_mail_and_behind_it_nobody_knows() {
    for stage in [Stage::Greeting, Stage::Hello, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Body] {
        let sink = Sink::start(Mode::Plain, None);
        sink.misbehave(stage, Fault::Cut);
        let outcome = plain(&sink).send(&mail("1")).await;
        let unsure = stage == Stage::Body && matches!(outcome, Err(MailError::Unknown(_)));
        assert!(unsure || matches!(outcome, Err(MailError::Deferred { .. })), "{stage:?}: {outcome:?}");
        assert!(sink.mails().is_empty(), "{stage:?}");
    }
    let sink = Sink::start(Mode::Plain, None);
    sink.misbehave(Stage::Dot, Fault::Cut);
    let outcome = plain(&sink).send(&mail("1")).await;
    assert!(matches!(outcome, Err(MailError::Unknown(_))), "{outcome:?}");
    plain(&sink).send(&mail("1")).await.unwrap();
    let [first, second] = &sink.mails()[..] else { panic!("it went out twice") };
    assert_eq!(first, second, "the receiving server can tell");
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_costs_no_mail() {
    let port = Sink::start(Mode::Plain, None).port();
    let outcome = mailer(&format!("smtp://127.0.0.1:{port}")).send(&mail("1")).await;
    assert!(matches!(outcome, Err(MailError::Deferred { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_password_costs_no_mail() {
    let sink = Sink::start(Mode::Plain, Some(("anna", "secret")));
    let wrong = mailer(&format!("smtp://anna:wrong@127.0.0.1:{}", sink.port())).send(&mail("1")).await;
    let Err(MailError::Deferred { source, .. }) = wrong else { panic!("{wrong:?}") };
    assert!(source.to_string().contains("log in") && !source.to_string().contains("wrong"), "{source}");
}

#[tokio::test]
async fn tls_is_never_given_up() {
    // A server, or somebody on the way, that does not offer STARTTLS.
    let sink = Sink::start(Mode::Plain, None);
    let stripped = mailer(&format!("smtp://localhost:{}?tls=starttls", sink.port())).send(&mail("1")).await;
    assert!(matches!(stripped, Err(MailError::Deferred { .. })), "{stripped:?}");
    // One that refuses it when asked.
    let sink = Sink::start(Mode::StartTls, None);
    sink.misbehave(Stage::StartTls, Fault::Reply("454 TLS not available"));
    let ca = sink.authority();
    let refused = mailer(&format!("smtp://localhost:{}?tls=starttls&ca={ca}", sink.port())).send(&mail("1")).await;
    assert!(matches!(refused, Err(MailError::Deferred { .. })), "{refused:?}");
    // One that nobody has vouched for, and one by another name.
    for url in [format!("smtps://localhost:{}", Sink::start(Mode::Implicit, None).port())] {
        assert!(mailer(&url).send(&mail("1")).await.is_err(), "{url}");
    }
    let sink = Sink::start(Mode::Implicit, None);
    let by_number = mailer(&format!("smtps://127.0.0.1:{}?ca={}", sink.port(), sink.authority()));
    assert!(by_number.send(&mail("1")).await.is_err());
    assert!(sink.mails().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_in_time_at_every_stage() {
    for stage in [Stage::Greeting, Stage::Hello, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Dot] {
        let sink = Sink::start(Mode::Plain, None);
        sink.misbehave(stage, Fault::Silence);
        let started = tokio::time::Instant::now();
        let outcome = plain(&sink).send(&mail("1")).await;
        assert!(started.elapsed() < Duration::from_secs(240), "{stage:?}: a mail may be in hand for so long");
        match (stage, outcome) {
            (Stage::Dot, Err(MailError::Unknown(_))) => {}
            // The clock that runs ahead may cut off the server before it has said a word.
            (_, Err(MailError::Deferred { .. } | MailError::Unknown(_))) => {}
            (_, other) => panic!("{stage:?}: {other:?}"),
        }
    }
}
