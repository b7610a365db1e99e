//! The program whose children the tests are about: good transcoders, and such as have been taken over by a file.
//!
//! Started with the argument `parent` and words, it is a parent itself, which can be killed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "test code")]
#![allow(unsafe_code, reason = "a program that was taken over keeps to no rules")]

use std::fs::File;
use std::io::{Cursor, SeekFrom};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::time::Duration;

use microserve_core::memory::FakeTranscoder;
use microserve_core::transcode::{
    Cores, Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder,
};
use microserve_sandbox::{Mode, Sandboxed};
use microserve_transcoder::NativeTranscoder;

fn main() -> ExitCode {
    let child = microserve_sandbox::child(|words, cores| match words {
        "fake" => Ok(Box::new(FakeTranscoder)),
        "native" => Ok(Box::new(NativeTranscoder::default().with_cores(cores))),
        "none" => Err("there is none".into()),
        _ => Ok(Box::new(Hostile { words: words.to_owned(), cores })),
    });
    if let Some(done) = child {
        return done;
    }
    let arguments: Vec<_> = std::env::args().collect();
    let Some([_, parent, words]) = arguments.first_chunk() else { return ExitCode::FAILURE };
    assert_eq!(parent, "parent");
    let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
    let sandboxed = Sandboxed::new(words, Mode::BestEffort).unwrap();
    let outcome = sandboxed.transcode(&mut Cursor::new(b"x"), &mut mp3, &Options::default(), go_on);
    panic!("{outcome:?}");
}

struct Hostile {
    words: String,
    cores: Cores,
}

impl Transcoder for Hostile {
    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        let go_on = &mut |_| ControlFlow::Continue(());
        self.transcode(source, &mut Cursor::new(Vec::new()), &Options::default(), go_on).map(|made| made.source)
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        _options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let (what, argument) = self.words.split_once(' ').unwrap_or((&self.words, ""));
        match what {
            "reach" => Err(said(reach(argument))),
            "call" => Err(said(Ok(call(argument.parse().unwrap(), [0; 3]).to_string()))),
            "write" => Err(said(Ok(
                call(libc::SYS_write, [argument.parse::<isize>().unwrap().cast_unsigned(), 0, 0]).to_string()
            ))),
            "map" => Err(said(map(argument))),
            "crash" => crash(argument),
            "use" => use_up(argument, source, sink, progress),
            "say" => say(argument, sink),
            "cores" => self.take_cores(argument),
            "threads" => Err(said(threads())),
            what => panic!("{what}?"),
        }
    }
}

impl Hostile {
    fn take_cores(&self, how: &str) -> Result<Transcoded, TranscodeError> {
        let own = self.cores.occupy();
        let further: Vec<_> = std::iter::from_fn(|| self.cores.try_take()).collect();
        match how {
            "twice" => drop(self.cores.occupy()),
            "back" => [1, 2].iter().for_each(|_| drop(self.cores.try_take())),
            "crash" => std::process::abort(),
            _ => {}
        }
        let taken = further.len();
        drop((own, further));
        Err(said(Ok(taken.to_string())))
    }
}

/// How a hostile transcoder tells what came of it.
fn said(outcome: std::io::Result<String>) -> TranscodeError {
    let words = outcome.unwrap_or_else(|err| format!("refused: {}", err.raw_os_error().unwrap_or(0)));
    TranscodeError::Corrupt { detail: words }
}

fn call(number: libc::c_long, [a, b, c]: [usize; 3]) -> libc::c_long {
    // SAFETY: none is meant.
    unsafe { libc::syscall(number, a, b, c, 0, 0, 0) }
}

fn reached(answer: libc::c_long) -> std::io::Result<()> {
    if answer < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Tries to reach something outside.
fn reach(what: &str) -> std::io::Result<String> {
    match what {
        "file" => File::open("/etc/passwd").map(|_| ())?,
        "folder" => std::fs::read_dir("/").map(|_| ())?,
        "new-file" => File::create("/tmp/microserve-sandbox-was-here").map(|_| ())?,
        "proc" => std::fs::read_to_string("/proc/self/maps").map(|_| ())?,
        "metadata" => std::fs::metadata("/etc/passwd").map(|_| ())?,
        "unlink" => std::fs::remove_file("/tmp/microserve-sandbox-nothing")?,
        "environment" => return Ok(std::env::vars_os().count().to_string()),
        "connect" => TcpStream::connect("127.0.0.1:9").map(|_| ())?,
        "bind" => TcpListener::bind("127.0.0.1:0").map(|_| ())?,
        "udp" => UdpSocket::bind("127.0.0.1:0").map(|_| ())?,
        "unix-socket" => UnixStream::pair().map(|_| ())?,
        "exec" => Command::new("/bin/true").spawn().map(|_| ())?,
        "fork" => reached(call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0]))?,
        "kill-parent" => reached(call(libc::SYS_kill, [std::os::unix::process::parent_id() as usize, 9, 0]))?,
        "ptrace" => reached(call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as usize, 1, 0]))?,
        "user-namespace" => reached(call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0]))?,
        "io-uring" => reached(call(libc::SYS_io_uring_setup, [1, 0, 0]))?,
        "more-memory" => {
            reached(call(libc::SYS_prlimit64, [0, libc::RLIMIT_DATA as usize, 0]))?;
        }
        "descriptors" => {
            let open = (0..1024).filter(|fd| call(libc::SYS_fcntl, [*fd, libc::F_GETFD as usize, 0]) >= 0);
            return Ok(format!("{:?}", open.collect::<Vec<_>>()));
        }
        "capabilities" => {
            let status = std::fs::read_to_string("/proc/thread-self/status")?;
            let lines = status.lines().filter(|line| line.starts_with("CapEff") || line.starts_with("NoNewPrivs"));
            return Ok(lines.collect::<Vec<_>>().join(" ").replace('\t', " "));
        }
        what => panic!("{what}?"),
    }
    Ok("reached".to_owned())
}

/// Maps memory that no limit counts, or that can be executed.
fn map(what: &str) -> std::io::Result<String> {
    let (protection, flags) = match what {
        "shared" => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS),
        "executable" => (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        "stack" => (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN),
        _ => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
    };
    // SAFETY: fresh memory at a place of the kernel's choice.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok("mapped".to_owned()) }
}

fn crash(how: &str) -> ! {
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "panic" => panic!("a secret"),
        "overflow" => panic!("{}", overflow(1)),
        // SAFETY: that is for the kernel to see to.
        _ => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
    }
    panic!("still there");
}

fn overflow(n: u64) -> u64 {
    let room = std::hint::black_box([n; 1024]);
    if n == 0 { 0 } else { overflow(n + 1) + room[5] }
}

/// Uses more and more of something, for ever.
fn use_up(
    what: &str,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Transcoded, TranscodeError> {
    let mut hoard = Vec::new();
    for n in 0_u64.. {
        match what {
            "memory" => hoard.push(vec![1_u8; 1 << 20]),
            // Asks for it politely, and tells how much there was.
            "memory-left" => {
                let mut piece = Vec::new();
                if piece.try_reserve_exact(1 << 20).is_err() {
                    return Err(said(Ok(n.to_string())));
                }
                piece.resize(1 << 20, 1);
                hoard.push(piece);
            }
            "cpu" => drop(std::hint::black_box(n)),
            "silence" => std::thread::sleep(Duration::from_secs(3600)),
            "reads" => drop(source.seek(SeekFrom::Start(0)).and_then(|_| source.read(&mut [0; 1]))),
            "time" => {
                std::thread::sleep(Duration::from_millis(20));
                let _for_ever = progress(Progress { position: n as f64, duration: None });
            }
            "output" => sink.write_all(&[0; 65536]).map_err(TranscodeError::Sink)?,
            "words" => eprintln!("{}", "words ".repeat(1000)),
            what => panic!("{what}?"),
        }
        if what == "words" && n > 200 {
            return Err(said(Ok("said".to_owned())));
        }
    }
    Err(said(Ok("used up".to_owned())))
}

/// Says what no child says.
fn say(what: &str, sink: &mut dyn Sink) -> Result<Transcoded, TranscodeError> {
    let raw = |bytes: &[u8]| call(libc::SYS_write, [3, bytes.as_ptr().addr(), bytes.len()]);
    let made = Transcoded { samples: 1, sample_rate: 44_100, channels: 2, bitrate: 1, ..Transcoded::default() };
    match what {
        "garbage" => drop(raw(&[0x55; 4096])),
        "huge" => drop(raw(&[3, 0xff, 0xff, 0xff, 0x7f])),
        "half" => {
            raw(&[8, 100, 0, 0, 0, b'{']);
            std::thread::sleep(Duration::from_secs(3600));
        }
        "no-json" => drop(raw(&[8, 3, 0, 0, 0, b'{', b'"', b'x'])),
        "confined-again" => drop(raw(&[0, 2, 0, 0, 0, b'{', b'}'])),
        "hang-up" => {
            call(libc::SYS_close, [0, 0, 0]);
            call(libc::SYS_close, [3, 0, 0]);
            std::thread::sleep(Duration::from_secs(3600));
        }
        "hole" => {
            let _parent_checks = sink.seek(SeekFrom::Start(1 << 40)).and_then(|_| sink.write(b"x"));
        }
        "cancelled" => return Err(TranscodeError::Cancelled),
        "other-outcome" => drop(raw(&[8, 9, 0, 0, 0, b'"', b'N', b'o', b't', b'h', b'i', b'n', b'g', b'"'])),
        "impossible" => return Ok(Transcoded { sample_rate: 1, ..made }),
        _ => return Ok(made),
    }
    Ok(made)
}

/// Four threads that compute, each with memory of its own.
fn threads() -> std::io::Result<String> {
    let work = |n: u64| move || (0..100_000).map(|i| vec![i ^ n; 16]).fold(0_u64, |sum, v| sum.wrapping_add(v[0]));
    let threads = (0..4).map(|n| std::thread::Builder::new().name("worker".to_owned()).spawn(work(n)));
    let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
    let done = threads.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_ok).count();
    Ok(format!("{done} threads, {:?}", std::thread::available_parallelism().is_ok()))
}
