//! The proxy has exactly the fault that it is told to have.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};

/// A server that says what it is told.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &client, &mut &client));
        }
    });
    port
}

fn connect(proxy: &ChaosProxy) -> TcpStream {
    let tcp = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp
}

fn say(mut tcp: &TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    tcp.write_all(words)?;
    let mut heard = vec![0; words.len()];
    tcp.read_exact(&mut heard)?;
    Ok(heard)
}

#[test]
fn without_a_fault_everything_passes() {
    let proxy = ChaosProxy::start(echo());
    let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let tcp = connect(&proxy);
    let mut writing = tcp.try_clone().unwrap();
    let said = noise.clone();
    std::thread::spawn(move || writing.write_all(&said));
    let mut heard = vec![0; noise.len()];
    (&tcp).read_exact(&mut heard).unwrap();
    assert!(heard == noise);
}

#[test]
fn resets_and_refusals_end_connections_until_it_is_healed() {
    let proxy = ChaosProxy::start(echo());
    for fault in [Fault::Reset, Fault::Refuse] {
        let tcp = connect(&proxy);
        say(&tcp, b"hello").unwrap();
        proxy.set(fault.clone());
        let err = (&tcp).read(&mut [0]).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::ConnectionReset, "{fault:?}");
        std::thread::sleep(Duration::from_millis(50));
        let again = TcpStream::connect(("127.0.0.1", proxy.port()));
        assert_eq!(again.is_err(), fault == Fault::Refuse);
        if let Ok(again) = again {
            assert!(say(&again, b"hello").is_err());
        }
        proxy.heal();
        std::thread::sleep(Duration::from_millis(50));
        say(&connect(&proxy), b"hello").unwrap();
    }
}

#[test]
fn a_black_hole_swallows_and_gives_back() {
    let proxy = ChaosProxy::start(echo());
    let before = connect(&proxy);
    say(&before, b"hello").unwrap();
    proxy.set(Fault::BlackHole);
    let after = connect(&proxy);
    for tcp in [&before, &after] {
        tcp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(say(tcp, b"hello").unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    proxy.heal();
    for mut tcp in [&before, &after] {
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        tcp.read_exact(&mut [0; 5]).unwrap();
    }
}

#[test]
fn a_half_closed_connection_still_takes_what_the_client_says() {
    let proxy = ChaosProxy::start(echo());
    let mut tcp = connect(&proxy);
    say(&tcp, b"hello").unwrap();
    proxy.set(Fault::HalfClose);
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    tcp.write_all(b"more").unwrap();
}

#[test]
fn slowness_is_slow_and_complete() {
    let proxy = ChaosProxy::start(echo());
    // There and back: 0.2 s each by the first, 0.25 s each by the second.
    for fault in [Fault::Latency(Duration::from_millis(200)), Fault::Throttle(4_000)] {
        let tcp = connect(&proxy);
        proxy.set(fault.clone());
        let started = Instant::now();
        assert_eq!(say(&tcp, &[7; 1_000]).unwrap(), [7; 1_000]);
        assert!(started.elapsed() >= Duration::from_millis(350), "{fault:?}: {:?}", started.elapsed());
    }
}

#[test]
fn a_connection_is_cut_after_so_many_bytes() {
    let proxy = ChaosProxy::start(echo());
    proxy.set(Fault::CutAfter(15));
    for _ in 0..2 {
        let mut tcp = connect(&proxy);
        tcp.write_all(&[7; 10]).unwrap();
        let mut heard = Vec::new();
        assert_eq!(tcp.read_to_end(&mut heard).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(heard.len() <= 5, "{heard:?}");
    }
}

#[test]
fn a_connection_is_cut_once_on_certain_bytes_also_in_pieces() {
    let proxy = ChaosProxy::start(echo());
    for (towards, arrive) in [(Towards::Server, false), (Towards::Server, true), (Towards::Client, false)] {
        proxy.set(Fault::CutOn { towards, bytes: b"COMMIT".to_vec(), arrive });
        let mut tcp = connect(&proxy);
        assert_eq!(say(&tcp, b"BEGIN").unwrap(), b"BEGIN");
        tcp.write_all(b"COM").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let _cut = tcp.write_all(b"MIT");
        let mut heard = Vec::new();
        assert_eq!(tcp.read_to_end(&mut heard).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(proxy.is_healthy());
        say(&connect(&proxy), b"COMMIT").unwrap();
    }
}
