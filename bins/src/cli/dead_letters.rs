//! `microserve dead-letters`: messages that nobody could use. Works on the queue itself, so no server is needed, and
//! none is disturbed.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use microserve_core::dead_letters::{DeadLetters, Letter, Verdict};
use microserve_core::events::Event;
use microserve_core::queue::QueueName;
use serde::Serialize;

use super::table::{self, one_line};
use super::{Failure, Outcome, print, runtime, say};
use crate::config::Stores;
use crate::registry::Registry;

/// Look at messages that nobody could use, have them tried again, or throw them away.
///
/// A message becomes a dead letter when it is no JSON that names a job or a video, or when it came back a hundred times because
/// whoever had it vanished. No job is lost by that: its row says what is to be done, and the server rings for it again.
/// So a dead letter tells that some program puts other things on the queue, or dies of a job. See why with `list` and
/// `show`, mend it, then `replay` the letter; what still can't be used dies again. `purge` what is of no use.
#[derive(Args)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    action: Action,

    /// Only the dead letters of this queue: video (to be converted) or mp3 (to be announced) [default: both]
    #[arg(long, global = true, value_name = "NAME")]
    of: Option<Of>,

    #[command(flatten)]
    stores: Stores,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Of {
    Video,
    Mp3,
}

#[derive(Subcommand)]
enum Action {
    /// List them, the oldest first
    List {
        /// At most so many of each queue
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one with its body
    Show {
        /// Its id, as `list` shows it
        id: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Put one or all back on the queue that they came from; a letter of a job that is done changes nothing
    Replay {
        #[command(flatten)]
        which: Which,
    },
    /// Throw one or all away for good
    Purge {
        #[command(flatten)]
        which: Which,
        /// Don't ask; has to be given where nobody can be asked
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Its id, as `list` shows it
    id: Option<String>,
    /// All that are there now
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &DeadLettersArgs) -> Outcome {
    runtime()?.block_on(async {
        let url = args.stores.queue_url()?;
        let desk = Desk {
            letters: Registry::embedded().dead_letters.open(&url).await?,
            queues: match args.of {
                Some(Of::Video) => vec![QueueName::VIDEO],
                Some(Of::Mp3) => vec![QueueName::MP3],
                None => vec![QueueName::VIDEO, QueueName::MP3],
            },
        };
        match &args.action {
            Action::List { limit, json } => desk.list(*limit as usize, *json).await,
            Action::Show { id, json } => desk.show(id, *json).await,
            Action::Replay { which } => desk.replay(which).await,
            Action::Purge { which, yes } => desk.purge(which, *yes).await,
        }
    })
}

struct Desk {
    letters: Arc<dyn DeadLetters>,
    queues: Vec<QueueName>,
}

impl Desk {
    async fn list(&self, limit: usize, json: bool) -> Outcome {
        let mut all = Vec::new();
        let mut more = false;
        for queue in &self.queues {
            let mut page = Vec::new();
            let mut note = |letter: &Letter| {
                if page.len() == limit {
                    more = true;
                    return Verdict::Stop;
                }
                page.push(Shown::new(queue, letter));
                Verdict::Keep
            };
            self.letters.visit(queue, &mut note).await?;
            all.append(&mut page);
        }
        if json {
            print(&serde_json::to_string_pretty(&all)?)?;
        } else if all.is_empty() {
            say("there are no dead letters");
        } else {
            let rows = all.iter().map(Shown::row);
            table::print(["ID", "QUEUE", "SINCE", "JOB", "REASON"], rows)?;
        }
        if more {
            say("there are more: --limit shows them");
        }
        Ok(())
    }

    async fn show(&self, id: &str, json: bool) -> Outcome {
        for queue in &self.queues {
            let mut found = None;
            let mut look = |letter: &Letter| {
                if letter.id != id {
                    return Verdict::Keep;
                }
                let body = String::from_utf8_lossy(&letter.message.body).into_owned();
                found = Some(Shown { body: Some(body), ..Shown::new(queue, letter) });
                Verdict::Stop
            };
            self.letters.visit(queue, &mut look).await?;
            let Some(shown) = found else { continue };
            return if json { Ok(print(&serde_json::to_string_pretty(&shown)?)?) } else { shown.print() };
        }
        Err(nowhere(id))
    }

    async fn replay(&self, which: &Which) -> Outcome {
        let replayed = self.decide(which, Verdict::Replay).await?;
        say(&format!("replayed {}", letters(replayed)));
        Ok(())
    }

    async fn purge(&self, which: &Which, yes: bool) -> Outcome {
        if !yes && !confirmed(which)? {
            say("nothing was purged");
            return Ok(());
        }
        let purged = self.decide(which, Verdict::Purge).await?;
        say(&format!("purged {}", letters(purged)));
        Ok(())
    }

    /// Does this to one or all letters; how many they were.
    async fn decide(&self, which: &Which, verdict: Verdict) -> Result<u64, Failure> {
        let mut changed = 0;
        for queue in &self.queues {
            let mut found = false;
            let mut decide = |letter: &Letter| match &which.id {
                None => verdict,
                Some(_) if found => Verdict::Stop,
                Some(id) => {
                    found = letter.id == *id;
                    if found { verdict } else { Verdict::Keep }
                }
            };
            changed += self.letters.visit(queue, &mut decide).await?;
            if found {
                break;
            }
        }
        match &which.id {
            Some(id) if changed == 0 => Err(nowhere(id)),
            _ => Ok(changed),
        }
    }
}

fn letters(n: u64) -> String {
    if n == 1 { "1 dead letter".to_owned() } else { format!("{n} dead letters") }
}

fn nowhere(id: &str) -> Failure {
    let id = one_line(id, 100);
    Failure::new(1, format!("there is no dead letter {id}; `microserve dead-letters list` shows all"))
}

/// Asks whoever sits at the terminal.
fn confirmed(which: &Which) -> Result<bool, Failure> {
    let what = which.id.as_ref().map_or_else(|| "all of them".to_owned(), |id| one_line(id, 100));
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(1, format!("there is nobody to ask: add --yes to purge {what} for good")));
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "Purge {what} for good? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A letter as people and scripts see it.
#[derive(Serialize)]
struct Shown {
    id: String,
    queue: String,
    /// Since when it is a dead letter.
    since: Option<Timestamp>,
    reason: Option<String>,
    message_id: String,
    /// What it says, if it is a message as microserve or the tutorial's services write them.
    event: Option<Event>,
    /// Its body; what is not UTF-8 is replaced. In a list it would be too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Shown {
    fn new(queue: &QueueName, letter: &Letter) -> Self {
        let message = &letter.message;
        Self {
            id: letter.id.clone(),
            queue: queue.to_string(),
            since: letter.at,
            reason: message.dead_reason.clone(),
            message_id: message.id.clone(),
            event: Event::from_body(&message.body).ok(),
            body: None,
        }
    }

    /// The job, or what stands for it with those who know no jobs: the video.
    fn job(&self) -> String {
        let event = self.event.as_ref();
        let video = || event.map(|event| format!("video {}", event.video_fid));
        one_line(&event.and_then(|event| event.job_id.clone()).or_else(video).unwrap_or_default(), 40)
    }

    fn row(&self) -> [String; 5] {
        let reason = self.reason.as_deref().unwrap_or("unknown");
        [self.id.clone(), self.queue.clone(), table::time(self.since), self.job(), one_line(reason, 100)]
    }

    fn print(&self) -> Outcome {
        let mut lines = vec![
            ("id", self.id.clone()),
            ("queue", self.queue.clone()),
            ("since", table::time(self.since)),
            ("reason", self.reason.clone().unwrap_or_else(|| "unknown".to_owned())),
            ("message", self.message_id.clone()),
        ];
        if let Some(event) = &self.event {
            lines.push(("job", event.job_id.clone().unwrap_or_default()));
            lines.push(("video", event.video_fid.clone()));
            lines.push(("mp3", event.mp3_fid.clone().unwrap_or_default()));
            lines.push(("owner", event.username.clone()));
        }
        table::print_fields(lines)?;
        print("")?;
        Ok(print(&table::plain(self.body.as_deref().unwrap_or_default()))?)
    }
}
