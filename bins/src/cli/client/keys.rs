//! `microserve keys`: API keys, for machines.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use microserve_core::api_key::{ApiKeyId, Scope};
use microserve_core::clock::{Clock, SystemClock};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::api::{self, Api};
use super::login;
use crate::cli::table::{self, one_line};
use crate::cli::{Outcome, print, say};
use crate::config::Client;

/// Create, list or revoke API keys: machines call with them instead of a person's password.
///
/// A key does what its scopes say, until it is revoked or expires; a changed password leaves it alone. Give it to the
/// client by MICROSERVE_TOKEN or MICROSERVE_TOKEN_FILE.
#[derive(Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create a key and print it: that is the only time it can be seen.
///
/// Asks for your password, as the token of `login` alone does not do.
#[derive(Args)]
#[command(after_help = "Example: microserve keys create \"build server\" --scope upload --scope read --days 90")]
struct Create {
    /// What to call it
    name: String,

    /// What it may be used for; can be given several times
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<Word>,

    /// How long it is good, in days [default: until it is revoked]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,

    /// Read the password from standard input (one line)
    #[arg(long)]
    password_stdin: bool,

    #[command(flatten)]
    client: Client,
}

/// What a key may be used for.
#[derive(Clone, Copy, ValueEnum)]
enum Word {
    /// See jobs and download
    Read,
    /// Upload videos
    Upload,
    /// Cancel, retry and delete jobs, make and revoke links
    Manage,
}

/// List your keys, the oldest first.
#[derive(Args)]
struct List {
    /// Print them as JSON, one a line, as the server tells of them
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    client: Client,
}

/// Revoke a key: it is good for no more than half a minute then.
#[derive(Args)]
struct Revoke {
    /// Its id, as `microserve keys list` shows it
    #[arg(value_name = "KEY")]
    id: ApiKeyId,

    #[command(flatten)]
    client: Client,
}

pub(crate) fn run(args: &Keys) -> Outcome {
    match &args.command {
        Command::Create(args) => create(args),
        Command::List(args) => list(args),
        Command::Revoke(args) => revoke(args),
    }
}

fn create(args: &Create) -> Outcome {
    let api = Api::signed_in(&args.client)?;
    // Asked before anything else listens to Ctrl-C, so that it ends this at once.
    let password = login::password(args.password_stdin)?;
    let scopes: Vec<Scope> = args.scope.iter().copied().map(Scope::from).collect();
    let days = args.days.map(|days| SignedDuration::from_hours(24 * i64::from(days)));
    let expires_at = days.and_then(|days| SystemClock.now().checked_add(days).ok());
    super::run("interrupted; look whether there is a key: `microserve keys list`", async {
        let mut wanted = json!({ "password": password.expose_secret(), "name": args.name, "scopes": scopes });
        if let Some(moment) = expires_at {
            wanted["expires_at"] = json!(moment);
        }
        // Once: nobody would see the key of an answer that was lost.
        let call = api.request(Method::POST, "me/keys").json(&wanted);
        let made = api::document(api::answer(call.send(), api::IDLE).await?).await?;
        print(&one_line(made["key"].as_str().unwrap_or_default(), 100))?;
        say("this is the only time that the key is shown");
        Ok(())
    })
}

fn list(args: &List) -> Outcome {
    super::run("interrupted", async {
        let api = Api::signed_in(&args.client)?;
        let document = api.document(|| api.request(Method::GET, "me/keys")).await?;
        let keys = document["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        if args.json {
            keys.iter().try_for_each(|key| print(&key.to_string()))?;
        } else if keys.is_empty() {
            say("there are no keys");
        } else {
            table::print(["ID", "CREATED", "EXPIRES", "SCOPES", "NAME"], keys.iter().map(row))?;
        }
        Ok(())
    })
}

fn row(key: &Value) -> [String; 5] {
    let text = |field: &str| one_line(key[field].as_str().unwrap_or_default(), 100);
    let time = |field: &str| table::time(key[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()));
    let scopes: Vec<_> = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    [text("key_id"), time("created_at"), time("expires_at"), one_line(&scopes.join(" "), 40), text("name")]
}

fn revoke(args: &Revoke) -> Outcome {
    super::run("interrupted", async {
        let api = Api::signed_in(&args.client)?;
        // Once: it would not be there a second time.
        let call = api.request(Method::DELETE, &format!("me/keys/{}", args.id));
        api::answer(call.send(), api::IDLE).await?;
        say(&format!("key {} is revoked", args.id));
        Ok(())
    })
}

impl From<Word> for Scope {
    fn from(word: Word) -> Self {
        match word {
            Word::Read => Self::Read,
            Word::Upload => Self::Upload,
            Word::Manage => Self::Manage,
        }
    }
}
