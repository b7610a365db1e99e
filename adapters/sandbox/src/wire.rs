//! How parent and child talk: frames over one socket, each a kind, a length and so many bytes.
//!
//! The child asks and tells, the parent answers. Neither believes the other a length: a frame is of bounded size, and a
//! kind that nobody knows ends the conversation.

use std::io::{self, ErrorKind, Read, Write};

use microserve_core::transcode::Progress;

/// The most that is read or written at a time, in bytes.
pub(crate) const BLOCK: usize = 256 * 1024;
/// The largest frame, in bytes: an answer about a file with very many tracks.
pub(crate) const MAX_FRAME: usize = 1024 * 1024;
/// Kind and length.
const HEADER: usize = 5;

/// What the child says.
#[derive(Debug, PartialEq)]
pub(crate) enum Ask<'a> {
    /// JSON: how it is confined. The first it says.
    Confined(&'a [u8]),
    /// Bytes of the source: at most so many from there on. Answered with [`Answer::Bytes`], empty at the end.
    Read { at: u64, len: u32 },
    /// The length of the source. Answered with [`Answer::Number`].
    Length,
    /// Bytes for the sink, at this position.
    Write { at: u64, bytes: &'a [u8] },
    /// How far it is.
    Progress(Progress),
    /// It uses the core that it can't do without.
    OccupyCore,
    /// Whether it may use a further core. Answered with [`Answer::Number`]: 1 if it may.
    TakeCore,
    /// It uses a core less.
    GiveCore,
    /// JSON: what came of the job. The last it says.
    Done(&'a [u8]),
}

/// What the parent says.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer<'a> {
    /// JSON: what to do. The first it says.
    Job(&'a [u8]),
    /// Bytes of the source.
    Bytes(&'a [u8]),
    /// A number.
    Number(u64),
}

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    kind: u8,
    bytes: Vec<u8>,
}

impl Ask<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Confined(json) => frame(0, &[json]),
            Self::Read { at, len } => frame(1, &[&at.to_le_bytes(), &len.to_le_bytes()]),
            Self::Length => frame(2, &[]),
            Self::Write { at, bytes } => frame(3, &[&at.to_le_bytes(), bytes]),
            Self::Progress(Progress { position, duration }) => {
                frame(4, &[&position.to_le_bytes(), &duration.unwrap_or(f64::NAN).to_le_bytes()])
            }
            Self::OccupyCore => frame(5, &[]),
            Self::TakeCore => frame(6, &[]),
            Self::GiveCore => frame(7, &[]),
            Self::Done(json) => frame(8, &[json]),
        }
    }

    /// What a frame says; `None` if it makes no sense.
    pub(crate) fn decode(frame: &Frame) -> Option<Ask<'_>> {
        let bytes = frame.bytes.as_slice();
        Some(match frame.kind {
            0 => Ask::Confined(bytes),
            1 => {
                let (at, len) = bytes.split_first_chunk()?;
                Ask::Read { at: u64::from_le_bytes(*at), len: u32::from_le_bytes(len.try_into().ok()?) }
            }
            3 => {
                let (at, bytes) = bytes.split_first_chunk()?;
                Ask::Write { at: u64::from_le_bytes(*at), bytes }
            }
            4 => {
                let (position, duration) = bytes.split_first_chunk()?;
                let (position, duration) =
                    (f64::from_le_bytes(*position), f64::from_le_bytes(duration.try_into().ok()?));
                let duration = (duration.is_finite() && duration >= 0.0).then_some(duration);
                Ask::Progress(Progress {
                    position: if position.is_finite() { position.max(0.0) } else { 0.0 },
                    duration,
                })
            }
            8 => Ask::Done(bytes),
            _ if !bytes.is_empty() => return None,
            2 => Ask::Length,
            5 => Ask::OccupyCore,
            6 => Ask::TakeCore,
            7 => Ask::GiveCore,
            _ => return None,
        })
    }
}

impl Answer<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Job(json) => frame(0, &[json]),
            Self::Bytes(bytes) => frame(1, &[bytes]),
            Self::Number(number) => frame(2, &[&number.to_le_bytes()]),
        }
    }

    /// What a frame says; `None` if it makes no sense.
    pub(crate) fn decode(frame: &Frame) -> Option<Answer<'_>> {
        let bytes = frame.bytes.as_slice();
        Some(match frame.kind {
            0 => Answer::Job(bytes),
            1 => Answer::Bytes(bytes),
            2 => Answer::Number(u64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(HEADER + len);
    frame.push(kind);
    // A frame that is too long for its length is refused at the other end, as every other that is too long.
    frame.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

/// What reading once has brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// The next frame.
    Frame(Frame),
    /// A part of one, or nothing within the socket's timeout.
    Nothing,
    /// The other side has gone, maybe within a frame.
    End,
}

/// One end of the socket.
pub(crate) struct Link<S> {
    socket: S,
    header: [u8; HEADER],
    /// How much of the header, and then of the body, is there.
    got: usize,
    body: Option<Vec<u8>>,
}

impl<S: Read + Write> Link<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, header: [0; HEADER], got: 0, body: None }
    }

    /// Reads once: a socket with a timeout returns to its caller that often.
    ///
    /// # Errors
    /// When a frame is longer than any may be ([`ErrorKind::InvalidData`]), or the socket is broken.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let space = match &mut self.body {
            None => &mut self.header[self.got..],
            Some(body) => &mut body[self.got..],
        };
        match self.socket.read(space) {
            Ok(0) => return Ok(Received::End),
            Ok(n) => self.got += n,
            Err(err) if is_timeout(&err) => return Ok(Received::Nothing),
            Err(err) if err.kind() == ErrorKind::ConnectionReset => return Ok(Received::End),
            Err(err) => return Err(err),
        }
        if self.body.is_none() {
            if self.got < HEADER {
                return Ok(Received::Nothing);
            }
            let [_, len @ ..] = self.header;
            let len = u32::from_le_bytes(len) as usize;
            if len > MAX_FRAME {
                return Err(io::Error::new(ErrorKind::InvalidData, "a frame that is too long"));
            }
            (self.body, self.got) = (Some(vec![0; len]), 0);
        }
        match self.body.take_if(|body| self.got == body.len()) {
            Some(bytes) => {
                self.got = 0;
                Ok(Received::Frame(Frame { kind: self.header[0], bytes }))
            }
            None => Ok(Received::Nothing),
        }
    }

    /// Writes once, and returns how much was taken: nothing within the socket's timeout is 0.
    ///
    /// # Errors
    /// When the socket is broken, or the other side has gone.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.socket.write(bytes) {
            Err(err) if is_timeout(&err) => Ok(0),
            outcome => outcome,
        }
    }
}

fn is_timeout(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn received(bytes: Vec<u8>) -> Vec<Frame> {
        let mut link = Link::new(Cursor::new(bytes));
        let mut frames = Vec::new();
        loop {
            match link.receive().unwrap() {
                Received::Frame(frame) => frames.push(frame),
                Received::Nothing => {}
                Received::End => return frames,
            }
        }
    }

    #[test]
    fn everything_that_is_said_is_understood() {
        let asks = [
            Ask::Confined(b"{}"),
            Ask::Read { at: u64::MAX, len: 7 },
            Ask::Length,
            Ask::Write { at: 3, bytes: b"" },
            Ask::Progress(Progress { position: 1.5, duration: None }),
            Ask::Progress(Progress { position: 1.5, duration: Some(3.0) }),
            Ask::OccupyCore,
            Ask::TakeCore,
            Ask::GiveCore,
            Ask::Done(b"null"),
        ];
        let frames = received(asks.iter().flat_map(Ask::encode).collect());
        assert_eq!(frames.iter().map(Ask::decode).collect::<Option<Vec<_>>>().unwrap(), asks);
        let answers = [Answer::Job(b"{}"), Answer::Bytes(b""), Answer::Bytes(b"abc"), Answer::Number(u64::MAX)];
        let frames = received(answers.iter().flat_map(Answer::encode).collect());
        assert_eq!(frames.iter().map(Answer::decode).collect::<Option<Vec<_>>>().unwrap(), answers);
    }

    #[test]
    fn nonsense_is_nothing() {
        for (kind, bytes) in [(1, 11), (1, 13), (2, 1), (3, 7), (4, 15), (4, 17), (7, 1), (9, 0), (255, 3)] {
            let frame = Frame { kind, bytes: vec![0; bytes] };
            assert_eq!(Ask::decode(&frame), None, "{kind} with {bytes} bytes");
        }
        for (kind, bytes) in [(2, 7), (2, 9), (3, 0)] {
            assert_eq!(Answer::decode(&Frame { kind, bytes: vec![0; bytes] }), None, "{kind} with {bytes} bytes");
        }
        let position = |at: f64| frame(4, &[&at.to_le_bytes(), &f64::NEG_INFINITY.to_le_bytes()]);
        for at in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -1.0] {
            let frames = received(position(at));
            assert_eq!(Ask::decode(&frames[0]), Some(Ask::Progress(Progress { position: 0.0, duration: None })));
        }
    }

    #[test]
    fn a_length_beyond_all_measure_is_no_allocation() {
        let mut link = Link::new(Cursor::new(vec![3, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(link.receive().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
