//! Conditional requests (RFC 9110 §13): "only if it has changed", and "go on with the part I lack".

use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

/// What a response is recognised by.
pub(crate) struct Validators {
    /// A strong entity tag, with its quotes.
    pub(crate) etag: String,
    /// `Last-Modified`, in whole seconds.
    pub(crate) modified: Option<Timestamp>,
}

impl Validators {
    /// Whether the client has what there is: 304. `If-None-Match` counts before the date (§13.2.2).
    pub(crate) fn not_modified(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            return lines(headers, header::IF_NONE_MATCH).any(|line| self.matches_one_of(line));
        }
        let since = lines(headers, header::IF_MODIFIED_SINCE).next().and_then(parse_date);
        matches!((since, self.modified), (Some(since), Some(modified)) if modified.as_second() <= since.as_second())
    }

    /// §13.1.2: compared weakly, so a `W/` does not matter.
    fn matches_one_of(&self, line: &str) -> bool {
        line.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }

    /// Whether a range is of what the client has the rest of (§13.1.5): compared strongly, dates exactly.
    pub(crate) fn range_applies(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(header::IF_RANGE) else { return true };
        let Ok(condition) = condition.to_str() else { return false };
        condition == self.etag || self.modified.and_then(format_date).is_some_and(|date| date == condition)
    }
}

fn lines(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

fn parse_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

/// An IMF-fixdate (RFC 9110 §5.6.7).
pub(crate) fn format_date(time: Timestamp) -> Option<String> {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn validators() -> Validators {
        Validators { etag: "\"abc\"".to_owned(), modified: Some("1994-11-06T08:49:37Z".parse().unwrap()) }
    }

    #[test]
    fn known_tags_and_dates_are_not_sent_again() {
        for known in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(validators().not_modified(&with(header::IF_NONE_MATCH, known)), "{known}");
        }
        assert!(!validators().not_modified(&with(header::IF_NONE_MATCH, "\"x\", abc")));
        assert!(!validators().not_modified(&HeaderMap::new()));
        let date = |date| validators().not_modified(&with(header::IF_MODIFIED_SINCE, date));
        assert!(date("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!date("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(!date("yesterday"));
    }

    #[test]
    fn a_tag_counts_before_a_date() {
        let mut headers = with(header::IF_NONE_MATCH, "\"x\"");
        headers.insert(header::IF_MODIFIED_SINCE, HeaderValue::from_static("Sun, 06 Nov 2094 08:49:37 GMT"));
        assert!(!validators().not_modified(&headers));
    }

    #[test]
    fn a_range_of_something_else_is_not_taken() {
        let applies = |value| validators().range_applies(&with(header::IF_RANGE, value));
        assert!(applies("\"abc\"") && applies("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!applies("W/\"abc\"") && !applies("\"x\"") && !applies("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert!(validators().range_applies(&HeaderMap::new()));
    }
}
