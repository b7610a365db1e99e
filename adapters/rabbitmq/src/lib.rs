//! Queues of microserve on RabbitMQ (3.10 and later), for servers that share the work.
//!
//! ```no_run
//! use microserve_core::queue::{Message, Queue, QueueName};
//! use microserve_rabbitmq::RabbitQueue;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = RabbitQueue::open(&"amqps://microserve:secret@broker.example.com".parse()?).await?;
//! queue.publish(&QueueName::VIDEO, Message::new("1", r#"{"video_fid":"…"}"#)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | URL | meaning |
//! |---|---|
//! | `amqp://USER:PASSWORD@localhost` | no TLS, port 5672 unless given, virtual host `/`; off this machine only with `?tls=false` |
//! | `amqps://USER:PASSWORD@HOST` | TLS, port 5671 unless given; the certificate is verified, for the name in the URL |
//! | `amqp://HOST/NAME` | this virtual host, and the user `guest`, whom a broker lets in from its own machine only |
//! | `?ca=/etc/ssl/own.pem` | certificates are also good if this authority has signed them |
//! | `?tls=false` | no TLS, also to another machine: the password can be read on the way |
//! | `?timeout=5` | how many seconds to wait for an answer of the broker; 5 unless given |
//! | `?heartbeat=10` | how often, in seconds, both ends say that they live; 10 unless given |
//!
//! User, password and virtual host are percent-encoded, as in any URL: `@` is `%40`, `/` is `%2f`.
//!
//! # Messages
//!
//! They look as those of the well-known Python tutorial: JSON, persistent, on the default exchange with the queue's name
//! as routing key, so that its services can stand on either side. Why a message is a dead letter stands in the header
//! `microserve-dead-reason`, and since when, in milliseconds since 1970, in `microserve-dead-at`.
//!
//! # Queues
//!
//! What is missing is made when the broker is first reached: `video` and `mp3`, their dead letters `video.dead` and
//! `mp3.dead`, and `video.retry.1s` to `video.retry.4096s`, where messages wait for their next attempt; whoever has to
//! wait longer than the last of them does waits there several times. All of them are durable quorum queues. One that is
//! there already is used as it is, a classic one too.
//!
//! A user that may not make queues will do once somebody else has made them; it needs `write` on the default exchange and
//! `read` on the queues.
//!
//! # Long work
//!
//! RabbitMQ wants a delivery acknowledged within half an hour (`consumer_timeout`), takes it back otherwise, and delivers
//! it again. The job's row says that somebody is at work, so the second delivery waits until that is over, and finds
//! nothing left to do.

mod connection;
mod consumer;
mod dead_letters;
mod error;
mod inspect;
mod message;
mod publisher;
mod queue;
mod settings;
mod topology;

pub use queue::RabbitQueue;
pub use settings::SettingsError;
