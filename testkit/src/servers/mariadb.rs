//! A private MariaDB, or the MySQL that `MICROSERVE_MYSQL` names.
//!
//! Its tables are made once and kept next to cargo's own output; a server starts from a copy in a tenth of a second.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Guarded, certificate, is_root, program};
use crate::media::cache;
use crate::port::free_port;
use mysql::Mysql;

mod mysql;

/// What makes it small: tests have a few rows.
const SMALL: [&str; 3] = ["--innodb-log-file-size=4M", "--innodb-undo-tablespaces=0", "--innodb-buffer-pool-size=16M"];

/// A running MariaDB, which offers TLS, with the user `root`, who has no password.
pub struct Server {
    process: Option<Guarded>,
    port: u16,
    databases: AtomicU32,
    folder: TempDir,
}

impl Server {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server can be made");
        copy(&template(), &folder.path().join("data"));
        let (certificate, key) = certificate();
        for (name, pem) in [("ca.pem", certificate), ("key.pem", key)] {
            std::fs::write(folder.path().join(name), pem).expect("the certificate can be written");
        }
        let mut server = Self { process: None, port: 0, databases: AtomicU32::new(0), folder };
        // Somebody else may take the port before the server does.
        for _ in 0..3 {
            server.port = free_port();
            if server.is_started() {
                return server;
            }
        }
        panic!("MariaDB did not start:\n{}", server.log());
    }

    /// Its port, on `127.0.0.1` and `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that has signed its certificate, which is for `localhost`, in PEM.
    pub fn authority(&self) -> String {
        self.folder.path().join("ca.pem").to_str().expect("a temporary folder has a plain name").to_owned()
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    /// Starts it again after [`Server::kill`], on the same port and with the same data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none() && self.is_started(), "MariaDB did not start again:\n{}", self.log());
    }

    /// A fresh database, of everything that is there by default: its URL.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("", &format!("CREATE DATABASE {name}"));
        self.url("root", "", &name)
    }

    /// The URL of a database for a user.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let colon = if password.is_empty() { "" } else { ":" };
        format!("mysql://{user}{colon}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops it in its tracks: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the server runs").freeze();
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.process.as_ref().expect("the server runs").signal("-CONT");
    }

    /// Runs statements as `root` in a database, and holds on to what they have locked until the guard is dropped.
    pub fn hold(&self, database: &str, statements: &str) -> Hold {
        let mut child = (self.client(database).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
            .unwrap_or_else(|err| panic!("mariadb can't be run: {err}"));
        let stdin = child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{statements}; SELECT 'held';").expect("the client reads");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "held"), "{statements}\nfailed");
        Hold(child)
    }

    fn client(&self, database: &str) -> Command {
        let mut client = Command::new(program("mariadb"));
        client.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--default-character-set=utf8mb4"]);
        client.args(["--skip-column-names", "--batch", "--unbuffered"]);
        client.args([format!("--port={}", self.port), format!("--database={database}")]);
        client
    }

    /// Runs statements as `root` in a database; the rows, with tabs between their columns.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut client = self.client(database);
        client.args(["--execute", statements]).stdin(Stdio::null());
        let output = client.output().unwrap_or_else(|err| panic!("mariadb can't be run: {err}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}\nfailed: {said}\n{}", self.log());
        String::from_utf8(output.stdout).expect("the client writes UTF-8").trim_end().to_owned()
    }

    fn is_started(&mut self) -> bool {
        let server = Mysql::asked_for().map_or_else(|| program("mariadbd"), |mysql| mysql.program());
        let mut process = Guarded::start(server, self.args());
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) && !process.has_ended() {
            if greets(self.port) {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn args(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().expect("a temporary folder has a plain name");
        let mut args = Mysql::asked_for().map_or_else(
            || {
                [&["--no-defaults", "--skip-name-resolve"], &SMALL[..]]
                    .concat()
                    .into_iter()
                    .map(str::to_owned)
                    .collect()
            },
            |mysql| mysql.args(),
        );
        args.extend([
            format!("--datadir={folder}/data"),
            format!("--socket={folder}/socket"),
            format!("--pid-file={folder}/pid"),
            format!("--tmpdir={folder}"),
            format!("--log-error={folder}/log.err"),
            format!("--ssl-cert={folder}/ca.pem"),
            format!("--ssl-key={folder}/key.pem"),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            // What was committed survives `kill -9`; a power cut is not played.
            "--innodb-flush-log-at-trx-commit=2".to_owned(),
        ]);
        if is_root() {
            args.push("--user=root".to_owned());
        }
        args
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log.err"))
            .unwrap_or_else(|_| "it has logged nothing".to_owned())
    }
}

/// A client that keeps its locks until it is dropped.
pub struct Hold(Child);

impl Drop for Hold {
    fn drop(&mut self) {
        // Having read the last of its orders, the client ends the connection in good order.
        drop(self.0.stdin.take());
        let _already_gone = self.0.wait();
    }
}

/// Whether a server says its hello.
fn greets(port: u16) -> bool {
    let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = tcp.set_read_timeout(Some(Duration::from_secs(10)));
    tcp.read_exact(&mut [0; 5]).is_ok()
}

/// A data folder as it is when it was just made. It gets its name when it is whole, so any number of test processes may
/// ask at once.
fn template() -> PathBuf {
    let mut command = match Mysql::asked_for() {
        Some(mysql) => {
            let mut command = Command::new(mysql.program());
            command.args(mysql.args()).args(["--initialize-insecure", "--innodb-flush-log-at-trx-commit=0"]);
            command
        }
        None => {
            let mut command = Command::new(program("mariadb-install-db"));
            let options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"];
            command.arg("--no-defaults").args(options).args(SMALL);
            command
        }
    };
    if is_root() {
        command.arg("--user=root");
    }
    let version = Command::new(program("mariadbd")).arg("--version").output().expect("mariadbd can be run").stdout;
    let mut hasher = DefaultHasher::new();
    (version, format!("{command:?}")).hash(&mut hasher);
    let cache = cache("mariadb");
    let made = cache.join(format!("{:016x}", hasher.finish()));
    if made.exists() {
        return made;
    }
    std::fs::create_dir_all(&cache).unwrap_or_else(|err| panic!("{} can't be made: {err}", cache.display()));
    let drafts = tempfile::tempdir_in(&cache).expect("a folder for drafts can be made");
    let draft = drafts.path().join("data");
    command.arg(format!("--datadir={}", draft.display()));
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|err| panic!("{command:?} can't be run: {err}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    // Another process may have been faster; its folder is as good.
    let renamed = std::fs::rename(&draft, &made);
    assert!(renamed.is_ok() || made.exists(), "{} can't be named: {renamed:?}", made.display());
    made
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()), "{} can't be copied", from.display());
}
