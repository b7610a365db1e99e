//! The frame without sound that comes first and tells how long the rest is (Xing's header, and the LAME tag
//! specification revision 1). What depends on the sound is filled in as its frames pass by.

use std::io::{Seek, SeekFrom, Write};

use microserve_core::transcode::TranscodeError;

use super::seek_table::SeekTable;
use super::{HEADER, crc, silent_frame};
use crate::sniff::mpeg;

/// From the word `Info` or `Xing` to the end of the tag.
const TAG: usize = 156;

/// A tag that is filled in.
pub(crate) struct Tag {
    frame: Vec<u8>,
    /// Where the tag begins in its frame.
    at: usize,
    /// Samples of a frame.
    per_frame: u64,
    frames: u64,
    bytes: u64,
    music_crc: u16,
    seek_table: SeekTable,
}

impl Tag {
    /// The tag in this frame, of which nothing is filled in that depends on the sound. `None`: the frame has no room for
    /// one.
    pub(crate) fn new(frame: Vec<u8>) -> Option<Self> {
        let head = mpeg::frame(&frame)?;
        let at = HEADER + head.side_info();
        let (per_frame, seek_table) = (u64::from(head.samples), SeekTable::default());
        (frame.len() >= at + TAG).then_some(Self {
            frame,
            at,
            per_frame,
            frames: 0,
            bytes: 0,
            music_crc: 0,
            seek_table,
        })
    }

    /// A tag in a frame with a header like this one, but for the bitrate if that leaves no room, for a sound of a
    /// constant bitrate in kbit/s. `quality` is LAME's number for its settings.
    pub(crate) fn constant(like: [u8; HEADER], kbps: u16, quality: u32) -> Option<Self> {
        let at = HEADER + mpeg::frame(&like)?.side_info();
        let mut frame = silent_frame(like, at + TAG)?;
        let size = frame.len();
        frame.truncate(at);
        frame.extend(b"Info\0\0\0\x0f");
        frame.extend([0; 108]); // frames, bytes, seek table
        frame.extend(quality.to_be_bytes());
        frame.extend(b"LAME3.100"); // of others, programs don't believe the delay and the padding
        frame.extend([0x01, 0]); // revision 0, constant bitrate; lowpass unknown
        frame.extend([0; 8]); // peak and gains unknown
        frame.extend([0x04, u8::try_from(kbps).unwrap_or(u8::MAX)]); // ATH type 4
        frame.resize(size, 0);
        Self::new(frame)
    }

    /// What stands in the tag's place until it is complete.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Takes note of the next frame behind the tag.
    pub(crate) fn add(&mut self, frame: &[u8]) {
        self.seek_table.add(self.bytes);
        self.music_crc = crc(self.music_crc, frame);
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    /// Samples in all frames, those that are not heard among them.
    fn samples(&self) -> u64 {
        self.frames * self.per_frame
    }

    /// The mean bitrate in bit/s at a sample rate, without the tag.
    pub(crate) fn bitrate(&self, rate: u32) -> u32 {
        let seconds = self.samples() as f64 / f64::from(rate);
        if seconds > 0.0 { (self.bytes as f64 * 8.0 / seconds).round() as u32 } else { 0 }
    }

    /// Says that the bitrate is not constant after all, in a way that nothing is known of.
    pub(crate) fn set_variable(&mut self) {
        self.set(0, b"Xing");
        self.set(129, &[0]);
        self.set(140, &[0]);
    }

    /// Fills it in for a sound of `samples` samples, in front of which decoders leave out `delay` and their own delay.
    pub(crate) fn complete(&mut self, delay: u64, samples: u64) {
        let padding = self.samples().saturating_sub(delay + samples).min(0xfff);
        let total = self.bytes + self.frame.len() as u64;
        let delays = ((delay.min(0xfff) as u32) << 12 | padding as u32).to_be_bytes();
        let toc = self.seek_table.percents(self.frame.len() as u64, total);
        self.set(8, &saturated(self.frames).to_be_bytes());
        self.set(12, &saturated(total).to_be_bytes());
        self.set(16, &toc);
        self.set(141, &delays[1..]);
        self.set(148, &saturated(total).to_be_bytes());
        self.set(152, &self.music_crc.to_be_bytes());
        let crc = crc(0, &self.frame[..self.at + 154]);
        self.set(154, &crc.to_be_bytes());
    }

    /// Writes it over the placeholder, which begins at `start`, and completes the file. Inserted before the placeholder, a
    /// player would hear that as sound.
    pub(crate) fn write_over(&self, sink: &mut (impl Write + Seek), start: u64) -> Result<(), TranscodeError> {
        sink.seek(SeekFrom::Start(start))
            .and_then(|_| sink.write_all(&self.frame))
            .and_then(|()| sink.seek(SeekFrom::End(0)))
            .and_then(|_| sink.flush())
            .map_err(TranscodeError::Sink)
    }

    fn set(&mut self, at: usize, field: &[u8]) {
        let at = self.at + at;
        self.frame[at..at + field.len()].copy_from_slice(field);
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
