//! The samples that the `moov` box lists (ISO/IEC 14496-12, 8.7).

use microserve_core::transcode::TranscodeError;

use super::Found;
use super::boxes::{BoxHead, Table, children};
use crate::demux::{LARGEST_PACKET, Packet, corrupt};
use crate::input::Input;
use crate::sniff::mpeg;
use crate::span::{Moment, Span};

/// PCM has a sample for each moment; so many are read at once.
pub(super) const PCM_FRAMES: u64 = 4096;

/// The tables of a track, and where in them its reader is.
#[derive(Clone, Default)]
pub(super) struct Samples {
    chunk_offsets: Table,
    chunk_runs: Table,
    sizes: Table,
    durations: Table,
    /// The size of every sample; 0: they have sizes of their own.
    same_size: u32,
    count: u64,
    scale: u32,
    /// Bytes of a moment of PCM, which is read many samples at a time.
    pcm_frame: Option<u64>,
    /// Samples and bytes of a block of ADPCM whose samples are counted one by one.
    block: Option<(u64, u64)>,
    /// The sample description of the chunk, counted from one.
    description: u32,

    chunk: u64,
    run: u64,
    sample: u64,
    left_in_chunk: u64,
    offset: u64,
    clock: Clock,
    /// Bytes of samples are not in the file.
    missing: bool,
}

/// Where in the list of durations the next sample is.
#[derive(Clone, Default)]
struct Clock {
    row: u64,
    /// Samples of the row that are still to come, and their ticks.
    left: u64,
    delta: u32,
    /// When the next sample is due.
    ticks: u64,
}

impl Samples {
    pub(super) fn read(input: &mut Input<'_>, stbl: &BoxHead, scale: u32) -> Result<Self, TranscodeError> {
        let mut samples = Self { scale, ..Self::default() };
        for table in children(input, stbl)? {
            let Some([_, _, _, _, c0, c1, c2, c3]) = input.array_at(table.body)? else { continue };
            let rows = u64::from(u32::from_be_bytes([c0, c1, c2, c3]));
            let plain = |row| Table::new(table.body + 8, table.end, rows, row);
            match &table.kind {
                b"stco" => samples.chunk_offsets = plain(4),
                b"co64" => samples.chunk_offsets = plain(8),
                b"stsc" => samples.chunk_runs = plain(12),
                b"stts" => samples.durations = plain(8),
                // Sizes of eight or sixteen bits; those of four, two to a byte, nobody writes.
                b"stz2" => {
                    let Some([bits, r0, r1, r2, r3]) = input.array_at(table.body + 7)? else { continue };
                    let (row, rows) = (u64::from(bits / 8).max(1), u64::from(u32::from_be_bytes([r0, r1, r2, r3])));
                    samples.sizes = Table::new(table.body + 12, table.end, if bits < 8 { 0 } else { rows }, row);
                    samples.count = samples.sizes.rows;
                }
                b"stsz" => {
                    // Here the second number is the size that all samples have, and the count comes third.
                    let Some(count) = input.array_at(table.body + 8)? else { continue };
                    samples.same_size = u32::from_be_bytes([c0, c1, c2, c3]);
                    samples.count = u64::from(u32::from_be_bytes(count));
                    samples.sizes = Table::new(table.body + 12, table.end, samples.count, 4);
                }
                _ => {}
            }
        }
        if samples.same_size == 0 {
            samples.count = samples.count.min(samples.sizes.rows);
        }
        Ok(samples)
    }

    /// PCM of so many bytes for each moment is read many moments at a time.
    pub(super) fn read_as_pcm(&mut self, bytes_per_frame: Option<u64>) {
        // Samples with sizes of their own hold several moments each, and are packets as they stand.
        self.pcm_frame = bytes_per_frame.filter(|bytes| self.same_size > 0 && *bytes > 0);
    }

    /// ADPCM of so many samples and bytes to a block. QuickTime counts its samples as if they were not compressed, of a
    /// byte or two each ("Sound sample descriptions", version 1); others have a block as a sample.
    pub(super) fn read_as_blocks(&mut self, block: Option<(u64, u64)>) {
        self.block = block.filter(|(_, bytes)| self.same_size > 0 && u64::from(self.same_size) < *bytes);
    }

    /// Whether the file turned out to be without bytes of its samples, because it was cut off.
    pub(super) fn are_missing(&self) -> bool {
        self.missing
    }

    /// The ticks of all samples, and those of the last one if it has fewer than the others.
    pub(super) fn duration(&mut self, input: &mut Input<'_>) -> Result<(u64, Option<u64>), TranscodeError> {
        let (mut total, mut usual, mut last) = (0u64, 0, 0);
        for n in 0..self.durations.rows {
            let Some([c0, c1, c2, c3, d0, d1, d2, d3]) = self.durations.row(input, n)? else { break };
            let (count, delta) = (u32::from_be_bytes([c0, c1, c2, c3]), u32::from_be_bytes([d0, d1, d2, d3]));
            total = total.saturating_add(u64::from(count) * u64::from(delta));
            usual = usual.max(delta);
            last = if count == 1 || n == 0 { delta } else { usual };
        }
        // Writers that don't know how long the last one is leave one tick, or none.
        Ok((total, (1 < last && last < usual).then_some(last.into())))
    }

    /// The ticks of the first sample.
    pub(super) fn first_duration(&mut self, input: &mut Input<'_>) -> Result<u64, TranscodeError> {
        let first: Option<[u8; 8]> = self.durations.row(input, 0)?;
        Ok(first.map_or(0, |[.., a, b, c, d]| u64::from(u32::from_be_bytes([a, b, c, d]))))
    }

    /// The description of the first sample.
    pub(super) fn first_description(&mut self, input: &mut Input<'_>) -> Result<u32, TranscodeError> {
        Ok(self.chunk_run(input)?.map_or(1, |(_, description)| description))
    }

    /// The header of the first sample, if that is a frame of MPEG audio.
    pub(super) fn first_frame(&self, input: &mut Input<'_>) -> Result<Option<mpeg::Frame>, TranscodeError> {
        let mut packet = Packet::default();
        match self.clone().next(input, None, &mut packet) {
            Err(err @ TranscodeError::Source(_)) => Err(err),
            _ => Ok(mpeg::frame(&packet.data)),
        }
    }

    /// Reads the next packet, unless its description is another than the one that is being decoded.
    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        decoded: Option<u32>,
        packet: &mut Packet,
    ) -> Result<Found, TranscodeError> {
        while self.sample < self.count {
            if self.left_in_chunk == 0 && !self.next_chunk(input)? {
                return Ok(Found::End);
            }
            if decoded.is_some_and(|decoded| decoded != self.description) {
                return Ok(Found::Description(self.description));
            }
            let (taken, size) = self.measure(input)?;
            if size > LARGEST_PACKET {
                return Err(corrupt("a sample is larger than any sample can be"));
            }
            let at = self.offset;
            // Nothing of the chunk is in the file, which was cut off. There may be 2³² samples in it.
            if at >= input.len() {
                self.missing = true;
                let gone = std::mem::take(&mut self.left_in_chunk);
                self.sample = self.sample.saturating_add(gone);
                self.tick(input, gone)?;
                continue;
            }
            self.offset = self.offset.saturating_add(size);
            self.left_in_chunk -= taken;
            self.sample += taken;
            let time = self.clock.ticks;
            self.tick(input, taken)?;
            if size == 0 {
                continue;
            }
            packet.data = input.vec_at(at, size)?;
            if packet.data.len() as u64 != size && self.pcm_frame.is_none() {
                continue; // its bytes are not in the file, which was cut off; others may be
            }
            packet.time = Some(Moment::new(i64::try_from(time).unwrap_or(i64::MAX), self.scale.into()));
            if self.sample == self.count {
                let (_, shorter) = self.duration(input)?;
                packet.at_most = shorter.filter(|_| self.pcm_frame.is_none()).map(|n| Span::new(n, self.scale.into()));
            }
            if self.block.is_some_and(|(frames, _)| taken < frames) {
                packet.at_most = Some(Span::new(taken, self.scale.into()));
            }
            if !packet.data.is_empty() {
                return Ok(Found::Packet);
            }
        }
        Ok(Found::End)
    }

    /// Lets the time of so many samples pass.
    fn tick(&mut self, input: &mut Input<'_>, samples: u64) -> Result<(), TranscodeError> {
        let clock = &mut self.clock;
        let mut left = samples;
        while left > 0 {
            if clock.left == 0 {
                let Some([c0, c1, c2, c3, d0, d1, d2, d3]) = self.durations.row(input, clock.row)? else { break };
                clock.left = u32::from_be_bytes([c0, c1, c2, c3]).into();
                clock.delta = u32::from_be_bytes([d0, d1, d2, d3]);
                clock.row += 1;
            }
            let passed = left.min(clock.left);
            clock.ticks = clock.ticks.saturating_add(passed * u64::from(clock.delta));
            clock.left -= passed;
            left -= passed;
        }
        Ok(())
    }

    /// How many samples the next packet has, and how many bytes.
    fn measure(&mut self, input: &mut Input<'_>) -> Result<(u64, u64), TranscodeError> {
        if let Some(frame) = self.pcm_frame {
            let frames = PCM_FRAMES.min(self.left_in_chunk).min(self.count.saturating_sub(self.sample));
            return Ok((frames, frames * frame));
        }
        if let Some((frames, bytes)) = self.block {
            let left = self.left_in_chunk.min(self.count.saturating_sub(self.sample));
            let blocks = (PCM_FRAMES / frames.max(1)).min(left / frames.max(1)).max(1);
            return Ok(((blocks * frames).min(left).max(1), blocks * bytes));
        }
        if self.same_size > 0 {
            return Ok((1, self.same_size.into()));
        }
        let size = match self.sizes.row_size() {
            1 => self.sizes.row(input, self.sample)?.map_or(0, |[size]| u32::from(size)),
            2 => self.sizes.row(input, self.sample)?.map_or(0, |size| u32::from(u16::from_be_bytes(size))),
            _ => self.sizes.row(input, self.sample)?.map_or(0, u32::from_be_bytes),
        };
        Ok((1, size.into()))
    }

    /// Goes to the next chunk that has samples; says whether there is one.
    fn next_chunk(&mut self, input: &mut Input<'_>) -> Result<bool, TranscodeError> {
        while self.chunk < self.chunk_offsets.rows {
            let Some((samples, description)) = self.chunk_run(input)? else { return Ok(false) };
            let offset = match self.chunk_offsets.row_size() {
                8 => self.chunk_offsets.row(input, self.chunk)?.map(u64::from_be_bytes),
                _ => self.chunk_offsets.row(input, self.chunk)?.map(|row| u64::from(u32::from_be_bytes(row))),
            };
            self.chunk += 1;
            let Some(offset) = offset else { return Ok(false) };
            if samples > 0 {
                (self.offset, self.left_in_chunk, self.description) = (offset, samples, description);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Samples in the chunk that comes next, and their description.
    fn chunk_run(&mut self, input: &mut Input<'_>) -> Result<Option<(u64, u32)>, TranscodeError> {
        loop {
            let next: Option<[u8; 12]> = self.chunk_runs.row(input, self.run + 1)?;
            match next {
                // Chunks are counted from one.
                Some([a, b, c, d, ..]) if u64::from(u32::from_be_bytes([a, b, c, d])) <= self.chunk + 1 => {
                    self.run += 1;
                }
                _ => break,
            }
        }
        let Some([_, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3]) = self.chunk_runs.row(input, self.run)? else {
            return Ok(None);
        };
        Ok(Some((u64::from(u32::from_be_bytes([s0, s1, s2, s3])), u32::from_be_bytes([d0, d1, d2, d3]))))
    }
}
