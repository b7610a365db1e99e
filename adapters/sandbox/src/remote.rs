//! What a transcoder in a child works on: a source, a sink and cores that are its parent's.
//!
//! An error here means that the parent has gone, or talks nonsense. When its own source or sink fails, the parent ends
//! the child and tells its caller itself.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use microserve_core::transcode::CoreBudget;

use crate::outcome::Job;
use crate::wire::{Answer, Ask, BLOCK, Frame, Link, Received};

/// How much is asked for after a leap. What follows it may be skipped again, as between the sound of a video.
const FIRST: u32 = 32 * 1024;
/// How much is asked for in the end when one block after the other is read.
const MOST: u32 = BLOCK as u32;
/// How much of the MP3 is passed on at a time.
const BUFFER: usize = 64 * 1024;

/// The other end of the socket. Threads take turns, each with a question and its answer.
pub(crate) struct Parent(Mutex<Link<File>>);

impl Parent {
    pub(crate) fn new(socket: File) -> Self {
        Self(Mutex::new(Link::new(socket)))
    }

    /// Waits for the job.
    pub(crate) fn job(&self) -> io::Result<Job> {
        let frame = receive(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        match Answer::decode(&frame) {
            Some(Answer::Job(json)) => Ok(serde_json::from_slice(json)?),
            _ => Err(nonsense()),
        }
    }

    pub(crate) fn tell(&self, ask: &Ask<'_>) -> io::Result<()> {
        send(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), ask)
    }

    fn ask(&self, ask: &Ask<'_>) -> io::Result<Frame> {
        let mut link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut link, ask)?;
        receive(&mut link)
    }

    fn number(&self, ask: &Ask<'_>) -> io::Result<u64> {
        match Answer::decode(&self.ask(ask)?) {
            Some(Answer::Number(number)) => Ok(number),
            _ => Err(nonsense()),
        }
    }
}

fn send(link: &mut Link<File>, ask: &Ask<'_>) -> io::Result<()> {
    let frame = ask.encode();
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        rest = &rest[link.send_some(rest)?..];
    }
    Ok(())
}

fn receive(link: &mut Link<File>) -> io::Result<Frame> {
    loop {
        match link.receive()? {
            Received::Frame(frame) => return Ok(frame),
            Received::Nothing => {}
            Received::End => return Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn nonsense() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the parent's answer makes no sense")
}

/// The parent's source, with read-ahead that grows while it is read in order.
pub(crate) struct RemoteSource {
    parent: Arc<Parent>,
    length: Option<u64>,
    position: u64,
    /// What is in hand, and where it stands in the source.
    block: Vec<u8>,
    block_at: u64,
    ahead: u32,
}

impl RemoteSource {
    pub(crate) fn new(parent: Arc<Parent>) -> Self {
        Self { parent, length: None, position: 0, block: Vec::new(), block_at: 0, ahead: FIRST }
    }

    /// What is in hand from the position on.
    fn in_hand(&self) -> &[u8] {
        let skip = self.position.checked_sub(self.block_at).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.block.get(skip..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> io::Result<()> {
        let in_order = self.position == self.block_at.saturating_add(self.block.len() as u64);
        self.ahead = if in_order { self.ahead.saturating_mul(2).min(MOST) } else { FIRST };
        let frame = self.parent.ask(&Ask::Read { at: self.position, len: self.ahead })?;
        let Some(Answer::Bytes(bytes)) = Answer::decode(&frame) else { return Err(nonsense()) };
        self.block.clear();
        self.block.extend_from_slice(bytes);
        self.block_at = self.position;
        Ok(())
    }
}

impl Read for RemoteSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.in_hand().is_empty() {
            self.fetch()?;
        }
        let n = self.in_hand().len().min(buf.len());
        buf[..n].copy_from_slice(&self.in_hand()[..n]);
        self.position = self.position.saturating_add(n as u64);
        Ok(n)
    }
}

impl Seek for RemoteSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => {
                let length = match self.length {
                    Some(length) => length,
                    None => *self.length.insert(self.parent.number(&Ask::Length)?),
                };
                length.checked_add_signed(by)
            }
        };
        self.position = target.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The parent's sink, which begins empty.
pub(crate) struct RemoteSink {
    parent: Arc<Parent>,
    buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    buffer_at: u64,
    length: u64,
}

impl RemoteSink {
    pub(crate) fn new(parent: Arc<Parent>) -> Self {
        Self { parent, buffer: Vec::with_capacity(BUFFER), buffer_at: 0, length: 0 }
    }

    fn position(&self) -> u64 {
        self.buffer_at.saturating_add(self.buffer.len() as u64)
    }

    /// Passes on what is in the buffer.
    pub(crate) fn pass_on(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.parent.tell(&Ask::Write { at: self.buffer_at, bytes: &self.buffer })?;
            self.buffer_at = self.position();
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Write for RemoteSink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= BUFFER {
            self.pass_on()?;
        }
        let n = buf.len().min(BUFFER.saturating_sub(self.buffer.len()));
        self.buffer.extend_from_slice(&buf[..n]);
        self.length = self.length.max(self.position());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

impl Seek for RemoteSink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position().checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let target = target.ok_or(ErrorKind::InvalidInput)?;
        if target != self.position() {
            self.pass_on()?;
            self.buffer_at = target;
        }
        Ok(target)
    }
}

/// The parent's budget of cores.
pub(crate) struct RemoteCores(pub(crate) Arc<Parent>);

impl CoreBudget for RemoteCores {
    fn occupy(&self) {
        // A parent that has gone shows at the next read or write.
        let _gone = self.0.tell(&Ask::OccupyCore);
    }

    fn try_take(&self) -> bool {
        self.0.number(&Ask::TakeCore).is_ok_and(|taken| taken == 1)
    }

    fn give_back(&self) {
        let _gone = self.0.tell(&Ask::GiveCore);
    }
}
