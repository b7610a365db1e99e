//! Starts a MariaDB, a MongoDB, a RabbitMQ and a mail server that live until Ctrl-C, and prints how microserve is told of
//! them. `make services` runs it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]

use std::time::Duration;

use microserve_testkit::servers::{mariadb, mongodb, rabbitmq};
use microserve_testkit::smtp::{Mode, Sink};

fn main() {
    eprintln!("starting MariaDB, MongoDB, RabbitMQ and a mail server: some seconds");
    let (mariadb, mongod, broker) = (mariadb::Server::start(), mongodb::Server::start(), rabbitmq::Server::start());
    let mails = Sink::start(Mode::Plain, None);
    println!("export MICROSERVE_ACCOUNTS='{}'", mariadb.database());
    println!("export MICROSERVE_JOBS='{}'", mongod.url());
    println!("export MICROSERVE_BLOBS='{}'", mongod.url());
    println!("export MICROSERVE_QUEUE='{}'", broker.vhost());
    println!("export MICROSERVE_MAILER='smtp://127.0.0.1:{}'", mails.port());
    eprintln!("Put these into another terminal, for `cargo run -p microserve -- serve` or the four services.");
    eprintln!("Mails are shown here. Ctrl-C ends all of it, with what was stored.");
    let mut shown = 0;
    loop {
        let all = mails.mails();
        for mail in &all[shown..] {
            eprintln!("\n--- a mail to {}\n{}", mail.to.join(", "), mail.message);
        }
        shown = all.len();
        std::thread::sleep(Duration::from_millis(200));
    }
}
