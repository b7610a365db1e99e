//! `Prefer` (RFC 7240): what a client would like, if it can be had.

use std::time::Duration;

use axum::http::HeaderMap;

/// Nobody waits longer.
const LONGEST: Duration = Duration::from_secs(60);

/// How long the client would wait for news (§4.3), at most a minute. What can't be understood is passed over (§2), and the
/// first of several counts.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    let mut preferences = lines.flat_map(|line| {
        let mut quoted = false;
        line.split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
    });
    let value = preferences.find_map(|preference| {
        // Behind a semicolon are parameters; `wait` has none.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    // §4.3: delta-seconds. One that doesn't fit is surely longer than a minute.
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().map_or(LONGEST, |seconds| Duration::from_secs(seconds).min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn waits(lines: &[&'static str]) -> Option<u64> {
        let lines = lines.iter().map(|line| ("prefer".parse().unwrap(), HeaderValue::from_static(line)));
        wait(&lines.collect()).map(|wait| wait.as_secs())
    }

    #[test]
    fn waits_are_understood_and_capped() {
        for (line, seconds) in [
            ("wait=30", 30),
            ("WAIT = 7", 7),
            ("wait=\"8\"", 8),
            ("respond-async, wait=9; x=\"1\"", 9),
            ("wait=0", 0),
            ("wait=61", 60),
            ("wait=99999999999999999999999", 60),
            ("wait=3, wait=4", 3),
        ] {
            assert_eq!(waits(&[line]), Some(seconds), "{line}");
        }
        assert_eq!(waits(&["return=minimal", "wait=5"]), Some(5));
    }

    #[test]
    fn what_is_no_wait_is_passed_over() {
        for line in
            ["", "wait", "wait=", "wait=-1", "wait=1.5", "wait=+1", "waiting=5", "a=\"b, wait=5\"", "\"", ",,=,;"]
        {
            assert_eq!(waits(&[line]), None, "{line}");
        }
        assert_eq!(waits(&[]), None);
    }
}
