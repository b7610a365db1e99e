//! `ERRORS.md`: every error for people to read, written down from the code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::fmt::Write as _;
use std::path::Path;

use microserve_core::failure::{Again, Failure};
use microserve_http::Code;

const INTRODUCTION: &str = "\
# What goes wrong, and what to do

<!-- Written by a test: MICROSERVE_WRITE_DOCS=1 cargo nextest run -p microserve-http --test all errors -->

Errors are problem documents (RFC 9457). `code` is stable and stands for one case, `detail` is a sentence for people and
may change. `instance` names the request, as `X-Request-Id` does: tell it to whoever runs the server.

```json
{
  \"type\": \"urn:microserve:problem:not_ready\",
  \"title\": \"No MP3 to download\",
  \"status\": 409,
  \"detail\": \"there is no MP3: the job is queued\",
  \"instance\": \"urn:microserve:request:6a1f0c9be2d84f37a5c01b7e\",
  \"code\": \"not_ready\"
}
```

Who accepts `text/plain` only gets one line, `not_ready: there is no MP3: the job is queued`.

## Of calls
";

const OF_JOBS: &str = "
## Of jobs

A job that is `failed` says why in its `error`, with one of these codes. Some are tried again first: `yes` is up to eight
attempts within a day, `once` is one more, and after it the job fails as `poison`.
`POST /jobs/{id}/retry` lets a failed job run again, as often as one likes, while its video is kept.
";

fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n| status | code | meaning | what to do |\n|---|---|---|---|\n");
    let mut codes = Code::ALL.to_vec();
    // Those of one status in the order of the code.
    codes.sort_by_key(|code| code.status().as_u16());
    for code in codes {
        let (status, name) = (code.status().as_u16(), code.as_str());
        writeln!(text, "| {status} | `{name}` | {} | {} |", code.meaning(), code.remedy()).unwrap();
    }
    text.push_str(OF_JOBS);
    text.push_str("\n| code | meaning | tried again | what to do |\n|---|---|---|---|\n");
    for failure in Failure::ALL {
        let again = match failure.again {
            Again::No => "no",
            Again::Once => "once",
            _ => "yes",
        };
        writeln!(text, "| `{}` | {} | {again} | {} |", failure.code, failure.meaning, failure.remedy()).unwrap();
    }
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "people tell a test by a variable to write instead of comparing")]
fn errors_md_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ERRORS.md");
    let wanted = document();
    if std::env::var_os("MICROSERVE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "MICROSERVE_WRITE_DOCS=1 cargo nextest run -p microserve-http --test all errors";
    assert!(there == wanted, "ERRORS.md is not what the code says; `{hint}` writes it anew");
}

#[test]
fn every_error_is_explained_in_sentences_that_fit_a_table() {
    let of_calls = Code::ALL.iter().flat_map(|code| [code.meaning(), code.remedy()]);
    let of_jobs = Failure::ALL.iter().flat_map(|failure| [failure.meaning, failure.remedy()]);
    for sentence in of_calls.chain(of_jobs) {
        let is_sentence = sentence.ends_with('.') && sentence.starts_with(char::is_uppercase);
        assert!(is_sentence && !sentence.contains(['|', '\n']), "{sentence:?}");
    }
}
