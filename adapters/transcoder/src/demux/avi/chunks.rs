//! Chunks of RIFF, and where the next one is behind damage.

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// A chunk's header.
pub(super) struct Chunk {
    pub(super) id: [u8; 4],
    /// Where its body begins and ends, as it says.
    pub(super) body: u64,
    pub(super) end: u64,
}

impl Chunk {
    fn new(at: u64, bytes: [u8; 8]) -> Self {
        let [i0, i1, i2, i3, s0, s1, s2, s3] = bytes;
        let body = at.saturating_add(8);
        let end = body.saturating_add(u32::from_le_bytes([s0, s1, s2, s3]).into());
        Self { id: [i0, i1, i2, i3], body, end }
    }

    /// The number of the stream whose data it has: two digits, before two letters that say of what kind it is.
    fn stream(&self) -> Option<usize> {
        let [d0 @ b'0'..=b'9', d1 @ b'0'..=b'9', kind @ ..] = self.id else { return None };
        let is_data = matches!(&kind, b"wb" | b"dc" | b"db" | b"pc" | b"tx" | b"sb" | b"iv" | b"__");
        is_data.then_some(usize::from(d0 - b'0') * 10 + usize::from(d1 - b'0'))
    }

    pub(super) fn is_audio_of(&self, stream: usize) -> bool {
        self.stream() == Some(stream) && self.id.ends_with(b"wb")
    }

    /// Whether only a chunk begins like this: data of a stream that there is, or what AVI is made of.
    fn is_certain(&self, streams: usize) -> bool {
        let is_known = matches!(&self.id, b"LIST" | b"RIFF" | b"JUNK" | b"idx1") || self.id.starts_with(b"ix");
        is_known || self.stream().is_some_and(|stream| stream < streams)
    }
}

pub(super) fn chunk_at(input: &mut Input<'_>, at: u64) -> Result<Option<Chunk>, TranscodeError> {
    Ok(input.array_at(at)?.map(|bytes| Chunk::new(at, bytes)))
}

/// What a list, or the file itself, says that it is.
pub(super) fn list_kind(input: &mut Input<'_>, chunk: &Chunk) -> Result<Option<[u8; 4]>, TranscodeError> {
    input.array_at(chunk.body)
}

/// Whether a chunk may well begin at a position, or the file end there.
pub(super) fn follows(input: &mut Input<'_>, at: u64, streams: usize) -> Result<bool, TranscodeError> {
    if at == input.len() {
        return Ok(true);
    }
    let Some(chunk) = chunk_at(input, at)? else { return Ok(false) };
    let is_name = chunk.id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
    Ok(chunk.is_certain(streams) || (is_name && chunk.end <= input.len()))
}

/// How far is looked at once.
const STRETCH: u64 = 1024 * 1024;
const STEP: u64 = 16 * 1024;
/// So many headers of a stretch are looked into: data has a few by chance, and hostile files have nothing else.
const MOST_GUESSES: u32 = 2000;

/// Looks for the next chunk: the position is moved to it, or to the end of what was looked through. A chunk that is
/// only found is one that another follows.
pub(super) fn find(input: &mut Input<'_>, at: &mut u64, streams: usize) -> Result<bool, TranscodeError> {
    let (end, mut guesses) = (at.saturating_add(STRETCH), 0);
    while *at < end.min(input.len()) && guesses < MOST_GUESSES {
        let bytes = input.vec_at(*at, STEP + 7)?;
        for (n, eight) in bytes.windows(8).take(STEP as usize).enumerate() {
            let Some(eight) = eight.first_chunk::<8>() else { break };
            let chunk = Chunk::new(*at + n as u64, *eight);
            if !chunk.is_certain(streams) {
                continue;
            }
            guesses += 1;
            if leads_on(input, &chunk, streams)? {
                *at = chunk.body - 8;
                return Ok(true);
            }
        }
        *at = at.saturating_add(STEP);
    }
    *at = (*at).min(input.len());
    Ok(false)
}

fn leads_on(input: &mut Input<'_>, chunk: &Chunk, streams: usize) -> Result<bool, TranscodeError> {
    if let b"LIST" | b"RIFF" = &chunk.id {
        return Ok(list_kind(input, chunk)?.is_some_and(|kind| matches!(&kind, b"movi" | b"rec " | b"AVIX" | b"INFO")));
    }
    let size = chunk.end - chunk.body;
    Ok(chunk.end <= input.len()
        && (follows(input, chunk.end + size % 2, streams)? || follows(input, chunk.end, streams)?))
}
