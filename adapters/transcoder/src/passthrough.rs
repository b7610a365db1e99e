//! Sound that is MP3 already, and of which no option asks for a change: its frames are copied as they are, from whatever
//! container, behind a tag frame and an ID3 tag of ours. No quality is lost, and it costs next to nothing.
//!
//! Sinks can't take back what was written, so the packets are gone through twice: first to see whether all of them can
//! be copied (`plan`), then to copy them. That is cheap even where a container's every byte has to be read for its
//! packets: nothing is decoded, and encoding costs far more. What is in doubt is encoded, which is always right, and says
//! what is wrong with a source: damage, gaps amid the sound, several parts, a change of the sample rate or of the
//! channels, checksums that don't hold. Damage that only a decoder would notice sounds as it does in the source.
//!
//! The sound begins and ends at the same sample as that of an MP3 that is encoded: the tag tells decoders what to leave
//! out in front and behind, up to 4095 samples (LAME tag specification). At least one frame more than is heard stands in
//! front, since frames overlap; and since the main data of frames lie in the room of frames before them, the reservoir
//! (ISO/IEC 11172-3, 2.4.3.4), a silent frame holds those of frames that are cut off. Frames whose main data the source
//! has not either are silent, as they are in the source. Sound that comes late has more silent frames in front.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use microserve_core::transcode::{Options, Progress, Sink, TranscodeError, Transcoded};

use crate::chosen::{Chosen, part_of};
use crate::demux::{Packet, Read, Track};
use crate::guard::{Longest, Reporter, guarded};
use crate::mp3::{HEADER, Tag, silent_frame};

mod frame;
mod plan;

use frame::Frame;
pub(crate) use plan::Plan;
use plan::Scan;

/// All packets together may be so many times as large as the file, whose lists of samples may point anywhere.
const MOST_BYTES: u64 = 4;

/// Whether it is worth a look.
pub(crate) fn is_possible(track: &Track, options: &Options) -> bool {
    track.info.codec == "mp3" && !options.changes_sound()
}

/// Goes through the packets of a track to see how they can be copied. `None`: not at all.
pub(crate) fn plan(
    mut chosen: Chosen<'_>,
    options: &Options,
    longest: Longest,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Option<Plan>, TranscodeError> {
    let mut reporter = Reporter::new(progress, chosen.duration(options));
    let mut scan = Scan::new(&chosen.track, part_of(options), longest);
    let (mut packet, mut bytes) = (Packet::default(), 0);
    while !scan.is_over() {
        let small = match guarded(|| chosen.opened.packets.next(&mut packet)).flatten() {
            Ok(Read::Packet) => {
                bytes += packet.data.len() as u64;
                if bytes > chosen.bytes.saturating_mul(MOST_BYTES) || !scan.add(&packet)? {
                    return Ok(None);
                }
                true
            }
            Ok(Read::Nothing) => false,
            Ok(Read::End) => break,
            Err(err @ TranscodeError::Source(_)) => return Err(err),
            Ok(Read::Decoder(_) | Read::Changed(_)) | Err(_) => return Ok(None),
        };
        reporter.count(scan.seconds, small)?;
    }
    Ok(if chosen.opened.packets.is_damaged() { None } else { scan.plan() })
}

/// Copies what was planned.
pub(crate) fn copy(
    plan: &Plan,
    mut chosen: Chosen<'_>,
    sink: &mut dyn Sink,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Transcoded, TranscodeError> {
    let mut reporter = Reporter::new(progress, chosen.duration(options));
    let head = chosen.head(options, None)?;
    let mut writer = Writer::new(plan, &mut *sink, head.bytes())?;
    let mut packet = Packet::default();
    let mut n = 0;
    while n < plan.frames.end {
        let small = match guarded(|| chosen.opened.packets.next(&mut packet))?? {
            Read::Packet => {
                let frame = Frame::parse(&packet.data).filter(|frame| plan.is_of_kind(frame)).ok_or_else(changed)?;
                if n < plan.frames.start {
                    writer.pass_over(&frame, &packet.data);
                } else {
                    writer.add(&frame, &mut packet.data)?;
                }
                n += 1;
                true
            }
            Read::Nothing => false,
            Read::Decoder(_) | Read::Changed(_) | Read::End => return Err(changed()),
        };
        reporter.count(n as f64 * plan.seconds_per_frame(), small)?;
    }
    let tag = writer.finish()?;
    head.close(sink, plan.samples, plan.kind.rate)?;
    let (sample_rate, channels) = (plan.kind.rate, plan.kind.channels);
    let source = chosen.found(sample_rate, channels, plan.seconds, options);
    let bitrate = tag.bitrate(sample_rate);
    Ok(Transcoded { source, samples: plan.samples, sample_rate, channels, bitrate, lost_packets: 0 })
}

/// Writes frames that are copied.
struct Writer<'a> {
    plan: &'a Plan,
    sink: BufWriter<&'a mut dyn Sink>,
    /// Where the frames begin: behind the ID3 tag.
    start: u64,
    /// From the first frame on: the tag, and the frames' bitrate in kbit/s.
    tag: Option<(Tag, u16)>,
    is_constant: bool,
    /// The last bytes of room for main data before the first frame.
    before: Vec<u8>,
    /// How many bytes of room there are behind the tag in which main data of later frames may lie.
    room: usize,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a Plan, sink: &'a mut dyn Sink, head: &[u8]) -> Result<Self, TranscodeError> {
        let mut sink = BufWriter::with_capacity(64 * 1024, sink);
        sink.write_all(head).map_err(TranscodeError::Sink)?;
        let start = head.len() as u64;
        Ok(Self { plan, sink, start, tag: None, is_constant: true, before: Vec::new(), room: 0 })
    }

    /// A frame that is not copied, before the first one that is: that may have main data there.
    fn pass_over(&mut self, frame: &Frame, packet: &[u8]) {
        self.before.extend_from_slice(frame.room(packet));
        self.before.drain(..self.before.len().saturating_sub(self.plan.most_before()));
    }

    fn add(&mut self, frame: &Frame, packet: &mut [u8]) -> Result<(), TranscodeError> {
        if self.tag.is_none()
            && let Some(like) = packet.first_chunk()
        {
            self.begin(*like, frame)?;
        }
        if frame.main_data_begin > self.room || frame.is_tag {
            frame.silence(packet);
        }
        self.room += frame.room(packet).len();
        self.write(packet, frame.head.kbps)
    }

    /// Writes the tag and the silent frames, before the first frame, which has this header.
    fn begin(&mut self, like: [u8; HEADER], first: &Frame) -> Result<(), TranscodeError> {
        let kbps = first.head.kbps;
        let (tag, before) = (Tag::constant(like, kbps, 0).ok_or_else(no_room)?, std::mem::take(&mut self.before));
        self.sink.write_all(tag.frame()).map_err(TranscodeError::Sink)?;
        self.tag = Some((tag, kbps));
        self.room = before.len();
        for left in (0..self.plan.silent).rev() {
            let kept = if left == 0 { &before[..] } else { &[] };
            let mut silent = silent_frame(like, HEADER + first.head.side_info() + kept.len()).ok_or_else(no_room)?;
            let end = silent.len();
            silent[end - kept.len()..].copy_from_slice(kept);
            let kbps = crate::sniff::mpeg::frame(&silent).map_or(0, |frame| frame.kbps);
            self.write(&silent, kbps)?;
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8], kbps: u16) -> Result<(), TranscodeError> {
        if let Some((tag, usual)) = &mut self.tag {
            tag.add(frame);
            self.is_constant &= kbps == *usual;
        }
        self.sink.write_all(frame).map_err(TranscodeError::Sink)
    }

    /// Completes the tag.
    fn finish(mut self) -> Result<Tag, TranscodeError> {
        let (mut tag, _) = self.tag.take().ok_or_else(changed)?;
        if !self.is_constant {
            tag.set_variable();
        }
        tag.complete(self.plan.delay, self.plan.samples);
        tag.write_over(&mut self.sink, self.start)?;
        Ok(tag)
    }
}

fn changed() -> TranscodeError {
    TranscodeError::Source(std::io::Error::other("it was not the same when it was read again"))
}

fn no_room() -> TranscodeError {
    TranscodeError::Internal("no frame is large enough".into())
}
