//! FLAC in its own container (RFC 9639). Its tags are read here and its frames by Symphonia, which would keep every
//! picture in memory.

use microserve_core::transcode::TranscodeError;

use super::{LARGEST_PACKET, Opened, comments, corrupt, symphonia_readers};
use crate::input::{Input, Spliced};
use crate::tags::Tags;

/// No more metadata blocks come before the first frame.
const MOST_BLOCKS: usize = 10_000;
const STREAMINFO: u64 = 34;

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    // Symphonia takes an ID3v1 tag at the end for a part of the last frame, and loses both.
    let tag_at = input.len().saturating_sub(128);
    if input.array_at(tag_at)? == Some(*b"TAG") {
        input.end_at(tag_at);
    }
    let Some([kind, rest @ ..]) = input.array_at::<4>(4)? else { return Err(cut_off()) };
    if kind & 0x7f != 0 || u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as u64 != STREAMINFO {
        return Err(corrupt("its flac headers make no sense: STREAMINFO is not the first"));
    }
    let info = input.vec_at(8, STREAMINFO)?;
    let (tags, frames_at) = metadata(&mut input)?;
    Ok(Opened { tags, ..open_frames(&info, input, frames_at)? })
}

/// Opens the frames from a position on, of which STREAMINFO is known.
pub(super) fn open_frames<'a>(info: &[u8], input: Input<'a>, at: u64) -> Result<Opened<'a>, TranscodeError> {
    // What Symphonia is shown has this block alone, so it is marked as the last.
    let head = [b"fLaC\x80\0\0\x22", info].concat();
    symphonia_readers::open(Spliced::new(head, input, at))
}

/// The tags, and where the first frame is.
fn metadata(input: &mut Input<'_>) -> Result<(Tags, u64), TranscodeError> {
    let (mut tags, mut at) = (Tags::default(), 4);
    for _ in 0..MOST_BLOCKS {
        let Some([kind, a, b, c]) = input.array_at(at)? else { return Err(cut_off()) };
        let end = at + 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        if end > input.len() {
            return Err(cut_off());
        }
        if comments::is_kept(kind) && end - at <= LARGEST_PACKET {
            comments::flac_block(&input.vec_at(at, end - at)?, &mut tags);
        }
        at = end;
        if kind & 0x80 != 0 {
            return Ok((tags, at));
        }
    }
    Err(corrupt("its flac headers make no sense: there is no end to them"))
}

fn cut_off() -> TranscodeError {
    corrupt("it ends before its headers do")
}
