//! Tags behind the last frame: ID3v1, Lyrics3 and APE. They are no sound, and no damage either.

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// No more tags stand behind each other.
const MOST: usize = 4;
/// No tag is larger.
const LARGEST: u64 = 32 * 1024 * 1024;

/// Hides the tags that the input ends with.
pub(super) fn hide(input: &mut Input<'_>) -> Result<(), TranscodeError> {
    for _ in 0..MOST {
        let size = id3v1(input)?.or(lyrics(input)?).or(ape(input)?);
        let Some(end) = size.filter(|size| *size <= LARGEST).and_then(|size| input.len().checked_sub(size)) else {
            break;
        };
        input.end_at(end);
    }
    Ok(())
}

/// Bytes that begin so far before the end.
fn at_end<const N: usize>(input: &mut Input<'_>, before: u64) -> Result<Option<[u8; N]>, TranscodeError> {
    match input.len().checked_sub(before) {
        Some(at) => input.array_at(at),
        None => Ok(None),
    }
}

/// ID3v1: 128 bytes, before which an enhanced tag may have 227 more.
fn id3v1(input: &mut Input<'_>) -> Result<Option<u64>, TranscodeError> {
    const SIZE: u64 = 128;
    const ENHANCED: u64 = 227;
    if at_end(input, SIZE)? != Some(*b"TAG") {
        return Ok(None);
    }
    let is_enhanced = at_end(input, SIZE + ENHANCED)? == Some(*b"TAG+");
    Ok(Some(SIZE + if is_enhanced { ENHANCED } else { 0 }))
}

/// Lyrics3 2.00: its size in six digits, without them and the mark behind them.
fn lyrics(input: &mut Input<'_>) -> Result<Option<u64>, TranscodeError> {
    let Some(end) = at_end::<15>(input, 15)?.filter(|end| end.ends_with(b"LYRICS200")) else { return Ok(None) };
    let size = std::str::from_utf8(&end[..6]).ok().and_then(|digits| digits.parse::<u64>().ok());
    Ok(size.map(|size| size + 15))
}

/// APE tags, versions 1 and 2: the size in the footer counts the footer, and not the header, which may be there.
fn ape(input: &mut Input<'_>) -> Result<Option<u64>, TranscodeError> {
    const FOOTER: u64 = 32;
    const HAS_HEADER: u8 = 0x80;
    let Some(footer) = at_end::<24>(input, FOOTER)?.filter(|end| end.starts_with(b"APETAGEX")) else { return Ok(None) };
    let size = u64::from(u32::from_le_bytes([footer[12], footer[13], footer[14], footer[15]]));
    let header = if footer[23] & HAS_HEADER == 0 { 0 } else { FOOTER };
    Ok((size >= FOOTER).then_some(size + header))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn left(file: &[u8]) -> u64 {
        let mut cursor = Cursor::new(file);
        let mut input = Input::new(&mut cursor).unwrap();
        hide(&mut input).unwrap();
        input.len()
    }

    #[test]
    fn tags_behind_each_other_are_hidden() {
        let sound = vec![1; 500];
        let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
        let enhanced = [&b"TAG+"[..], &[b' '; 223]].concat();
        let lyrics = b"LYRICSBEGIN000020LYRICS200".to_vec();
        let lyrics = [&lyrics[..11], b"LYR02abcd", &lyrics[11..]].concat();
        let footer = |flags: u8| [&b"APETAGEX\xd0\x07\0\0\x28\0\0\0\x01\0\0\0\0\0\0"[..], &[flags], &[0; 8]].concat();
        let ape = [&footer(0xa0)[..], &[7; 8], &footer(0x80)].concat();
        let bare = [&[7; 8][..], &footer(0)].concat();
        for tags in
            [vec![&id3v1], vec![&ape, &id3v1], vec![&bare, &lyrics, &enhanced, &id3v1], vec![&lyrics, &id3v1], vec![]]
        {
            let file = [sound.clone(), tags.into_iter().flatten().copied().collect()].concat();
            assert_eq!(left(&file), 500);
        }
        // What is cut off in front is none.
        assert_eq!(left(&id3v1[1..]), 127);
        assert_eq!(left(&footer(0)[..]), 32);
        assert_eq!(left(b"999999LYRICS200"), 15);
    }
}
