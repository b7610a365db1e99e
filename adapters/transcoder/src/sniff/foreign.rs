//! Files that are not read, and whose name is worth a place in an error.

use super::Container;

/// What files begin with, and their names.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x00\x00\x01\xb3", "mpegvideo"),
    (b"\x00\x00\x00\x01\x67", "h264"),
    (b"\x00\x00\x00\x01\x40\x01", "hevc"),
    (b".RMF", "realmedia"),
    (b".ra\xfd", "realaudio"),
    (b"#!AMR", "amr"),
    (b"wvpk", "wavpack"),
    (b"MAC ", "ape"),
    (b"TTA1", "tta"),
    (b"MPCK", "musepack"),
    (b"MP+", "musepack"),
    (b"DSD ", "dsf"),
    (b"FRM8", "dff"),
    (b"tBaK", "tak"),
    (b"OFR ", "optimfrog"),
    (b"MThd", "midi"),
    (b"ADIF", "adif"),
    (b"DKIF", "ivf"),
    (b"YUV4MPEG2", "yuv4mpeg"),
    (b"FWS", "swf"),
    (b"CWS", "swf"),
    (b"\x06\x0e\x2b\x34", "mxf"),
    (b"nut/multimedia container", "nut"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"\x7fELF", "elf"),
    (b"SQLite format 3\0", "sqlite"),
    (b"8BPS", "psd"),
];

/// What says what it is in its first bytes.
pub(super) fn signed(head: &[u8]) -> Option<Container> {
    let known = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic));
    known.map(|(_, name)| Container::Unsupported(name))
}

/// Text of some kind, which is worth a name of its own in an error.
pub(super) fn text(head: &[u8]) -> Option<Container> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let start = &head[..head.len().min(4096)];
    // A character may be cut at the end.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(err) if err.error_len().is_none() => std::str::from_utf8(&start[..err.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    if text.is_empty() || text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    let name = if begins("#EXTM3U") {
        "m3u8"
    } else if begins("<!doctype html") || begins("<html") {
        "html"
    } else if begins("<svg") || (begins("<?xml") && text.contains("<svg")) {
        "svg"
    } else if begins("<?xml") || begins("<MPD") {
        "xml"
    } else if begins("WEBVTT") {
        "webvtt"
    } else {
        "text"
    };
    Some(Container::Unsupported(name))
}
