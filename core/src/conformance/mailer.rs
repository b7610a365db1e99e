//! The promises of [`Mailer`].

use std::sync::Arc;

use super::now;
use crate::job::JobId;
use crate::mail::{Mail, Mailer};

fn mail() -> Mail {
    Mail {
        message_id: JobId::random().to_string(),
        from: "microserve@example.com".parse().expect("an address"),
        to: "anna@example.com".parse().expect("an address"),
        date: now(),
        subject: "Your MP3 is ready".into(),
        text: "holiday.mp4 is an MP3 now.\n".into(),
        html: "<p>holiday.mp4 is an MP3 now.</p>".into(),
    }
}

async fn sent_mail_is_accepted(mailer: Arc<dyn Mailer>) {
    mailer.send(&mail()).await.expect("a plain mail is accepted");
}

async fn the_same_mail_twice_is_accepted(mailer: Arc<dyn Mailer>) {
    let mail = mail();
    for _ in 0..2 {
        mailer.send(&mail).await.expect("a mail whose fate was unknown may be sent again");
    }
}

async fn odd_characters_survive(mailer: Arc<dyn Mailer>) {
    let long = "x".repeat(5000);
    // A lone dot ends the data of SMTP, `From ` starts a mail in an mbox, a bare line break makes a header.
    for odd in
        ["Ünïcödé 🎬 – “quoted”", "a\r\nBcc: eve@example.com", ".\n..\n.\r\n.", "From anna\n>From", "", "<&\"'>", &long]
    {
        let mail = Mail { subject: odd.into(), text: odd.into(), html: odd.into(), ..mail() };
        mailer.send(&mail).await.unwrap_or_else(|err| panic!("a mail with {odd:?} in it must be accepted: {err:?}"));
        let wire = String::from_utf8(mail.to_message().expect("it can be written").formatted()).expect("in ASCII");
        let headers = wire.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!headers.contains("\nBcc:"), "a line break in the subject must not become a header");
    }
}

async fn many_at_once_are_accepted(mailer: Arc<dyn Mailer>) {
    let sending: Vec<_> = (0..8)
        .map(|_| {
            let mailer = Arc::clone(&mailer);
            tokio::spawn(async move { mailer.send(&mail()).await })
        })
        .collect();
    for sent in sending {
        sent.await.unwrap().expect("mails sent at the same time are accepted");
    }
}

async fn ping_succeeds(mailer: Arc<dyn Mailer>) {
    mailer.ping().await.expect("mail can be handed over");
}

suite! { $ mailer_conformance: mailer of Mailer {
    sent_mail_is_accepted,
    the_same_mail_twice_is_accepted,
    odd_characters_survive,
    many_at_once_are_accepted,
    ping_succeeds,
} }
