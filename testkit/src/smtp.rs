//! A mail server on the loopback address that keeps what it is given and misbehaves as it is told (RFC 5321).

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// Where in a conversation something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Login,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// In the middle of the mail.
    Body,
    /// Behind the final dot, when the mail is kept already.
    Dot,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This line in the place of the right one.
    Reply(&'static str),
    /// Nothing more, for as long as the client waits.
    Silence,
    /// The connection is closed.
    Cut,
}

/// A mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// From `MAIL FROM`.
    pub from: String,
    /// From `RCPT TO`.
    pub to: Vec<String>,
    /// The mail without the dots that SMTP adds.
    pub message: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// Who had logged in.
    pub user: Option<String>,
}

/// How the server greets the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No TLS at all.
    Plain,
    /// `STARTTLS` is offered.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

/// A running mail server.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: TempDir,
}

struct Shared {
    mode: Mode,
    /// User and password that are let in; `None`: nobody has to log in.
    account: Option<(String, String)>,
    tls: Arc<ServerConfig>,
    mails: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<(Stage, Fault)>>,
    closing: AtomicBool,
}

impl Sink {
    /// Starts a server. With an account, mails are taken only from who has logged in.
    pub fn start(mode: Mode, account: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificate can be made");
        let tls = Arc::new(certificate(&folder.path().join("ca.pem")));
        let account = account.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let (mails, script) = (Mutex::new(Vec::new()), Mutex::new(VecDeque::new()));
        let shared = Arc::new(Shared { mode, account, tls, mails, script, closing: AtomicBool::new(false) });
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.closing.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.converse(&client));
            }
        });
        Self { address, shared, folder }
    }

    /// Its port, on `127.0.0.1` and `localhost`.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority that has signed its certificate, which is for `localhost`, in PEM.
    pub fn authority(&self) -> String {
        self.folder.path().join("ca.pem").to_str().expect("a temporary folder has a plain name").to_owned()
    }

    /// The next time a conversation comes to `stage`, this happens. Several wait for their turn.
    pub fn misbehave(&self, stage: Stage, fault: Fault) {
        self.shared.script.lock().expect("no test panics here").push_back((stage, fault));
    }

    /// What has come so far.
    pub fn mails(&self) -> Vec<Received> {
        self.shared.mails.lock().expect("no test panics here").clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let _wakes_the_listener = TcpStream::connect(self.address);
    }
}

/// A fresh certificate for `localhost`; the authority that signed it is left at `ca`.
fn certificate(ca: &Path) -> ServerConfig {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate can be made");
    std::fs::write(ca, signed.cert.pem()).expect("the certificate can be written");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring knows TLS").with_no_client_auth();
    config.with_single_cert(vec![signed.cert.der().clone()], key).expect("key and certificate belong together")
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// What is known of a client.
#[derive(Default)]
struct Client {
    from: String,
    to: Vec<String>,
    user: Option<String>,
    encrypted: bool,
}

/// The conversation ends.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Shared {
    fn converse(&self, tcp: &TcpStream) {
        let _ = tcp.set_read_timeout(Some(Duration::from_secs(60)));
        let mut client = Client::default();
        let mut wire: BufReader<Box<dyn Wire>> =
            BufReader::new(Box::new(tcp.try_clone().expect("a socket has clones")));
        if self.mode == Mode::Implicit {
            wire = self.encrypt(tcp, &mut client);
        }
        if self.say(&mut wire, Stage::Greeting, "220 sink ESMTP").is_err() {
            return;
        }
        loop {
            match self.command(&mut wire, &mut client) {
                Ok(Next::Go) => {}
                Ok(Next::Encrypt) => wire = self.encrypt(tcp, &mut client),
                Err(Over) => return,
            }
        }
    }

    fn encrypt(&self, tcp: &TcpStream, client: &mut Client) -> BufReader<Box<dyn Wire>> {
        client.encrypted = true;
        let tls = ServerConnection::new(Arc::clone(&self.tls)).expect("the configuration is sound");
        let tcp = tcp.try_clone().expect("a socket has clones");
        BufReader::new(Box::new(StreamOwned::new(tls, tcp)))
    }

    /// Says a line, or does at this stage what the script wants. Whether the line was the right one.
    fn say(&self, wire: &mut BufReader<Box<dyn Wire>>, stage: Stage, line: &str) -> Result<bool, Over> {
        let mut script = self.script.lock().expect("no test panics here");
        let fault = script.iter().position(|(at, _)| *at == stage).and_then(|n| script.remove(n));
        drop(script);
        let line = match fault {
            None => line,
            Some((_, Fault::Reply(other))) => other,
            Some((_, Fault::Cut)) => return Err(Over),
            Some((_, Fault::Silence)) => {
                // Until the client has had enough.
                let _ = wire.read(&mut [0; 1]);
                return Err(Over);
            }
        };
        wire.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        wire.get_mut().flush()?;
        Ok(fault.is_none())
    }

    fn command(&self, wire: &mut BufReader<Box<dyn Wire>>, client: &mut Client) -> Result<Next, Over> {
        let line = line(wire)?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with("EHLO") || upper.starts_with("HELO") {
            let mut offers = vec!["250-sink", "250-8BITMIME"];
            if self.mode == Mode::StartTls && !client.encrypted {
                offers.push("250-STARTTLS");
            }
            if self.account.is_some() {
                offers.push("250-AUTH PLAIN LOGIN");
            }
            offers.push("250 SIZE 10000000");
            self.say(wire, Stage::Hello, &offers.join("\r\n"))?;
        } else if upper == "STARTTLS" {
            if self.say(wire, Stage::StartTls, "220 go ahead")? {
                return Ok(Next::Encrypt);
            }
        } else if let Some(secret) = upper.starts_with("AUTH PLAIN ").then(|| line[11..].to_owned()) {
            self.login(wire, client, &secret)?;
        } else if upper.starts_with("MAIL FROM:") {
            let allowed = self.account.is_none() || client.user.is_some();
            if self.say(wire, Stage::Sender, if allowed { "250 ok" } else { "530 log in first" })? && allowed {
                client.from = address(&line);
            }
        } else if upper.starts_with("RCPT TO:") {
            if self.say(wire, Stage::Recipient, "250 ok")? {
                client.to.push(address(&line));
            }
        } else if upper == "DATA" {
            if self.say(wire, Stage::Data, "354 go ahead")? {
                self.body(wire, client)?;
            }
        } else if upper == "QUIT" {
            let _ = wire.get_mut().write_all(b"221 goodbye\r\n");
            return Err(Over);
        } else {
            wire.get_mut().write_all(b"500 what\r\n")?;
        }
        Ok(Next::Go)
    }

    fn login(&self, wire: &mut BufReader<Box<dyn Wire>>, client: &mut Client, secret: &str) -> Result<(), Over> {
        let known = self.account.as_ref().filter(|(user, password)| {
            let expected = format!("\0{user}\0{password}");
            base64(expected.as_bytes()) == secret
        });
        let line = if known.is_some() { "235 welcome" } else { "535 no" };
        if self.say(wire, Stage::Login, line)? {
            client.user = known.map(|(user, _)| user.clone());
        }
        Ok(())
    }

    fn body(&self, wire: &mut BufReader<Box<dyn Wire>>, client: &mut Client) -> Result<(), Over> {
        let mut message = String::new();
        loop {
            let line = line(wire)?;
            if line == "." {
                break;
            }
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
            message.push_str("\r\n");
            let mut script = self.script.lock().expect("no test panics here");
            if let Some(n) = script.iter().position(|(at, _)| *at == Stage::Body) {
                script.remove(n);
                return Err(Over);
            }
        }
        let (from, to) = (std::mem::take(&mut client.from), std::mem::take(&mut client.to));
        let refused = {
            let script = self.script.lock().expect("no test panics here");
            script.iter().any(|(at, fault)| *at == Stage::Dot && matches!(fault, Fault::Reply(_)))
        };
        if !refused {
            let received = Received { from, to, message, encrypted: client.encrypted, user: client.user.clone() };
            self.mails.lock().expect("no test panics here").push(received);
        }
        self.say(wire, Stage::Dot, "250 kept")?;
        Ok(())
    }
}

enum Next {
    Go,
    Encrypt,
}

fn line(wire: &mut BufReader<Box<dyn Wire>>) -> Result<String, Over> {
    let mut line = Vec::new();
    if wire.read_until(b'\n', &mut line)? == 0 {
        return Err(Over);
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

fn address(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(address, _)| address).to_owned()
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().chain(&[0; 2]).take(3).fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        for n in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
