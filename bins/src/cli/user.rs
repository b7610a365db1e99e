//! `microserve user`: accounts. Works on the stores themselves, so no server is needed, and none is disturbed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::job::{JobStore, Policy, delete_all};
use microserve_core::password::Passwords;
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, Outcome, print, runtime, say};
use crate::config::Stores;
use crate::keys;
use crate::registry::Registry;

/// Add, list, change or remove accounts.
#[derive(Args)]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    stores: Stores,
}

#[derive(Subcommand)]
enum Action {
    /// Add an account; without --password-stdin a password is made and printed once
    Add {
        /// Its e-mail address, which is also its name
        email: Email,
        /// Read the password from standard input (one line)
        #[arg(long)]
        password_stdin: bool,
        /// Let it see to other people's things
        #[arg(long)]
        admin: bool,
    },
    /// Print an invitation with which somebody can make an account within a week, if the server registers those who were
    /// invited (--registration invited)
    Invite {
        /// The e-mail address that it is for
        email: Email,
        /// The folder with the keys that sign tokens [default: the folder keys in the data folder]
        #[arg(long, env = "MICROSERVE_KEYS", value_name = "DIR")]
        keys: Option<PathBuf>,
    },
    /// List all accounts
    List,
    /// Give an account a new password; its tokens are void within a minute
    Passwd {
        /// Its e-mail address
        email: Email,
        /// Read the password from standard input (one line)
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lock an account out
    Disable {
        /// Its e-mail address
        email: Email,
    },
    /// Let a locked-out account in again
    Enable {
        /// Its e-mail address
        email: Email,
    },
    /// Remove an account with all its jobs and files
    Remove {
        /// Its e-mail address
        email: Email,
    },
}

pub(super) fn run(args: &User) -> Outcome {
    if let Action::Invite { email, keys } = &args.action {
        return invite(email, &keys.clone().unwrap_or_else(|| args.stores.data.folder.join("keys")));
    }
    runtime()?.block_on(async {
        let registry = Registry::empty().with_accounts().with_jobs();
        let accounts = registry.accounts.open(&args.stores.accounts_url()?).await?;
        match &args.action {
            Action::Add { email, password_stdin, admin } => add(&*accounts, email, *password_stdin, *admin).await,
            Action::Invite { .. } => Ok(()),
            Action::List => list(&*accounts).await,
            Action::Passwd { email, password_stdin } => passwd(&*accounts, email, *password_stdin).await,
            Action::Disable { email } => disable(&*accounts, email, true).await,
            Action::Enable { email } => disable(&*accounts, email, false).await,
            Action::Remove { email } => {
                if args.stores.accounts.accounts.is_some() && args.stores.jobs.jobs.is_none() {
                    return Err(Failure::new(2, "say where the jobs are, too (--jobs or MICROSERVE_JOBS): they and their files go with the account"));
                }
                let jobs = registry.jobs.open(&args.stores.jobs_url()?).await?;
                remove(&*accounts, jobs, email).await
            }
        }
    })
}

async fn add(accounts: &dyn AuthStore, email: &Email, from_stdin: bool, admin: bool) -> Outcome {
    let (password, made) = password(from_stdin)?;
    let account = account(email, password.clone(), admin).await?;
    match accounts.insert(&account).await {
        Ok(()) => {}
        Err(AuthError::AlreadyExists) => {
            return Err(Failure::new(
                1,
                format!("there is an account {email} already; `microserve user passwd {email}` changes its password"),
            ));
        }
        Err(err) => return Err(err.into()),
    }
    say(&format!("added {email}"));
    tell(&password, made)
}

/// A new account with a hashed password.
pub(super) async fn account(email: &Email, password: SecretString, admin: bool) -> Result<Account, Failure> {
    let now = SystemClock.now();
    let password = Passwords::new(1).hash(password).await?;
    let id = AccountId::random();
    Ok(Account {
        id,
        email: email.clone(),
        password,
        admin,
        disabled: false,
        created_at: now,
        password_changed_at: now,
    })
}

/// Needs no store: whoever has the keys may invite.
fn invite(email: &Email, folder: &Path) -> Outcome {
    let keys = keys::load(folder, &SystemClock)?.ok_or_else(|| {
        let folder = folder.display();
        Failure::new(1, format!("there is no key in {folder}: name the folder of the server's keys with --keys"))
    })?;
    say("whoever registers with it gets an account of this address; it is good for a week:");
    Ok(print(&keys.invite(email, SystemClock.now())?)?)
}

async fn list(accounts: &dyn AuthStore) -> Outcome {
    let mut after = None;
    loop {
        let page = accounts.list(after.as_ref(), 100).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.email.clone());
        for account in page {
            let admin = if account.admin { "  admin" } else { "" };
            let disabled = if account.disabled { "  disabled" } else { "" };
            print(&format!("{}  {}{admin}{disabled}", account.created_at.strftime("%Y-%m-%d"), account.email))?;
        }
    }
}

async fn passwd(accounts: &dyn AuthStore, email: &Email, from_stdin: bool) -> Outcome {
    let account = find(accounts, email).await?;
    let (password, made) = password(from_stdin)?;
    let hash = Passwords::new(1).hash(password.clone()).await?;
    accounts.set_password(account.id, &hash, SystemClock.now()).await?;
    say(&format!("changed the password of {email}"));
    tell(&password, made)
}

async fn disable(accounts: &dyn AuthStore, email: &Email, disabled: bool) -> Outcome {
    let account = find(accounts, email).await?;
    accounts.set_disabled(account.id, disabled).await?;
    say(&format!("{} {email}", if disabled { "disabled" } else { "enabled" }));
    Ok(())
}

/// The account goes first, so that nothing new begins; a running server's relay then removes the files.
async fn remove(accounts: &dyn AuthStore, jobs: Arc<dyn JobStore>, email: &Email) -> Outcome {
    let account = find(accounts, email).await?;
    accounts.set_disabled(account.id, true).await?;
    let removed = delete_all(&*jobs, account.id, SystemClock.now(), &Policy::default()).await?;
    accounts.delete(account.id).await?;
    say(&format!("removed {email} and {removed} jobs; the server deletes their files while it runs"));
    Ok(())
}

pub(super) async fn find(accounts: &dyn AuthStore, email: &Email) -> Result<Account, Failure> {
    let account = accounts.find(email).await?;
    account.ok_or_else(|| Failure::new(1, format!("there is no account {email}; `microserve user list` shows all")))
}

/// The password from standard input, or one that is made: 120 random bits.
fn password(from_stdin: bool) -> Result<(SecretString, bool), Failure> {
    if !from_stdin {
        return Ok((make_password()?, true));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok((SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned()), false))
}

/// A password of 24 characters that can be told apart when read aloud.
pub(super) fn make_password() -> Result<SecretString, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|err| Failure::new(1, format!("no random numbers: {err}")))?;
    let text: String = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(SecretString::from(text))
}

fn tell(password: &SecretString, made: bool) -> Outcome {
    if made {
        say("its password, shown this once:");
        print(password.expose_secret())?;
    }
    Ok(())
}
