//! `microserve login` and `logout`: a password becomes a token, which is kept for the other commands.

use std::io::IsTerminal;

use clap::Args;
use console::Term;
use microserve_core::account::Email;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};

use super::api::{self, Api};
use super::patience::Patience;
use super::store::{Login as Known, Store};
use crate::cli::{Failure, Outcome, say};
use crate::config::Peer;

/// Log in at a server, for upload, jobs, watch and get.
///
/// Asks for your e-mail address and your password. What is kept is not the password but a token, which is good for a
/// day, in a file that only you can read: $XDG_STATE_HOME/microserve/login.json, or
/// ~/.local/state/microserve/login.json. The server becomes the one that the other commands use.
#[derive(Args)]
#[command(after_help = "Example: microserve login --server https://mp3converter.com")]
pub(crate) struct Login {
    #[command(flatten)]
    peer: Peer,

    /// Your e-mail address [default: it is asked for]
    #[arg(long, value_name = "EMAIL")]
    email: Option<Email>,

    /// Read the password from standard input (one line)
    #[arg(long)]
    password_stdin: bool,
}

/// Forget the token of a server.
#[derive(Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    peer: Peer,

    /// Forget those of all servers
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Login) -> Outcome {
    let store = Store::open()?;
    let mut logins = store.logins()?;
    let address = api::meant(&args.peer, logins.default.as_deref())?;
    api::check_privacy(&address, args.peer.insecure)?;
    // Asked before anything else listens to Ctrl-C, so that it ends this at once.
    let email = match &args.email {
        Some(email) => email.clone(),
        None => ask_for_email()?,
    };
    let password = password(args.password_stdin)?;
    super::run("interrupted; you are not logged in", async {
        let token = token(&Api::of(address.clone())?, &email, &password).await?;
        let known = Known { email: email.to_string(), token, insecure: args.peer.insecure };
        logins.servers.insert(address.to_string(), known);
        logins.default = Some(address.to_string());
        store.remember_logins(&logins)?;
        say(&format!("logged in at {address} as {email}"));
        Ok(())
    })
}

pub(crate) fn forget(args: &Logout) -> Outcome {
    let store = Store::open()?;
    let mut logins = store.logins()?;
    if args.all {
        (logins.default, logins.servers) = (None, Default::default());
        store.remember_logins(&logins)?;
        say("logged out everywhere");
        return Ok(());
    }
    let address = api::meant(&args.peer, logins.default.as_deref())?;
    let was_in = logins.servers.remove(&address.to_string()).is_some();
    if logins.default.as_deref() == Some(&address.to_string()) {
        logins.default = None;
    }
    store.remember_logins(&logins)?;
    say(&format!("{} at {address}", if was_in { "logged out" } else { "you were not logged in" }));
    Ok(())
}

/// The token that the server gives for them.
async fn token(api: &Api, email: &Email, password: &SecretString) -> Result<String, Failure> {
    let mut patience = Patience::short();
    let document = loop {
        let call = api.request(Method::POST, "login").basic_auth(email, Some(password.expose_secret()));
        let document = async { api::document(api::answer(call.send(), api::IDLE).await?).await };
        match document.await {
            Ok(document) => break document,
            Err(trouble) => patience.after(trouble).await?,
        }
    };
    let token = document["token"].as_str().filter(|token| token.is_ascii() && !token.is_empty());
    let strange = "the server's answer has no token: is this a microserve gateway?";
    token.map(str::to_owned).ok_or_else(|| Failure::new(1, strange))
}

fn ask_for_email() -> Result<Email, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Failure::USAGE, "there is nobody to ask: add --email EMAIL"));
    }
    let terminal = Term::stderr();
    terminal.write_str("E-mail address: ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    line.trim().parse().map_err(|err| Failure::new(Failure::USAGE, err))
}

/// The password, from standard input or by asking.
pub(super) fn password(from_stdin: bool) -> Result<SecretString, Failure> {
    if from_stdin { first_line() } else { ask_for_password() }
}

/// Asks without showing what is typed.
fn ask_for_password() -> Result<SecretString, Failure> {
    let terminal = Term::stderr();
    if !std::io::stdin().is_terminal() || !terminal.is_term() {
        return Err(Failure::new(Failure::USAGE, "there is nobody to ask: add --password-stdin"));
    }
    terminal.write_str("Password: ")?;
    Ok(SecretString::from(terminal.read_secure_line()?))
}

fn first_line() -> Result<SecretString, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned()))
}
