//! What a broker and its queues are like.

use std::net::IpAddr;
use std::sync::Arc;

use lapin::uri::AMQPScheme;
use microserve_core::inspect::{Fact, Line, Step};
use microserve_core::open::SecretUrl;
use microserve_core::queue::QueueName;

use crate::RabbitQueue;
use crate::connection::{Link, Open};
use crate::error::{Failure, within};
use crate::settings::Settings;
use crate::topology::{Declaration, Found, look};

impl RabbitQueue {
    /// Finds out whether the broker can be reached and logged in to, how the line is protected, how each of the queues
    /// is, and how many dead letters there are. Queues that are missing are not made.
    pub async fn inspect(url: &SecretUrl) -> Vec<Fact> {
        let settings = match Settings::parse(url) {
            Ok(settings) => Arc::new(settings),
            Err(err) => return vec![Fact::obstacle(Step::Read, err)],
        };
        let link = Link::new(Arc::clone(&settings), "microserve inspects");
        let open = match link.get().await {
            Ok(open) => open,
            Err(failure) => return vec![Fact::obstacle(failure.step(), failure.into_source())],
        };
        let mut facts = vec![Fact::Answers("RabbitMQ".to_owned()), Fact::Line(line(&settings)), Fact::LoggedIn];
        if let Err(failure) = queues(&open, &settings, &mut facts).await {
            facts.push(Fact::obstacle(Step::Use, failure.into_source()));
        }
        facts
    }
}

async fn queues(open: &Open, settings: &Settings, facts: &mut Vec<Fact>) -> Result<(), Failure> {
    within(settings.timeout, async { open.ensure_not_blocked() }).await?;
    for queue in [QueueName::VIDEO, QueueName::MP3] {
        let mut missing = Vec::new();
        let before = facts.len();
        for declaration in Declaration::family(&queue) {
            let name = declaration.name.clone();
            match within(settings.timeout, look(open, &declaration)).await? {
                Found::Missing => missing.push(name),
                Found::Other(difference) => {
                    facts.push(Fact::OtherQueue { delays: declaration.delays, name, difference });
                }
                Found::Ours { messages } if messages > 0 && name == queue.dead().as_str() => {
                    facts.push(Fact::DeadLetters { queue: name, count: messages.into() });
                }
                Found::Ours { .. } => {}
            }
        }
        if !missing.is_empty() {
            facts.push(Fact::Unmade(format!("the queues {}", missing.join(", "))));
        } else if facts.len() == before {
            facts.push(Fact::Ready(format!("the queue {queue} and all that belongs to it")));
        }
    }
    Ok(())
}

fn line(settings: &Settings) -> Line {
    let host = settings.uri.authority.host.as_str();
    match settings.uri.scheme {
        AMQPScheme::AMQPS => Line::Verified,
        AMQPScheme::AMQP if host == "localhost" => Line::Local,
        AMQPScheme::AMQP if host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) => Line::Local,
        AMQPScheme::AMQP => Line::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_tls_is_open_off_this_machine() {
        for (url, expected) in [
            ("amqps://broker.example.com", Line::Verified),
            ("amqp://localhost", Line::Local),
            ("amqp://[::1]", Line::Local),
            ("amqp://broker.example.com?tls=false", Line::Open),
            ("amqp://localhost.example.com?tls=false", Line::Open),
            ("amqp://10.0.0.1?tls=false", Line::Open),
        ] {
            assert_eq!(line(&Settings::parse(&url.parse().unwrap()).unwrap()), expected, "{url}");
        }
    }
}
