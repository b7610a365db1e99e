//! Elements: an id, a size, a body (RFC 8794).

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// The ids that are looked at (RFC 9559, 5.1).
pub(super) mod id {
    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const SEEK_HEAD: u32 = 0x114d_9b74;
    pub(in super::super) const SEEK: u32 = 0x4dbb;
    pub(in super::super) const SEEK_ID: u32 = 0x53ab;
    pub(in super::super) const SEEK_POSITION: u32 = 0x53ac;
    pub(in super::super) const INFO: u32 = 0x1549_a966;
    pub(in super::super) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
    pub(in super::super) const DURATION: u32 = 0x4489;
    pub(in super::super) const TITLE: u32 = 0x7ba9;
    pub(in super::super) const TRACKS: u32 = 0x1654_ae6b;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xae;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xd7;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const FLAG_DEFAULT: u32 = 0x88;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(in super::super) const CODEC_DELAY: u32 = 0x56aa;
    pub(in super::super) const LANGUAGE: u32 = 0x22_b59c;
    pub(in super::super) const LANGUAGE_BCP47: u32 = 0x22_b59d;
    pub(in super::super) const AUDIO: u32 = 0xe1;
    pub(in super::super) const SAMPLING_FREQUENCY: u32 = 0xb5;
    pub(in super::super) const CHANNELS: u32 = 0x9f;
    pub(in super::super) const BIT_DEPTH: u32 = 0x6264;
    pub(in super::super) const CONTENT_ENCODINGS: u32 = 0x6d80;
    pub(in super::super) const CONTENT_ENCODING: u32 = 0x6240;
    pub(in super::super) const CONTENT_COMPRESSION: u32 = 0x5034;
    pub(in super::super) const CONTENT_COMP_ALGO: u32 = 0x4254;
    pub(in super::super) const CONTENT_COMP_SETTINGS: u32 = 0x4255;
    pub(in super::super) const CONTENT_ENCODING_SCOPE: u32 = 0x5032;
    pub(in super::super) const CONTENT_ENCRYPTION: u32 = 0x5035;
    pub(in super::super) const TRACK_TIMESTAMP_SCALE: u32 = 0x23_314f;
    pub(in super::super) const TAGS: u32 = 0x1254_c367;
    pub(in super::super) const TAG: u32 = 0x7373;
    pub(in super::super) const TARGETS: u32 = 0x63c0;
    pub(in super::super) const TARGET_TYPE_VALUE: u32 = 0x68ca;
    pub(in super::super) const SIMPLE_TAG: u32 = 0x67c8;
    pub(in super::super) const TAG_NAME: u32 = 0x45a3;
    pub(in super::super) const TAG_STRING: u32 = 0x4487;
    pub(in super::super) const ATTACHMENTS: u32 = 0x1941_a469;
    pub(in super::super) const ATTACHED_FILE: u32 = 0x61a7;
    pub(in super::super) const FILE_DATA: u32 = 0x465c;
    pub(in super::super) const CHAPTERS: u32 = 0x1043_a770;
    pub(in super::super) const EDITION_ENTRY: u32 = 0x45b9;
    pub(in super::super) const EDITION_FLAG_HIDDEN: u32 = 0x45bd;
    pub(in super::super) const EDITION_FLAG_DEFAULT: u32 = 0x45db;
    pub(in super::super) const CHAPTER_ATOM: u32 = 0xb6;
    pub(in super::super) const CHAPTER_TIME_START: u32 = 0x91;
    pub(in super::super) const CHAPTER_TIME_END: u32 = 0x92;
    pub(in super::super) const CHAPTER_FLAG_HIDDEN: u32 = 0x98;
    pub(in super::super) const CHAPTER_FLAG_ENABLED: u32 = 0x4598;
    pub(in super::super) const CHAPTER_DISPLAY: u32 = 0x80;
    pub(in super::super) const CHAP_STRING: u32 = 0x85;
    pub(in super::super) const CLUSTER: u32 = 0x1f43_b675;
    pub(in super::super) const TIMESTAMP: u32 = 0xe7;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(in super::super) const BLOCK_GROUP: u32 = 0xa0;
    pub(in super::super) const BLOCK: u32 = 0xa1;
    pub(in super::super) const DISCARD_PADDING: u32 = 0x75a2;
}

/// Elements that may stand beside clusters and in them, and need not be looked at.
pub(super) const PASSED_OVER: [u32; 13] = [
    0xec,        // Void
    0xbf,        // CRC-32
    0xab,        // PrevSize
    0xa7,        // Position
    0xaf,        // EncryptedBlock
    0x5854,      // SilentTracks
    0x1c53_bb6b, // Cues
    0x1a45_dfa3, // EBML
    id::SEEK_HEAD,
    id::INFO,
    id::TRACKS,
    id::TAGS,
    id::CHAPTERS,
];

/// Where an element lies.
pub(super) struct Element {
    pub(super) id: u32,
    pub(super) body: u64,
    /// `None`: its end is not known until something follows that can't be in it.
    pub(super) size: Option<u64>,
}

impl Element {
    pub(super) fn end(&self) -> Option<u64> {
        self.body.checked_add(self.size?)
    }
}

/// The element that begins at a position; `None` when none does.
pub(super) fn element_at(input: &mut Input<'_>, at: u64) -> Result<Option<Element>, TranscodeError> {
    let mut head = [0; 12];
    let read = input.read_at(at, &mut head)?;
    Ok(parse(&head[..read]).map(|(id, size, length)| Element { id, body: at + length as u64, size }))
}

/// The id and size that bytes begin with, and how many bytes they take.
fn parse(head: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let first = *head.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 4 {
        return None;
    }
    let id = head.get(..length)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (size, more) = vint(&head[length..])?;
    let unknown = (1u64 << (7 * more)) - 1;
    Some((id, (size != unknown).then_some(size), length + more))
}

/// A number of variable length, and how many bytes it takes (RFC 8794, 4).
pub(super) fn vint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let marker = 0x80u8 >> (length - 1);
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(u64::from(first & !marker), |n, byte| n << 8 | u64::from(*byte)), length))
}

/// The elements in a body that has been read.
pub(super) fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, length) = parse(bytes)?;
        let rest = &bytes[length..];
        let size = size.map_or(rest.len(), |size| usize::try_from(size).unwrap_or(usize::MAX).min(rest.len()));
        bytes = &rest[size..];
        Some((id, &rest[..size]))
    })
}

/// An unsigned number: big-endian, of up to eight bytes.
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A signed number: big-endian two's complement, of up to eight bytes.
pub(super) fn signed(bytes: &[u8]) -> i64 {
    let start = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().take(8).fold(start, |n, byte| n << 8 | i64::from(*byte))
}

/// A floating-point number of four or eight bytes.
pub(super) fn float(bytes: &[u8]) -> f64 {
    match bytes.len() {
        4 => bytes.try_into().map_or(0.0, |bytes| f64::from(f32::from_be_bytes(bytes))),
        8 => bytes.try_into().map_or(0.0, f64::from_be_bytes),
        _ => 0.0,
    }
}

/// A text, without the zeros that may follow it.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{parse, signed, vint};

    #[test]
    fn numbers_have_their_length_in_front() {
        assert_eq!(vint(&[0x81]), Some((1, 1)));
        assert_eq!(vint(&[0x40, 0x02]), Some((2, 2)));
        assert_eq!(vint(&[0x01, 0, 0, 0, 0, 0, 1, 0]), Some((256, 8)));
        assert_eq!(vint(&[0]), None);
        assert_eq!(vint(&[0x40]), None);
        assert_eq!((signed(&[0xff]), signed(&[0x7f]), signed(&[])), (-1, 127, 0));
    }

    #[test]
    fn a_size_of_all_ones_is_unknown() {
        assert_eq!(parse(&[0x1f, 0x43, 0xb6, 0x75, 0xff]), Some((0x1f43_b675, None, 5)));
        assert_eq!(
            parse(&[0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Some((0x1f43_b675, None, 12))
        );
        assert_eq!(parse(&[0xa3, 0x82]), Some((0xa3, Some(2), 2)));
        assert_eq!(parse(&[0x08, 0x82]), None);
    }
}
