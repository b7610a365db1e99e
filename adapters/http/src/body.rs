//! The body of an upload: read no faster than it is used, given up when it is too slow, and, once its request is
//! refused, read on for a little while so that the client gets to see why.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use microserve_core::blob::ByteStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::problem::{Code, Problem};

/// A client that sends nothing for this long has gone.
const IDLE: Duration = Duration::from_secs(30);
/// Slower than this (bytes per second), measured over [`IDLE`], is an attack or hopeless.
const SLOWEST: u64 = 4 * 1024;
/// For how long a refused body is read on: RFC 9112 §9.6. A client that is cut off while it sends may never see the
/// answer, and on a fast line it sends a lot before it looks for one.
const LINGER: Duration = Duration::from_secs(5);

/// The bytes of a request.
pub(crate) struct RequestBody {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    /// A piece was just given out.
    rests: bool,
    begun: bool,
    ended: bool,
}

impl RequestBody {
    /// Reads `body`; ends in an error when `kill` fires.
    pub(crate) fn new(body: Body, kill: CancellationToken) -> Self {
        let pace = Pace { body: body.into_data_stream(), kill, waited: Duration::ZERO, received: 0 };
        let pieces = stream::try_unfold(pace, |mut pace| async move {
            let piece = pace.next().await?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, pace)))
        });
        Self { pieces: pieces.boxed(), rests: false, begun: false, ended: false }
    }

    /// Whether anything was read.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Reads what is left, for a while.
    pub(crate) async fn linger(self) {
        let _ = timeout(LINGER, self.drain(u64::MAX)).await;
    }

    /// Reads what is left, but no more than so many bytes.
    pub(crate) async fn drain(mut self, most: u64) {
        let mut left = most;
        while let Some(Ok(piece)) = self.next().await
            && left > 0
        {
            left = left.saturating_sub(piece.len() as u64);
        }
    }

    /// The bytes as a stream that leaves in `fault` why it ended in an error.
    pub(crate) fn explained<'a>(&'a mut self, fault: &'a OnceLock<Problem>) -> ByteStream<'a> {
        self.map(|piece| piece.inspect_err(|err| drop(fault.set(problem(err))))).boxed()
    }
}

/// What an error of a body means to whoever has sent it.
pub(crate) fn problem(err: &io::Error) -> Problem {
    match err.kind() {
        io::ErrorKind::TimedOut => Problem::new(Code::TooSlow, "the body came too slowly: less than 4 KiB per second"),
        io::ErrorKind::ConnectionReset => Problem::new(Code::IncompleteBody, "the body broke off"),
        _ => Problem::unavailable(err.to_string()),
    }
}

impl Stream for RequestBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // `multer` takes whatever is ready into its buffer before it looks at any of it. A rest after each piece makes
        // it look, and bounds its memory by one piece.
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.begun = true;
        let polled = self.pieces.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.rests = true,
            Poll::Ready(_) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }
}

/// Watches how fast a client sends. Only the time spent waiting for it counts: a slow disk is not its fault.
struct Pace {
    body: BodyDataStream,
    kill: CancellationToken,
    waited: Duration,
    received: u64,
}

impl Pace {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let started = Instant::now();
        let piece = tokio::select! {
            piece = timeout(IDLE, self.body.next()) => piece,
            () = self.kill.cancelled() => return Err(io::Error::other("the server stops")),
        };
        let piece = match piece {
            Ok(Some(piece)) => piece.map_err(|err| io::Error::new(io::ErrorKind::ConnectionReset, err))?,
            Ok(None) => return Ok(None),
            Err(_) => return Err(too_slow("nothing came for 30 seconds")),
        };
        self.waited += started.elapsed();
        self.received += piece.len() as u64;
        if self.waited >= IDLE {
            if self.received < SLOWEST * self.waited.as_secs() {
                return Err(too_slow("less than 4 KiB came per second"));
            }
            (self.waited, self.received) = (Duration::ZERO, 0);
        }
        Ok(Some(piece))
    }
}

fn too_slow(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, words)
}
