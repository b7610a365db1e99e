//! Filenames: what a client calls its file is shown to people, and never used as a path.

use unicode_normalization::UnicodeNormalization;

/// What most file systems bear (bytes).
const MAX_BYTES: usize = 255;
/// A longer ending is not one (bytes, its dot included).
const MAX_ENDING: usize = 16;
/// What a file without a usable name is called.
const NAMELESS: &str = "video";

/// The last part of a path, in Unicode's normal form C, without controls and bidirectional marks, at most 255 bytes.
pub(crate) fn clean(raw: &str) -> String {
    // Windows browsers used to send whole paths.
    let last = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = text(last, MAX_BYTES);
    if name.chars().all(|c| c == '.') { NAMELESS.to_owned() } else { name }
}

/// A line for people: in normal form C, without controls and bidirectional marks, at most `max` bytes. What is too long
/// is cut before the ending.
pub(crate) fn text(raw: &str, max: usize) -> String {
    let shown: String = raw.nfc().filter(|c| !c.is_control() && !turns_around(*c)).collect();
    let shown = shown.trim();
    if shown.len() <= max {
        return shown.to_owned();
    }
    let ending = shown.rfind('.').map_or("", |dot| &shown[dot..]);
    let ending = if ending.len() <= MAX_ENDING { ending } else { "" };
    let stem = &shown[..shown.floor_char_boundary(max - ending.len())];
    format!("{}{ending}", stem.trim_end())
}

/// Marks that change the direction of what follows, and separators of lines: `gpj.exe` must not look like `exe.jpg`.
fn turns_around(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A `Content-Disposition` that offers a file under this name (RFC 6266 §4, RFC 8187).
pub(crate) fn attachment(name: &str) -> String {
    // Appendix D: whoever doesn't know `filename*` gets ASCII without anything that needs escaping.
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        // RFC 8187 §3.2.1: `attr-char`.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

fn is_plain(c: char) -> bool {
    (c.is_ascii_graphic() || c == ' ') && !"\"\\%".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (raw, clean_name) in [
            ("video.mkv", "video.mkv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\anna\\v.mp4", "v.mp4"),
            ("a\r\nBcc: x@y.z\0.mp4", "aBcc: x@y.z.mp4"),
            ("cafe\u{301}.mp4", "café.mp4"),
            ("\u{202e}4pm.exe", "4pm.exe"),
            ("  spaced .mp4 ", "spaced .mp4"),
            ("", "video"),
            ("..", "video"),
            ("a/", "video"),
        ] {
            assert_eq!(clean(raw), clean_name, "{raw:?}");
        }
        let long = clean(&format!("{}.mp4", "ä".repeat(300)));
        assert!(long.len() <= 255 && long.ends_with("ä.mp4"), "{long}");
    }

    #[test]
    fn attachments_are_named_for_old_clients_and_new() {
        assert_eq!(
            attachment("Für \"Elise\" 100%.mp3"),
            "attachment; filename=\"F_r _Elise_ 100_.mp3\"; filename*=UTF-8''F%C3%BCr%20%22Elise%22%20100%25.mp3"
        );
    }

    proptest! {
        #[test]
        fn a_clean_name_is_no_path_and_stays_clean(raw in any::<String>()) {
            let name = clean(&raw);
            prop_assert!((1..=255).contains(&name.len()));
            prop_assert!(!name.contains(['/', '\\', '\n', '\r', '\0']) && name != "." && name != "..");
            prop_assert!(attachment(&name).is_ascii());
        }
    }
}
