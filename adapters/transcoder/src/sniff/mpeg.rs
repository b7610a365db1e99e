//! Headers of MPEG audio frames (ISO/IEC 11172-3, 2.4.1.3, with 13818-3 and MPEG-2.5).

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Version, layer and sample rate: what does not change within a stream.
    kind: (u8, u8, u8),
    /// 1, 2 or 3.
    pub(crate) layer: u8,
    /// Bytes, with the header.
    pub(crate) size: usize,
    /// Hz.
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    /// Per channel.
    pub(crate) samples: u32,
    /// Its bitrate in kbit/s.
    pub(crate) kbps: u16,
}

impl Frame {
    /// Whether both may be of one stream.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    /// Bytes between the header and the main data of layer III.
    pub(crate) fn side_info(&self) -> usize {
        match (self.kind.0 == 3, self.channels) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        }
    }
}

/// Whether a frame of layer III has one of the tags Xing, Info and VBRI, which encoders put first.
pub(crate) fn has_tag(frame: &[u8], head: &Frame) -> bool {
    let at = 4 + head.side_info();
    frame.get(36..40) == Some(b"VBRI") || matches!(frame.get(at..at + 4), Some(b"Xing" | b"Info"))
}

const KBPS: [[u16; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Reads the header of the frame that `bytes` begins with. Free-format frames are not taken.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    let [0xff, b1, b2, b3] = *bytes.get(..4)? else { return None };
    let (version, layer) = (b1 >> 3 & 3, 4 - (b1 >> 1 & 3));
    let (bitrate, rate) = (usize::from(b2 >> 4), b2 >> 2 & 3);
    if b1 & 0xe0 != 0xe0 || version == 1 || layer == 4 || bitrate == 0 || bitrate == 15 || rate == 3 {
        return None;
    }
    let mpeg1 = version == 3;
    let row = match (mpeg1, layer) {
        (true, layer) => usize::from(layer) - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let kbps = KBPS[row][bitrate];
    let bits = usize::from(kbps) * 1000;
    let hz = [44_100, 48_000, 32_000][usize::from(rate)] >> [2, 0, 1, 0][usize::from(version)];
    let padding = usize::from(b2 >> 1 & 1);
    let size = match layer {
        1 => (12 * bits / hz + padding) * 4,
        3 if !mpeg1 => 72 * bits / hz + padding,
        _ => 144 * bits / hz + padding,
    };
    let channels = if b3 >> 6 == 3 { 1 } else { 2 };
    let samples = match layer {
        1 => 384,
        3 if !mpeg1 => 576,
        _ => 1152,
    };
    Some(Frame { kind: (version, layer, rate), layer, size, rate: hz as u32, channels, samples, kbps })
}

/// The smallest frame of a stream that has a frame with this header.
pub(crate) fn smallest(head: &[u8]) -> Option<Frame> {
    let [sync, kind, rates, mode] = *head.first_chunk()?;
    frame(&[sync, kind, 0x10 | rates & 0x0c, mode])
}

/// Whether frames of one kind follow each other from the first byte on, or from a little later: encoders and
/// cutters leave some bytes in front.
pub(crate) fn starts_stream(head: &[u8]) -> bool {
    const LATEST_START: usize = 4096;
    (0..head.len().min(LATEST_START)).any(|start| {
        // The later it starts, the more frames are asked for, so that chance has none.
        head[start] == 0xff && run(&head[start..], if start == 0 { 3 } else { 8 })
    })
}

fn run(bytes: &[u8], wanted: usize) -> bool {
    let Some(first) = frame(bytes) else { return false };
    let (mut at, mut frames) = (0, 0);
    while frames < wanted {
        match bytes.get(at..).and_then(frame) {
            Some(next) if next.kind == first.kind => at += next.size,
            Some(_) => return false,
            // The end of the file, or an ID3v1 or APE tag behind the last frame.
            None => break,
        }
        frames += 1;
    }
    let ends = at >= bytes.len() || bytes[at..].starts_with(b"TAG") || bytes[at..].starts_with(b"APETAGEX");
    frames >= wanted || (frames >= 2 && ends)
}
