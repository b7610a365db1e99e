//! What is found out by trying it, whatever the adapter.

use std::io::Cursor;
use std::ops::ControlFlow;

use microserve_core::account::Email;
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::inspect::{Fact, Step};
use microserve_core::job::JobId;
use microserve_core::mail::Mail;
use microserve_core::open::SecretUrl;
use microserve_core::transcode::{Options, TranscodeError, Transcoded};

use crate::registry::Registry;

/// Samples of the sound that is converted: a second.
const RATE: u32 = 44_100;

/// Whether a second of sound becomes an MP3.
pub(super) async fn transcode(registry: &Registry, url: SecretUrl) -> Vec<Fact> {
    let transcoder = match registry.transcoder.open(&url).await {
        Ok(transcoder) => transcoder,
        Err(err) => return vec![Fact::obstacle(Step::Read, err)],
    };
    let trial = tokio::task::spawn_blocking(move || {
        let mut mp3 = Cursor::new(Vec::new());
        let go_on = &mut |_| ControlFlow::Continue(());
        transcoder.transcode(&mut Cursor::new(wave()), &mut mp3, &Options::default(), go_on)
    });
    let made: Result<Transcoded, TranscodeError> = match trial.await {
        Ok(made) => made,
        Err(crash) => return vec![Fact::obstacle(Step::Use, crash)],
    };
    vec![match made {
        Ok(made) if (made.duration() - 1.0).abs() < 0.01 => Fact::Ready("a second of sound becomes an MP3".to_owned()),
        Ok(made) => Fact::obstacle(Step::Use, format!("a second of sound becomes an MP3 of {} s", made.duration())),
        Err(err) => Fact::obstacle(Step::Use, err),
    }]
}

/// A tone of 441 Hz, a second long (RIFF WAVE, 16 bits, mono).
fn wave() -> Vec<u8> {
    let bytes = RATE * 2;
    let mut wave = Vec::with_capacity(44 + bytes as usize);
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + bytes).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wave.extend_from_slice(&RATE.to_le_bytes());
    wave.extend_from_slice(&bytes.to_le_bytes());
    wave.extend_from_slice(b"\x02\0\x10\0data");
    wave.extend_from_slice(&bytes.to_le_bytes());
    for n in 0..RATE {
        let level = (f64::from(n % 100) / 100.0 * std::f64::consts::TAU).sin() * 8_000.0;
        wave.extend_from_slice(&(level as i16).to_le_bytes());
    }
    wave
}

/// Whether a mail is taken.
pub(super) async fn send_mail(registry: &Registry, url: SecretUrl, from: &Email, to: &Email) -> Vec<Fact> {
    let mailer = match registry.mailer.open(&url).await {
        Ok(mailer) => mailer,
        Err(err) => return vec![Fact::obstacle(Step::Read, err)],
    };
    let text = "This is a test mail of microserve doctor. Somebody wanted to know whether mails arrive: they do.";
    let mail = Mail {
        message_id: format!("{}.doctor", JobId::random()),
        from: from.clone(),
        to: to.clone(),
        date: SystemClock.now(),
        subject: "A test mail of microserve".to_owned(),
        text: format!("{text}\n"),
        html: format!("<p>{text}</p>\n"),
    };
    vec![match mailer.send(&mail).await {
        Ok(_) => Fact::Ready(format!("a test mail to {to} was taken")),
        Err(err) => Fact::obstacle(Step::Use, err),
    }]
}
