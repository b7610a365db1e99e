//! A TCP proxy on the loopback address that has faults, one at a time, whenever a test wants them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use crate::port::free_port;

/// How soon a connection notices a new fault.
const TICK: Duration = Duration::from_millis(5);

/// What is wrong with the network. All but the cuts last until another fault is set, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are reset and new ones are refused, as if nobody listened.
    Refuse,
    /// Connections are reset, new ones as soon as they are made.
    Reset,
    /// Connections are accepted and nothing passes, in either direction. What was held back passes afterwards.
    BlackHole,
    /// The server has said its last word: the client's end is closed, and what the client says still arrives.
    HalfClose,
    /// Everything takes so much longer, in either direction.
    Latency(Duration),
    /// No more bytes per second pass, in either direction.
    Throttle(usize),
    /// Each connection is reset when so many bytes have passed, in both directions together.
    CutAfter(usize),
    /// The first connection in which these bytes go this way is reset, once; then nothing is wrong any more.
    CutOn {
        /// Which way.
        towards: Towards,
        /// The bytes: a word of the protocol such as `COMMIT`.
        bytes: Vec<u8>,
        /// Whether they still arrive. The sender can't know.
        arrive: bool,
    },
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// What the client says.
    Server,
    /// What the server says.
    Client,
}

/// The proxy. It is gone when this is dropped, and so are its connections.
pub struct ChaosProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fault: Mutex<Option<Fault>>,
    over: AtomicBool,
}

impl ChaosProxy {
    /// Starts one before the server that listens on this port of `127.0.0.1`. There is nothing wrong with it at first.
    pub fn start(server: u16) -> Self {
        let (port, shared) = (free_port(), Arc::new(Shared::default()));
        let mut listener = Some(listen(port));
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            while !state.over.load(Ordering::Relaxed) {
                if state.fault() == Some(Fault::Refuse) {
                    listener = None;
                } else if let Ok((client, _)) = listener.get_or_insert_with(|| listen(port)).accept() {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || serve(&state, &client, server));
                    continue;
                }
                std::thread::sleep(TICK);
            }
        });
        Self { port, shared }
    }

    /// Where clients connect to, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this is wrong, also with connections that there are.
    pub fn set(&self, fault: Fault) {
        self.shared.set(Some(fault));
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) {
        self.shared.set(None);
    }

    /// Whether nothing is wrong: a cut that comes once has come.
    pub fn is_healthy(&self) -> bool {
        self.shared.fault().is_none()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Whether it is still `fault`, which is over then: of several connections one is cut.
    fn take(&self, fault: &Fault) -> bool {
        let mut current = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = current.as_ref() == Some(fault);
        if taken {
            *current = None;
        }
        taken
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || matches!(self.fault(), Some(Fault::Refuse | Fault::Reset))
    }
}

fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the proxy's port is free");
    listener.set_nonblocking(true).expect("a listener can be polled");
    listener
}

/// One connection from its beginning to its end.
fn serve(shared: &Shared, client: &TcpStream, server: u16) {
    while shared.fault() == Some(Fault::BlackHole) && !shared.is_over() {
        std::thread::sleep(TICK);
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return reset(client) };
    for tcp in [client, &server] {
        // An accepted connection may have taken over from the listener that it doesn't block.
        let prepared = tcp.set_nonblocking(false).and_then(|()| tcp.set_nodelay(true));
        prepared.and_then(|()| tcp.set_read_timeout(Some(TICK))).expect("a socket's options can be set");
    }
    let (passed, broken) = (Mutex::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (from, to, towards) in [(client, &server, Towards::Server), (&server, client, Towards::Client)] {
            let mut pump = Pump { shared, from, to, towards, passed: &passed, broken: &broken, tail: Vec::new() };
            scope.spawn(move || {
                if pump.run().is_err() {
                    pump.broken.store(true, Ordering::Relaxed);
                    reset(pump.from);
                    reset(pump.to);
                }
            });
        }
    });
}

/// Has the other side get a reset instead of a goodbye, once the connection is dropped (socket(7), `SO_LINGER`).
fn reset(tcp: &TcpStream) {
    let _already_gone = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// The connection is to be reset.
struct Broken;

/// One direction of a connection.
struct Pump<'a> {
    shared: &'a Shared,
    from: &'a TcpStream,
    to: &'a TcpStream,
    towards: Towards,
    /// Bytes in both directions since a [`Fault::CutAfter`] was set.
    passed: &'a Mutex<usize>,
    /// Whether either direction was cut: nothing passes any more.
    broken: &'a AtomicBool,
    /// The end of what has passed: bytes that are looked for may come in pieces.
    tail: Vec<u8>,
}

impl Pump<'_> {
    fn run(&mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = self.from.read(&mut buffer);
            // Looked at behind the reading, which may have waited: what is wrong now befalls what was read now.
            while self.shared.fault() == Some(Fault::BlackHole) && !self.shared.is_over() {
                std::thread::sleep(TICK);
            }
            let fault = self.shared.fault();
            if self.shared.is_over() || self.broken.load(Ordering::Relaxed) {
                return Err(Broken);
            }
            if fault == Some(Fault::HalfClose) && self.towards == Towards::Client {
                let _already_gone = self.to.shutdown(Shutdown::Write);
            }
            match read {
                Ok(0) => {
                    let _already_gone = self.to.shutdown(Shutdown::Write);
                    return Ok(());
                }
                Ok(n) => self.pass(&buffer[..n], fault.as_ref())?,
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Err(Broken),
            }
        }
    }

    fn pass(&mut self, bytes: &[u8], fault: Option<&Fault>) -> Result<(), Broken> {
        match fault {
            Some(Fault::Latency(latency)) => {
                std::thread::sleep(*latency);
                self.send(bytes)
            }
            Some(Fault::Throttle(rate)) => {
                // A tenth of a second at a time.
                for piece in bytes.chunks((rate / 10).max(1)) {
                    std::thread::sleep(Duration::from_secs_f64(piece.len() as f64 / *rate as f64));
                    self.send(piece)?;
                }
                Ok(())
            }
            Some(Fault::CutAfter(limit)) => {
                let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
                let left = limit.saturating_sub(*passed).min(bytes.len());
                *passed += left;
                self.send(&bytes[..left])?;
                if *passed >= *limit { Err(Broken) } else { Ok(()) }
            }
            Some(cut @ Fault::CutOn { towards, bytes: wanted, arrive }) if *towards == self.towards => {
                let before = self.tail.len();
                self.tail.extend_from_slice(bytes);
                let found = self.tail.windows(wanted.len()).position(|window| window == wanted);
                let Some(at) = found.filter(|_| self.shared.take(cut)) else {
                    let keep = self.tail.len().saturating_sub(wanted.len().saturating_sub(1));
                    self.tail.drain(..keep);
                    return self.send(bytes);
                };
                // Before the bytes arrive: an answer to them must not get past the cut.
                self.broken.store(true, Ordering::Relaxed);
                let end = if *arrive { at + wanted.len() } else { at };
                self.send(&bytes[..end.saturating_sub(before).min(bytes.len())])?;
                Err(Broken)
            }
            _ => self.send(bytes),
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Broken> {
        let mut to = self.to;
        to.write_all(bytes).map_err(|_| Broken)
    }
}
