//! The parts of a cluster: real servers, the four services on them, and the lines between.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use microserve_testkit::chaos_proxy::ChaosProxy;
use microserve_testkit::port::free_port;
use microserve_testkit::servers::{mariadb, mongodb, rabbitmq};
use microserve_testkit::smtp::{Mode, Sink};
use serde_json::Value;

use crate::common::Client;

pub const ANNA: &str = "anna@example.com";

/// What the services run on.
pub struct Servers {
    pub mariadb: mariadb::Server,
    pub mongod: mongodb::Server,
    pub broker: Broker,
    pub mails: Sink,
}

/// A broker of all tests, or one that may be killed, which takes longer to start.
pub enum Broker {
    Shared(rabbitmq::Shared),
    Own(rabbitmq::Server),
}

impl Servers {
    pub fn start() -> Self {
        Self::with(Broker::Shared(rabbitmq::shared()))
    }

    /// Servers that may be killed.
    pub fn start_own() -> Self {
        Self::with(Broker::Own(rabbitmq::Server::start()))
    }

    fn with(broker: Broker) -> Self {
        let (mariadb, mongod) = (mariadb::Server::start(), mongodb::Server::start());
        Self { mariadb, mongod, broker, mails: Sink::start(Mode::Plain, None) }
    }
}

impl Broker {
    pub fn vhost(&self) -> String {
        match self {
            Self::Shared(broker) => broker.vhost(),
            Self::Own(broker) => broker.vhost(),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Self::Shared(broker) => broker.port(),
            Self::Own(broker) => broker.port(),
        }
    }

    pub fn kill(&mut self) {
        let Self::Own(broker) = self else { panic!("other tests need that broker") };
        broker.kill();
    }

    pub fn restart(&mut self) {
        let Self::Own(broker) = self else { panic!("it was not killed") };
        broker.restart();
    }
}

/// A line from a service to what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    AuthToMariadb,
    GatewayToAuth,
    GatewayToMongod,
    GatewayToBroker,
    ConverterToMongod,
    ConverterToBroker,
    NotifierToMongod,
    NotifierToBroker,
    NotifierToSmtp,
}

pub const LINES: [Line; 9] = [
    Line::AuthToMariadb,
    Line::GatewayToAuth,
    Line::GatewayToMongod,
    Line::GatewayToBroker,
    Line::ConverterToMongod,
    Line::ConverterToBroker,
    Line::NotifierToMongod,
    Line::NotifierToBroker,
    Line::NotifierToSmtp,
];

/// One of our processes, which comes back on the same ports.
pub struct Service {
    exe: &'static str,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    pub url: String,
    pub ops_url: String,
    log: PathBuf,
}

impl Service {
    fn new(exe: &'static str, folder: &Path, mut environment: Vec<(&'static str, String)>) -> Self {
        let (port, ops_port) = (free_port(), free_port());
        environment.extend([
            ("MICROSERVE_LISTEN", format!("127.0.0.1:{port}")),
            ("MICROSERVE_OPS_LISTEN", format!("127.0.0.1:{ops_port}")),
            ("MICROSERVE_DATA", folder.to_str().unwrap().to_owned()),
        ]);
        let log = folder.join(format!("{ops_port}.log"));
        let (url, ops_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{ops_port}"));
        Self { exe, environment, child: None, url, ops_url, log }
    }

    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Starts it, and does not wait for anything.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(self.exe);
        if self.exe.ends_with("-auth") {
            command.arg("serve");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    /// What it has logged so far: JSON, since nobody looks at it on a terminal.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What `/readyz` says; nothing if nobody answers.
    pub async fn readiness(&self) -> Option<Value> {
        let http = crate::common::http().timeout(Duration::from_secs(10)).build().unwrap();
        http.get(format!("{}/readyz", self.ops_url)).send().await.ok()?.json().await.ok()
    }

    /// Waits until `/readyz` has this status.
    pub async fn until(&self, status: &str, patience: Duration) -> Value {
        let started = Instant::now();
        loop {
            let told = self.readiness().await;
            if let Some(told) = told.as_ref().filter(|told| told["status"] == status) {
                return told.clone();
            }
            let log = self.log();
            let last = log.len().saturating_sub(3000);
            assert!(started.elapsed() < patience, "{} is not {status}: {told:?}\n{}", self.exe, &log[last..]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _already_gone = child.wait();
        }
    }
}

/// The four services, and whoever is in between.
pub struct Cluster {
    pub auth: Service,
    pub gateway: Service,
    pub converter: Service,
    pub notifier: Service,
    pub proxies: BTreeMap<Line, ChaosProxy>,
    /// Where accounts are, directly.
    accounts: String,
    /// Where the queues are, directly.
    queue: String,
    /// Mails that had come before, to others on the same servers.
    pub mails_before: usize,
    /// The prefix of the databases' names.
    pub prefix: String,
    pub folder: tempfile::TempDir,
}

impl Cluster {
    /// Services on these servers with databases of their own, and with proxies on these lines. Nothing is started yet.
    pub fn on(servers: &Servers, with_proxies: &[Line]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (accounts, jobs, queue) = (servers.mariadb.database(), servers.mongod.database(), servers.broker.vhost());
        let prefix = jobs.rsplit("prefix=").next().unwrap().to_owned();
        let mut proxies = BTreeMap::new();
        // The port that a line leads to.
        let mut by = |line: Line, port: u16| {
            if !with_proxies.contains(&line) {
                return port;
            }
            proxies.entry(line).or_insert_with(|| ChaosProxy::start(port)).port()
        };
        let mongod = |port: u16| {
            // A driver that asks for the members of the replica set would go to them directly.
            let direct = jobs.replace("replicaSet=rs0", "directConnection=true");
            direct.replace(&format!(":{}/", servers.mongod.port()), &format!(":{port}/"))
        };
        let broker = |port: u16| queue.replace(&format!(":{}/", servers.broker.port()), &format!(":{port}/"));

        let port = by(Line::AuthToMariadb, servers.mariadb.port());
        let through = accounts.replace(&format!(":{}/", servers.mariadb.port()), &format!(":{port}/"));
        let exe = env!("CARGO_BIN_EXE_microserve-auth");
        let auth = Service::new(exe, folder.path(), vec![("MICROSERVE_ACCOUNTS", through)]);

        let mut work = |exe, to_mongod, to_broker, more: Vec<(&'static str, String)>| {
            let jobs = mongod(by(to_mongod, servers.mongod.port()));
            let queue = broker(by(to_broker, servers.broker.port()));
            let mut environment =
                vec![("MICROSERVE_JOBS", jobs.clone()), ("MICROSERVE_BLOBS", jobs), ("MICROSERVE_QUEUE", queue)];
            environment.extend(more);
            Service::new(exe, folder.path(), environment)
        };
        let exe = env!("CARGO_BIN_EXE_microserve-converter");
        let converter = work(exe, Line::ConverterToMongod, Line::ConverterToBroker, Vec::new());
        let mut gateway =
            work(env!("CARGO_BIN_EXE_microserve-gateway"), Line::GatewayToMongod, Line::GatewayToBroker, Vec::new());
        let mut notifier =
            work(env!("CARGO_BIN_EXE_microserve-notifier"), Line::NotifierToMongod, Line::NotifierToBroker, Vec::new());
        let port = by(Line::GatewayToAuth, auth.port());
        gateway.environment.push(("MICROSERVE_AUTH", format!("http://127.0.0.1:{port}")));
        let port = by(Line::NotifierToSmtp, servers.mails.port());
        notifier.environment.push(("MICROSERVE_MAILER", format!("smtp://127.0.0.1:{port}")));
        let mails_before = servers.mails.mails().len();
        Self { auth, gateway, converter, notifier, proxies, accounts, queue, mails_before, prefix, folder }
    }

    /// Another of a service, beside the one that there is.
    pub fn another(&self, of: &Service) -> Service {
        let own = ["MICROSERVE_LISTEN", "MICROSERVE_OPS_LISTEN", "MICROSERVE_DATA"];
        let environment = of.environment.iter().filter(|(name, _)| !own.contains(name)).cloned().collect();
        Service::new(of.exe, self.folder.path(), environment)
    }

    /// The broker, past every proxy.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    pub fn services(&mut self) -> [&mut Service; 4] {
        [&mut self.auth, &mut self.gateway, &mut self.converter, &mut self.notifier]
    }

    pub fn start(&mut self) {
        for service in self.services() {
            service.start();
        }
    }

    pub async fn until_ready(&self) {
        for service in [&self.auth, &self.gateway, &self.converter, &self.notifier] {
            service.until("ready", Duration::from_secs(60)).await;
        }
    }

    /// Adds an account, past every proxy; its password.
    pub fn add_user(&self, email: &str) -> String {
        let mut add = Command::new(env!("CARGO_BIN_EXE_microserve-auth"));
        add.args(["user", "add", email, "--accounts", &self.accounts, "--data"]).arg(self.folder.path());
        let added = add.output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        String::from_utf8(added.stdout).unwrap().trim().to_owned()
    }

    pub async fn login(&self, email: &str) -> Client {
        Client::login(&self.gateway.url, email, &self.add_user(email)).await
    }
}
