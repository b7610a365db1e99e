//! What facts mean, and what to do about them.

use std::io;

use jiff::SignedDuration;
use microserve_core::inspect::{Fact, Line, Step};

use super::{Finding, Subject, Verdict};

/// Clocks that differ by more are told of.
const CLOCK_WARN: SignedDuration = SignedDuration::from_secs(5);
/// Tokens are taken so long after their end, and before their beginning.
const CLOCK_FAIL: SignedDuration = SignedDuration::from_secs(30);

/// With less room than this, uploads are going to fail soon.
const FREE_WARN: u64 = 5 << 30;
/// With less, hardly anything can be stored.
const FREE_FAIL: u64 = 256 << 20;

/// Says what a fact means.
pub(super) fn judge(subject: Subject, fact: &Fact) -> Finding {
    let option = subject.option;
    match fact {
        Fact::Answers(who) => subject.ok(format!("{who} answers")),
        Fact::Line(line) => judge_line(subject, *line),
        Fact::LoggedIn => subject.ok("we are let in"),
        Fact::Clock(ahead) => judge_clock(subject, *ahead),
        Fact::Ready(what) => subject.ok(format!("{what}: fine")),
        Fact::Unmade(what) => subject.warn(
            format!("{what}: not there yet"),
            "start microserve once; it makes what is missing, if it may",
        ),
        Fact::Standalone => subject.warn(
            "MongoDB is no replica set: what is stored is on one disk only",
            format!(
                "start mongod with --replSet rs0, run rs.initiate() in mongosh once, and write ?replicaSet=rs0 in {option}"
            ),
        ),
        Fact::NoRight { on, right } => subject.fail(
            format!("the right {right} on {on} is missing"),
            format!("have the server's owner grant {right} on {on} to the user in {option}"),
        ),
        Fact::NotUnique { of } => subject.warn(
            format!("the index of {of} is not unique, so a chunk could be written twice"),
            "start microserve once; it makes the index unique, unless some chunk is there twice",
        ),
        Fact::OtherQueue { name, delays: true, difference } => subject.fail(
            format!("the queue {name} may keep what waits in it for ever: {difference}"),
            format!("when it is empty, run rabbitmqctl delete_queue {name}; the next start makes it anew"),
        ),
        Fact::OtherQueue { name, delays: false, difference } => subject.warn(
            format!("the queue {name} is somebody else's, and used as it is: {difference}"),
            format!(
                "nothing has to be done; for a replicated one, stop all who use it, run rabbitmqctl delete_queue {name}, start again"
            ),
        ),
        Fact::DeadLetters { queue, count } => subject.warn(
            format!("dead letters on {queue}: {count}"),
            format!("microserve dead-letters list --of {} shows why", queue.trim_end_matches(".dead")),
        ),
        Fact::Unconfined(what) => subject.warn(
            format!("not everything keeps a bad file from doing harm: {what}"),
            format!("let {option} be strict or best-effort, on Linux 5.13 or later with seccomp and Landlock"),
        ),
        Fact::Writable { folder, free } => judge_folder(subject, folder, *free),
        Fact::Obstacle { step, source } => {
            let is_full = source.downcast_ref().is_some_and(is_full);
            subject.fail(chain(&**source), if is_full { room(subject) } else { fix(subject, *step) })
        }
        fact => subject.ok(format!("{fact:?}")),
    }
}

fn judge_line(subject: Subject, line: Line) -> Finding {
    let option = subject.option;
    match line {
        Line::Local => subject.ok("the line does not leave this machine"),
        Line::Verified => subject.ok("the line is encrypted, and the certificate verified"),
        Line::Unverified => subject.warn(
            "the line is encrypted, but nobody looks whose certificate it is",
            format!(
                "have the certificate verified: take out of {option} what says otherwise, and name your own authority"
            ),
        ),
        Line::Open => subject.warn(
            "the line is not encrypted: passwords and data can be read on their way",
            format!("use TLS in {option}, unless nobody else is in that network"),
        ),
    }
}

fn judge_clock(subject: Subject, ahead: SignedDuration) -> Finding {
    let apart = ahead.abs();
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let found = format!("its clock is {:.1} s {way} ours", apart.as_secs_f64());
    let fix = "let both machines take their time from the network (chrony, systemd-timesyncd): tokens allow for 30 s";
    match apart {
        apart if apart > CLOCK_FAIL => subject.fail(found, fix),
        apart if apart > CLOCK_WARN => subject.warn(found, fix),
        _ => subject.ok(found),
    }
}

fn judge_folder(subject: Subject, folder: &str, free: u64) -> Finding {
    let found = format!("{folder} takes files, and has {} MiB left", free >> 20);
    match free {
        free if free < FREE_FAIL => subject.fail(found, room(subject)),
        free if free < FREE_WARN => subject.warn(found, room(subject)),
        _ => subject.ok(found),
    }
}

fn room(subject: Subject) -> String {
    format!("make room there, or name another folder by {}", subject.option)
}

fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to do when a step failed.
fn fix(Subject { name, option }: Subject, step: Step) -> String {
    match step {
        Step::Read => format!("correct {option}; microserve serve --help says what it can be"),
        Step::Reach => format!(
            "see that it runs, that host and port in {option} are right, and that no firewall or TLS setting is in between"
        ),
        Step::Encrypt => format!(
            "name the server in {option} as its certificate does; name the authority there too if it is your own"
        ),
        Step::LogIn => format!("correct user and password in {option}: percent-encoded, so that @ is %40 and / is %2f"),
        Step::Use if name == "transcoder" => {
            "install microserve anew: it can't convert what it brings along".to_owned()
        }
        Step::Use => format!("make it usable for the user that microserve runs as, or correct {option}"),
    }
}

/// An error with everything that is behind it. Some drivers' errors end in the words of their source.
fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut words = err.to_string();
    for source in std::iter::successors(err.source(), |err| (*err).source()).map(ToString::to_string) {
        if !words.ends_with(&source) {
            words.push_str(": ");
            words.push_str(&source);
        }
    }
    words
}

impl Subject {
    fn ok(self, found: impl Into<String>) -> Finding {
        Finding { check: self.name, verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(self, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check: self.name, verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(self, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check: self.name, verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOBS: Subject = Subject { name: "blobs", option: "--blobs" };

    #[test]
    fn clocks_may_differ_by_five_seconds_and_must_not_by_thirty() {
        for (millis, verdict) in [
            (0, Verdict::Ok),
            (-5_000, Verdict::Ok),
            (5_001, Verdict::Warn),
            (-30_000, Verdict::Warn),
            (30_001, Verdict::Fail),
            (-86_400_000, Verdict::Fail),
        ] {
            let finding = judge(BLOBS, &Fact::Clock(SignedDuration::from_millis(millis)));
            assert_eq!(finding.verdict, verdict, "{millis} ms: {finding:?}");
        }
        let behind = judge(BLOBS, &Fact::Clock(SignedDuration::from_secs(-60)));
        assert_eq!(behind.found, "its clock is 60.0 s behind ours");
    }

    #[test]
    fn a_folder_that_is_nearly_full_is_told_of() {
        for (free, verdict) in [(6 << 30, Verdict::Ok), (1 << 30, Verdict::Warn), (1 << 20, Verdict::Fail)] {
            let finding = judge(BLOBS, &Fact::Writable { folder: "/data".to_owned(), free });
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
        // Linux' numbers: ENOSPC, EDQUOT.
        for number in [28, 122] {
            let full = judge(BLOBS, &Fact::obstacle(Step::Use, io::Error::from_raw_os_error(number)));
            let fix = "make room there, or name another folder by --blobs";
            assert_eq!((full.verdict, full.fix.as_deref()), (Verdict::Fail, Some(fix)));
        }
    }

    #[test]
    fn an_open_line_is_a_warning_off_this_machine() {
        for (line, verdict) in [
            (Line::Local, Verdict::Ok),
            (Line::Verified, Verdict::Ok),
            (Line::Unverified, Verdict::Warn),
            (Line::Open, Verdict::Warn),
        ] {
            assert_eq!(judge(BLOBS, &Fact::Line(line)).verdict, verdict, "{line:?}");
        }
    }
}
