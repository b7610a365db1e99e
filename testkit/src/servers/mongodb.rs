//! A private MongoDB: a replica set of one, which can lose its primary as a big one does, or a standalone server.
//!
//! It starts empty in less than a second, so nothing is kept from one start to the next.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use tempfile::TempDir;

use super::{Guarded, certificate, program_in};
use crate::port::free_port;

/// How long a start, or an election, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running MongoDB, which offers TLS and lets everybody in.
pub struct Server {
    process: Option<Guarded>,
    port: u16,
    replicated: bool,
    prefixes: AtomicU32,
    folder: TempDir,
}

impl Server {
    /// Starts a replica set of one on a free port; it takes writes when this returns.
    pub fn start() -> Self {
        Self::start_as(true)
    }

    /// Starts one that is no replica set.
    pub fn standalone() -> Self {
        Self::start_as(false)
    }

    fn start_as(replicated: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server can be made");
        std::fs::create_dir(folder.path().join("data")).expect("a folder for its data can be made");
        let (certificate, key) = certificate();
        for (name, pem) in [("ca.pem", certificate.clone()), ("server.pem", certificate + &key)] {
            std::fs::write(folder.path().join(name), pem).expect("the certificate can be written");
        }
        let mut server = Self { process: None, port: 0, replicated, prefixes: AtomicU32::new(0), folder };
        // Somebody else may take the port before the server does.
        for _ in 0..3 {
            server.port = free_port();
            if server.is_started() {
                server.initiate();
                return server;
            }
        }
        panic!("MongoDB did not start:\n{}", server.log());
    }

    fn initiate(&self) {
        if self.replicated {
            let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
            let settings = doc! { "electionTimeoutMillis": 500 };
            let config = doc! { "_id": "rs0", "members": [member], "settings": settings };
            self.run("admin", doc! { "replSetInitiate": config });
        }
        self.until_primary();
    }

    /// Its port, on `127.0.0.1` and `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that has signed its certificate, which is for `localhost`, in PEM.
    pub fn authority(&self) -> String {
        self.folder.path().join("ca.pem").to_str().expect("a temporary folder has a plain name").to_owned()
    }

    /// The URL of fresh databases: all of them have a prefix of their own.
    pub fn database(&self) -> String {
        format!("{}&prefix=test{}_", self.url(), self.prefixes.fetch_add(1, Ordering::Relaxed))
    }

    /// The server's URL, to which options can be added by `&`.
    pub fn url(&self) -> String {
        let how = if self.replicated { "replicaSet=rs0" } else { "directConnection=true" };
        format!("mongodb://127.0.0.1:{}/?{how}", self.port)
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Starts it again after [`Server::kill`], on the same port and with the same data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none() && self.is_started(), "MongoDB did not start again:\n{}", self.log());
        self.until_primary();
    }

    /// Stops it in its tracks: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the server runs").freeze();
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.process.as_ref().expect("the server runs").signal("-CONT");
    }

    /// Makes it give up being primary. It is elected again after a second.
    pub fn step_down(&self) {
        self.run("admin", doc! { "replSetStepDown": 1, "force": true });
    }

    /// Spoils the next `times` commands: `how` is the `data` of MongoDB's fail point `failCommand`, such as
    /// `{failCommands: ["insert"], errorCode: 10107}`.
    pub fn fail(&self, times: u32, how: Document) {
        let mode = doc! { "times": i64::from(times) };
        self.run("admin", doc! { "configureFailPoint": "failCommand", "mode": mode, "data": how });
    }

    /// Spoils nothing any more; how many commands were spoiled since the server's start.
    pub fn heal(&self) -> i64 {
        let healed = self.run("admin", doc! { "configureFailPoint": "failCommand", "mode": "off" });
        healed.get("count").and_then(|count| count.as_i64().or(count.as_i32().map(i64::from))).unwrap_or(0)
    }

    /// Runs a command; its answer.
    pub fn run(&self, database: &str, command: Document) -> Document {
        let said = command.to_string();
        let answer = self.ask(database, command).unwrap_or_else(|err| panic!("{said}\nfailed: {err}\n{}", self.log()));
        assert!(answer.get_f64("ok").is_ok_and(|ok| ok == 1.0), "{said}\nfailed: {answer}");
        answer
    }

    /// One question and its answer (MongoDB Wire Protocol, OP_MSG).
    fn ask(&self, database: &str, mut command: Document) -> io::Result<Document> {
        command.insert("$db", database);
        let body = command.to_vec().map_err(io::Error::other)?;
        let length = i32::try_from(16 + 5 + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::new();
        for number in [length, 1, 0, 2013, 0] {
            message.extend_from_slice(&number.to_le_bytes()); // length, id, answer to, OP_MSG, flags
        }
        message.push(0); // a section of one document
        message.extend_from_slice(&body);

        let mut tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.write_all(&message)?;
        tcp.read_exact(&mut [0; 21])?;
        Document::from_reader(tcp).map_err(io::Error::other)
    }

    fn until_primary(&self) {
        let started = Instant::now();
        loop {
            let hello = self.ask("admin", doc! { "hello": 1 });
            if hello.as_ref().is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "MongoDB takes no writes: {hello:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_started(&mut self) -> bool {
        let mut process = Guarded::start(mongod(), self.args());
        let started = Instant::now();
        while started.elapsed() < PATIENCE && !process.has_ended() {
            if self.ask("admin", doc! { "hello": 1 }).is_ok() {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn args(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().expect("a temporary folder has a plain name");
        let args = [
            "--bind_ip=127.0.0.1",
            &format!("--port={}", self.port),
            "--nounixsocket",
            &format!("--dbpath={folder}/data"),
            &format!("--logpath={folder}/log"),
            "--logappend",
            "--tlsMode=allowTLS",
            &format!("--tlsCertificateKeyFile={folder}/server.pem"),
            // Small: without these an empty one takes 300 MB of the disk.
            "--oplogSize=64",
            "--wiredTigerCacheSizeGB=0.25",
            "--wiredTigerEngineConfigString=log=(file_max=4MB,prealloc=false)",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            // Fail points.
            "--setParameter=enableTestCommands=1",
        ];
        let set = self.replicated.then_some("--replSet=rs0");
        args.into_iter().chain(set).map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_else(|_| "it has logged nothing".to_owned())
    }
}

/// A mongod of the machine's own, or the one that `.ci/need` has installed.
fn mongod() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()).map_or_else(home, PathBuf::from);
    program_in("mongod", &[cache.join("microserve/mongod-6.0.5/fiftyone/db/bin")])
}
