//! Where a broker listens, and how it is given orders.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::port::free_port;
use crate::servers::program;

/// Who does not know it can't give orders.
const COOKIE: &str = "microserve";
const NAME: &str = "rabbit@127.0.0.1";

/// A broker, whoever started it. Its user is `guest` with the password `guest`.
pub struct Node {
    folder: PathBuf,
    port: u16,
    tls_port: u16,
    /// Erlang's own protocol, by which orders come.
    orders_port: u16,
    /// Erlang's port mapper: a private one, or the node would start one for the whole machine.
    mapper_port: u16,
}

impl Node {
    /// One to be started in this folder.
    pub(super) fn new(folder: &Path) -> Self {
        let [port, tls_port, orders_port, mapper_port] = std::array::from_fn(|_| free_port());
        let node = Self { folder: folder.to_owned(), port, tls_port, orders_port, mapper_port };
        node.configure();
        node
    }

    /// The one that was written down with [`Node::written`].
    pub(super) fn read(folder: &Path, written: &str) -> Option<Self> {
        let ports: Vec<u16> = written.split_whitespace().map_while(|port| port.parse().ok()).collect();
        let [port, tls_port, orders_port, mapper_port] = ports[..] else { return None };
        Some(Self { folder: folder.to_owned(), port, tls_port, orders_port, mapper_port })
    }

    pub(super) fn written(&self) -> String {
        format!("{} {} {} {}\n", self.port, self.tls_port, self.orders_port, self.mapper_port)
    }

    fn configure(&self) {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let signed = signed.expect("a certificate can be made");
        let (folder, port, tls_port) = (self.folder.display(), self.port, self.tls_port);
        let conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}
            listeners.ssl.1 = 127.0.0.1:{tls_port}
            ssl_options.certfile = {folder}/ca.pem
            ssl_options.keyfile = {folder}/key.pem
            disk_free_limit.absolute = 50MB
            vm_memory_high_watermark.absolute = 768MB
            raft.wal_max_size_bytes = 16000000
            log.file = {folder}/log.err
            log.file.level = info
            "
        );
        for (name, content) in [
            ("ca.pem", signed.cert.pem()),
            ("key.pem", signed.signing_key.serialize_pem()),
            ("rabbitmq.conf", conf),
            ("enabled_plugins", "[].".to_owned()),
        ] {
            std::fs::write(self.folder.join(name), content).expect("the broker can be configured");
        }
    }

    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let file =
            |name: &str| self.folder.join(name).to_str().expect("a temporary folder has a plain name").to_owned();
        let quiet = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none";
        vec![
            ("HOME", file("")),
            ("ERL_EPMD_PORT", self.mapper_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", NAME.to_owned()),
            ("RABBITMQ_USE_LONGNAME", "true".to_owned()),
            ("RABBITMQ_DIST_PORT", self.orders_port.to_string()),
            ("RABBITMQ_MNESIA_BASE", file("data")),
            ("RABBITMQ_LOG_BASE", file("log")),
            ("RABBITMQ_PID_FILE", file("pid")),
            ("RABBITMQ_CONFIG_FILE", file("rabbitmq")),
            ("RABBITMQ_CONF_ENV_FILE", file("none")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins")),
            // The script becomes the broker instead of watching over it, so that a signal reaches the broker.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("{quiet} -setcookie {COOKIE} -kernel inet_dist_use_interface {{127,0,0,1}}"),
            ),
        ]
    }

    pub(super) fn mapper_args(&self) -> Vec<String> {
        ["-address", "127.0.0.1", "-port", &self.mapper_port.to_string()].map(str::to_owned).to_vec()
    }

    /// Its port, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its port for TLS, whose certificate is for `localhost`.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// The authority that has signed its certificate, in PEM.
    pub fn authority(&self) -> String {
        self.folder.join("ca.pem").to_str().expect("a temporary folder has a plain name").to_owned()
    }

    /// A fresh virtual host: its URL.
    pub fn vhost(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let name = format!("t{}-{}-{since}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        self.eval(&format!(
            r#"ok = rabbit_vhost:add(<<"{name}">>, <<"test">>),
            rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)"#
        ));
        format!("amqp://guest:guest@127.0.0.1:{}/{name}", self.port)
    }

    /// Whether it is there, all of it: somebody else's broker may greet on the same port while this one starts.
    pub(super) fn is_up(&self) -> bool {
        self.greets() && self.try_eval("rabbit:is_running()").is_ok_and(|value| value == "true")
    }

    /// Has the broker evaluate Erlang; the value of the last expression, as Erlang prints it.
    pub fn eval(&self, expressions: &str) -> String {
        self.try_eval(expressions).unwrap_or_else(|said| panic!("{expressions}\nfailed: {said}\n{}", self.log()))
    }

    fn try_eval(&self, expressions: &str) -> Result<String, String> {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let asker = format!("ask{}x{}@127.0.0.1", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed));
        let ask = format!(
            "[Text] = init:get_plain_arguments(),
            {{ok, Tokens, _}} = erl_scan:string(Text ++ \".\"),
            {{ok, Parsed}} = erl_parse:parse_exprs(Tokens),
            case rpc:call('{NAME}', erl_eval, exprs, [Parsed, []], 30000) of
                {{value, Value, _}} -> io:format(\"~0p\", [Value]), halt(0, [{{flush, true}}]);
                Trouble -> io:format(standard_error, \"~0p\", [Trouble]), halt(1, [{{flush, true}}])
            end."
        );
        let mut erl = Command::new(program("erl"));
        erl.args(["-noinput", "-hidden", "-name", &asker, "-setcookie", COOKIE, "+S", "1:1"]);
        erl.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", &ask, "-extra", expressions]);
        let output = erl.envs(self.environment()).stdin(Stdio::null()).output().expect("erl can be run");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8(output.stdout).expect("Erlang writes UTF-8"))
    }

    /// Whether it speaks AMQP: it answers a client's header with its first method.
    pub(super) fn greets(&self) -> bool {
        let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let _ = tcp.set_read_timeout(Some(Duration::from_secs(10)));
        tcp.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && tcp.read_exact(&mut [0; 7]).is_ok()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log.err")).unwrap_or_else(|_| "it has logged nothing".to_owned())
    }
}

/// The broker's program: Debian's, or the one that `.ci/need test` has unpacked. Not what Debian has in its path: that
/// changes the user first.
pub(super) fn broker() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let unpacked = home.join(".cache/microserve/rabbitmq/usr/lib/rabbitmq/bin/rabbitmq-server");
    let places = [PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server"), unpacked];
    let found = places.into_iter().find(|file| file.exists());
    found.unwrap_or_else(|| panic!("the tests need rabbitmq-server, which is not there; `.ci/need test` fetches it"))
}
