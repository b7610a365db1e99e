//! Data packets and the payloads in them (ASF specification, 5.2). Their headers alone are read here, so that what
//! belongs to a video costs nothing.

use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// What the file says of the size of all its packets, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) min: u32,
    pub(super) max: u32,
}

/// A packet, with where in it the next payload is.
#[derive(Clone, Debug, Default)]
pub(super) struct DataPacket {
    /// Where the next payload begins.
    at: u64,
    /// Where the padding begins.
    end: u64,
    /// Where the next packet begins.
    pub(super) next: u64,
    /// Payloads that are left.
    left: u8,
    /// The kind of the payload's length, where there are several.
    lengths: Option<u8>,
    /// The kinds of the fields of payload headers.
    kinds: u8,
}

/// A payload: a whole media object, a fragment of one, or several of them ("compressed payload data").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) stream: u8,
    /// The media object's number.
    pub(super) object: u32,
    pub(super) part: Part,
    /// Where its bytes are.
    pub(super) data: Range<u64>,
}

/// What a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A fragment of a media object, from an offset on, with the object's size and its presentation time in
    /// milliseconds, where they are told.
    Fragment { offset: u32, whole: Option<(u32, u32)> },
    /// Whole media objects, the first due at a time in milliseconds and the others each so much later.
    Several { time: u32, step: u8 },
}

/// Reads fields one after the other; `None` where the input ends.
struct Fields<'i, 'a> {
    input: &'i mut Input<'a>,
    at: u64,
}

impl Fields<'_, '_> {
    fn u8(&mut self) -> Result<Option<u8>, TranscodeError> {
        let byte = self.input.array_at::<1>(self.at)?;
        self.at = self.at.saturating_add(1);
        Ok(byte.map(|[byte]| byte))
    }

    /// A field of the kind that two bits tell: absent, or of one, two or four bytes.
    fn of_kind(&mut self, kind: u8) -> Result<Option<u32>, TranscodeError> {
        let length = [0, 1, 2, 4][usize::from(kind & 3)];
        let mut bytes = [0; 4];
        let whole = self.input.read_at(self.at, &mut bytes[..length])? == length;
        self.at = self.at.saturating_add(length as u64);
        Ok(whole.then(|| u32::from_le_bytes(bytes)))
    }
}

impl DataPacket {
    /// Reads the header of the packet at a position, if it is one.
    pub(super) fn parse(input: &mut Input<'_>, at: u64, sizes: Sizes) -> Result<Option<Self>, TranscodeError> {
        let mut fields = Fields { input, at };
        let Some(mut flags) = fields.u8()? else { return Ok(None) };
        if flags & 0x80 != 0 {
            // Error correction data: their length is in the flags, in the one way that is allowed (5.2.1).
            if flags & 0x60 != 0 {
                return Ok(None);
            }
            fields.at += u64::from(flags & 0xf);
            match fields.u8()? {
                Some(length_flags) if length_flags & 0x80 == 0 => flags = length_flags,
                _ => return Ok(None),
            }
        }
        let Some(kinds) = fields.u8()? else { return Ok(None) };
        let (Some(length), Some(_sequence), Some(padding)) =
            (fields.of_kind(flags >> 5)?, fields.of_kind(flags >> 1)?, fields.of_kind(flags >> 3)?)
        else {
            return Ok(None);
        };
        let length = if flags & 0x60 == 0 { sizes.max } else { length };
        fields.at += 6; // send time and duration
        let several = flags & 1 != 0;
        let payloads = if several { fields.u8()?.unwrap_or(0) } else { 1 };
        let end = at + u64::from(length.saturating_sub(padding));
        let is_sound = kinds >> 6 == 1 && payloads & 0x3f != 0 && padding < length && fields.at <= end;
        let fits = sizes.max == 0 || length <= sizes.max;
        Ok((is_sound && fits).then(|| Self {
            at: fields.at,
            end,
            next: at + u64::from(length.max(sizes.min)),
            left: payloads & 0x3f,
            lengths: several.then_some(payloads >> 6),
            kinds,
        }))
    }

    /// Reads the header of the next payload; `None` behind the last one, and where the rest makes no sense.
    pub(super) fn payload(&mut self, input: &mut Input<'_>) -> Result<Option<Payload>, TranscodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let payload = self.read_payload(input)?;
        if payload.is_none() {
            self.left = 0;
        }
        Ok(payload)
    }

    fn read_payload(&mut self, input: &mut Input<'_>) -> Result<Option<Payload>, TranscodeError> {
        let mut fields = Fields { input, at: self.at };
        let (Some(stream), Some(object), Some(offset), Some(replicated)) = (
            fields.u8()?,
            fields.of_kind(self.kinds >> 4)?,
            fields.of_kind(self.kinds >> 2)?,
            fields.of_kind(self.kinds)?,
        ) else {
            return Ok(None);
        };
        let replicated_at = fields.at;
        fields.at = fields.at.saturating_add(replicated.into());
        let length = match self.lengths {
            Some(kind) => match fields.of_kind(kind)? {
                Some(length) => u64::from(length),
                None => return Ok(None),
            },
            None => self.end.saturating_sub(fields.at),
        };
        let data = fields.at..fields.at.saturating_add(length);
        if data.end > self.end {
            return Ok(None);
        }
        self.at = data.end;
        let part = match replicated {
            1 => Part::Several { time: offset, step: input.array_at(replicated_at)?.map_or(0, |[step]| step) },
            8.. => {
                let field = |four: Option<[u8; 4]>| four.map(u32::from_le_bytes);
                let size = field(input.array_at(replicated_at)?);
                Part::Fragment { offset, whole: size.zip(field(input.array_at(replicated_at + 4)?)) }
            }
            _ => Part::Fragment { offset, whole: None },
        };
        Ok(Some(Payload { stream: stream & 0x7f, object, part, data }))
    }
}
