//! A network with faults between us and the mail server: what is not behind the final dot can be sent again, and what is
//! acknowledged is there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::time::Duration;

use microserve_core::mail::{Mail, MailError, Mailer};
use microserve_smtp::SmtpMailer;
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};
use microserve_testkit::smtp::{Mode, Sink};

fn mail(id: &str) -> Mail {
    Mail {
        message_id: id.to_owned(),
        from: "microserve@example.com".parse().unwrap(),
        to: "anna@example.com".parse().unwrap(),
        date: "2026-01-01T12:00:00Z".parse().unwrap(),
        subject: "Your MP3 file is ready!".to_owned(),
        text: "File ID: 4f2a\n".to_owned(),
        html: "<p>File ID: 4f2a</p>".to_owned(),
    }
}

fn world() -> (Sink, ChaosProxy, SmtpMailer) {
    let sink = Sink::start(Mode::Plain, None);
    let proxy = ChaosProxy::start(sink.port());
    let mailer = SmtpMailer::new(&format!("smtp://127.0.0.1:{}", proxy.port()).parse().unwrap()).unwrap();
    (sink, proxy, mailer)
}

/// Sends one mail with the fault and one without it. Returns what became of the first, and whether the server has it.
async fn send_with(fault: Fault) -> (Result<(), MailError>, bool) {
    let (sink, proxy, mailer) = world();
    proxy.set(fault);
    // The proxy takes a moment to see a fault.
    std::thread::sleep(Duration::from_millis(50));
    let outcome = mailer.send(&mail("1")).await.map(drop);
    let came = sink.mails().len();
    proxy.heal();
    std::thread::sleep(Duration::from_millis(50));
    mailer.send(&mail("2")).await.unwrap();
    // The first may have come only now: what arrives is read when nobody waits for the answer any more.
    assert!(sink.mails().len() > came, "well again at once");
    (outcome, came > 0)
}

fn cut(words: &str, arrive: bool) -> Fault {
    Fault::CutOn { towards: Towards::Server, bytes: words.into(), arrive }
}

#[tokio::test]
async fn a_network_that_breaks_before_the_final_dot_costs_no_mail() {
    let mut faults = vec![Fault::Refuse, Fault::Reset, Fault::HalfClose, Fault::CutAfter(10), Fault::CutAfter(100)];
    for arrive in [false, true] {
        faults.extend(["EHLO", "MAIL FROM", "RCPT TO", "DATA"].map(|word| cut(word, arrive)));
    }
    for fault in faults {
        let name = format!("{fault:?}");
        let (outcome, came) = send_with(fault).await;
        assert!(matches!(outcome, Err(MailError::Deferred { .. })) && !came, "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_network_that_breaks_at_the_final_dot_leaves_it_unknown() {
    for arrive in [false, true] {
        let (outcome, _) = send_with(cut("\r\n.\r\n", arrive)).await;
        assert!(matches!(outcome, Err(MailError::Unknown(_))), "{arrive}: {outcome:?}");
    }
    // The server has it, and its word for that is lost.
    let lost = Fault::CutOn { towards: Towards::Client, bytes: b"kept".to_vec(), arrive: false };
    let (outcome, came) = send_with(lost).await;
    assert!(matches!(outcome, Err(MailError::Unknown(_))) && came, "{outcome:?}");
}

#[tokio::test]
async fn a_slow_network_delivers() {
    for fault in [Fault::Latency(Duration::from_millis(50)), Fault::Throttle(2_000)] {
        let (outcome, came) = send_with(fault).await;
        assert!(outcome.is_ok() && came, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_swallows_is_given_up_in_time() {
    let (_sink, proxy, mailer) = world();
    proxy.set(Fault::BlackHole);
    let started = tokio::time::Instant::now();
    let outcome = mailer.send(&mail("1")).await;
    assert!(matches!(outcome, Err(MailError::Deferred { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
