//! What to call a download: a server's wish, made harmless.

use microserve_core::convert::mp3_name;
use percent_encoding::percent_decode_str;

use crate::cli::table::steers;

/// With room for what file systems add (bytes).
const LONGEST: usize = 200;

/// A file's name from `Content-Disposition` (RFC 6266): its last part, in no case hidden, and an MP3's.
pub(super) fn from_disposition(header: Option<&str>) -> String {
    let wish = header.and_then(|header| extended(header).or_else(|| plain(header))).unwrap_or_default();
    let last = wish.rsplit(['/', '\\']).next().unwrap_or_default();
    let tame: String = last.chars().filter(|c| !steers(*c) && !"<>:\"|?*".contains(*c)).collect();
    // A file that `ls` doesn't show, or a program takes for an option, is nobody's wish.
    let tame = tame.trim().trim_start_matches(['.', '-', ' ']);
    let stem = tame.strip_suffix(".mp3").unwrap_or(tame);
    let stem = &stem[..stem.floor_char_boundary(LONGEST)];
    if stem.is_empty() { mp3_name("") } else { format!("{stem}.mp3") }
}

/// `filename*=UTF-8''…` (RFC 8187).
fn extended(header: &str) -> Option<String> {
    let value = parameter(header, "filename*")?;
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| text.into_owned())
}

/// `filename="…"` or `filename=…`
fn plain(header: &str) -> Option<String> {
    parameter(header, "filename")
}

/// A parameter's value, without its quotes (RFC 9110 §5.6.6).
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind.split_once(';')?.1;
    }
}

/// What stands before the closing quote, and what comes behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_and_made_harmless() {
        for (header, name) in [
            ("attachment; filename=\"film.mp3\"; filename*=UTF-8''f%C3%BCr.mp3", "für.mp3"),
            ("attachment; filename*=UTF-8''f%C3%BCr.mp3; filename=\"film.mp3\"", "für.mp3"),
            ("attachment; filename=film.mp3", "film.mp3"),
            ("attachment; filename=\"a;b=\\\"c.mp3\"", "a;b=c.mp3"),
            ("attachment; FileName = \"film.mp3\"", "film.mp3"),
            ("attachment; filename=\"../../etc/passwd\"", "passwd.mp3"),
            ("attachment; filename*=UTF-8''..%2F..%2F.ssh%2Fauthorized_keys", "authorized_keys.mp3"),
            ("attachment; filename=\"C:\\\\Windows\\\\film.mp3\"", "film.mp3"),
            ("attachment; filename=\".bashrc\"", "bashrc.mp3"),
            ("attachment; filename=\"..\"", "audio.mp3"),
            ("attachment; filename=\"-rf.mp3\"", "rf.mp3"),
            ("attachment; filename*=UTF-8''a%0Ab%1B%5B31m%E2%80%AEc.mp3", "ab[31mc.mp3"),
            ("attachment; filename*=latin1''a.mp3; filename=b.mp3", "b.mp3"),
            ("attachment; filename*=UTF-8''%FF.mp3", "audio.mp3"),
            ("attachment; filename=\"open", "audio.mp3"),
            ("attachment", "audio.mp3"),
            ("", "audio.mp3"),
        ] {
            assert_eq!(from_disposition(Some(header)), name, "{header}");
        }
        assert_eq!(from_disposition(None), "audio.mp3");
        let long = from_disposition(Some(&format!("a; filename*=UTF-8''{}.mp3", "%C3%A4".repeat(500))));
        assert!(long.len() <= 204 && long.ends_with("ä.mp3"), "{long}");
    }
}
