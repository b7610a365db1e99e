//! Throttle: whoever guesses passwords is slowed down, and nobody is locked out.
//!
//! Attempts on an account, whether there is one of this name or not, are counted before the password is looked at, by
//! compare and swap in the account store: guesses that come at the same time, or to several servers, count one by one. A
//! right password takes its count back. Within a process, attempts on one account take turns, so that right passwords at
//! the same time are not taken for guesses. Besides, failures are counted by the address that they come from. Once there
//! were more than a few of either within a quarter of an hour, each has to wait twice as long as the one before, up to a
//! minute.
//!
//! How many passwords are checked at the same time, whoever asks, is limited by [`Passwords`](crate::password).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::warn;

use crate::account::{AuthError, AuthStore, Tally, TallyName};
use crate::clock::{later, since};

/// Attempts at an account that cost no wait.
pub const FREE_PER_ACCOUNT: u32 = 5;
/// Failures from an address, and accounts asked for from it, that cost no wait: several people may share it.
pub const FREE_PER_ADDRESS: u32 = 30;
/// An attempt is remembered until there were none for this long.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The longest wait between two attempts.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Who is overtaken more often than this by others who count under the same name is told to come back.
const SWAPS: u32 = 16;

/// So many accounts' attempts may be looked at at the same time, if they don't share a place by chance.
const PLACES: usize = 64;
/// Who waits longer for a turn is told to come back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts attempts.
#[derive(Clone)]
pub(crate) struct Throttle {
    accounts: Arc<dyn AuthStore>,
    /// Whose turn it is, by account.
    turns: Arc<[Arc<Mutex<()>>]>,
}

/// An attempt that was counted.
pub(crate) struct Attempt {
    account: TallyName,
    address: Option<TallyName>,
    /// How many more there are on this account before one has to wait.
    pub(crate) left: u32,
    _turn: OwnedMutexGuard<()>,
}

/// Why an attempt may not be made.
pub(crate) enum Refused {
    /// Not before this time is over.
    Wait(Duration),
    /// The store does not say.
    Store(AuthError),
}

impl Throttle {
    pub(crate) fn new(accounts: Arc<dyn AuthStore>) -> Self {
        Self { accounts, turns: (0..PLACES).map(|_| Arc::default()).collect() }
    }

    /// Counts an attempt to log in under a name, from an address if that is known. The next one's turn comes when this one
    /// is over.
    pub(crate) async fn begin(&self, name: &str, from: Option<IpAddr>, now: Timestamp) -> Result<Attempt, Refused> {
        let account = TallyName::of("account", name);
        let address = from.map(|address| TallyName::of("address", &network(address).to_string()));
        let place = usize::from(account.as_str().bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31) ^ byte)) % PLACES;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns[place]).lock_owned()).await;
        let turn = turn.map_err(|_| Refused::Wait(Duration::from_secs(1)))?;
        // Looked at first: who has to wait for the one reason is not counted for the other.
        if let Some(address) = &address {
            let tally = self.accounts.tally(address).await.map_err(Refused::Store)?;
            wait_is_over(tally, FREE_PER_ADDRESS, now)?;
        }
        let count = self.count(&account, FREE_PER_ACCOUNT, now).await?;
        Ok(Attempt { account, address, left: FREE_PER_ACCOUNT.saturating_sub(count), _turn: turn })
    }

    /// Counts an account that is asked for from an address: whoever makes accounts one after the other is slowed down, too.
    pub(crate) async fn registers(&self, from: IpAddr, now: Timestamp) -> Result<(), Refused> {
        let name = TallyName::of("registration", &network(from).to_string());
        self.count(&name, FREE_PER_ADDRESS, now).await.map(drop)
    }

    /// The password was right: nothing is held against the account any more. Failing to note that is no reason to keep
    /// somebody out.
    pub(crate) async fn succeeded(&self, attempt: &Attempt) {
        self.change(&attempt.account, |_| None).await;
    }

    /// The password was wrong: that is held against the address, too.
    pub(crate) async fn failed(&self, attempt: &Attempt, now: Timestamp) {
        if let Some(address) = &attempt.address
            && let Err(Refused::Store(err)) = self.count(address, FREE_PER_ADDRESS, now).await
        {
            warn!(error = &err as &dyn std::error::Error, "could not count a refused login by its address");
        }
    }

    /// The password was not looked at.
    pub(crate) async fn unanswered(&self, attempt: &Attempt) {
        self.change(&attempt.account, one_less).await;
    }

    /// Counts one more, and says how many there are then.
    async fn count(&self, name: &TallyName, free: u32, now: Timestamp) -> Result<u32, Refused> {
        for _ in 0..SWAPS {
            let tally = self.accounts.tally(name).await.map_err(Refused::Store)?;
            wait_is_over(tally, free, now)?;
            let earlier = tally.filter(|tally| since(now, tally.at) < WINDOW).map_or(0, |tally| tally.count);
            let more = Tally { count: earlier.saturating_add(1), at: now };
            if self.accounts.swap_tally(name, tally, Some(more)).await.map_err(Refused::Store)? {
                return Ok(more.count);
            }
        }
        // Others count under the same name all the time.
        Err(Refused::Wait(Duration::from_secs(1)))
    }

    async fn change(&self, name: &TallyName, to: impl Fn(Tally) -> Option<Tally>) {
        let outcome = async {
            for _ in 0..SWAPS {
                let Some(tally) = self.accounts.tally(name).await? else { return Ok(()) };
                if self.accounts.swap_tally(name, Some(tally), to(tally)).await? {
                    return Ok(());
                }
            }
            Ok::<_, AuthError>(())
        };
        if let Err(err) = outcome.await {
            warn!(error = &err as &dyn std::error::Error, "could not take back an attempt to log in");
        }
    }
}

fn one_less(tally: Tally) -> Option<Tally> {
    let count = tally.count.saturating_sub(1);
    (count > 0).then_some(Tally { count, ..tally })
}

/// Whether another attempt may be made by now.
fn wait_is_over(tally: Option<Tally>, free: u32, now: Timestamp) -> Result<(), Refused> {
    let Some(tally) = tally.filter(|tally| tally.count >= free && since(now, tally.at) < WINDOW) else { return Ok(()) };
    let wait = Duration::from_secs(1 << (tally.count - free).min(10)).min(LONGEST);
    let left = since(later(tally.at, wait), now);
    if left.is_zero() { Ok(()) } else { Err(Refused::Wait(left)) }
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 network of 64 bits, of which they can take any.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryAccounts;

    fn start() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// A guess that fails.
    async fn begin(throttle: &Throttle, name: &str, from: &str, now: Timestamp) -> Result<u32, Duration> {
        match throttle.begin(name, Some(from.parse().unwrap()), now).await {
            Ok(attempt) => {
                throttle.failed(&attempt, now).await;
                Ok(attempt.left)
            }
            Err(Refused::Wait(wait)) => Err(wait),
            Err(Refused::Store(err)) => panic!("{err}"),
        }
    }

    #[tokio::test]
    async fn the_sixth_attempt_waits_and_each_further_one_twice_as_long() {
        let throttle = Throttle::new(Arc::new(MemoryAccounts::default()));
        let mut now = start();
        for left in (0..5).rev() {
            assert_eq!(begin(&throttle, "anna", "192.0.2.1", now).await, Ok(left));
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(begin(&throttle, "anna", "192.0.2.1", now).await, Err(wait), "wherever it comes from");
            assert_eq!(begin(&throttle, "anna", "192.0.2.2", now).await, Err(wait));
            now = later(now, wait);
            assert_eq!(begin(&throttle, "anna", "192.0.2.1", now).await, Ok(0));
        }
        assert_eq!(begin(&throttle, "bea", "192.0.2.1", now).await, Ok(4), "others are not slowed down");
        now = later(now, WINDOW);
        assert_eq!(begin(&throttle, "anna", "192.0.2.1", now).await, Ok(4), "it is forgotten");
    }

    #[tokio::test]
    async fn a_network_that_tries_many_names_is_slowed_down() {
        let throttle = Throttle::new(Arc::new(MemoryAccounts::default()));
        let now = start();
        for n in 0..FREE_PER_ADDRESS {
            assert_eq!(begin(&throttle, &format!("{n}"), &format!("2001:db8::{n:x}"), now).await, Ok(4));
        }
        assert_eq!(begin(&throttle, "next", "2001:db8::ffff", now).await, Err(Duration::from_secs(1)));
        assert_eq!(begin(&throttle, "next", "2001:db8:0:1::1", now).await, Ok(4), "the other network's first");
    }

    #[tokio::test]
    async fn a_network_that_asks_for_many_accounts_is_slowed_down() {
        let throttle = Throttle::new(Arc::new(MemoryAccounts::default()));
        let (now, from) = (start(), |text: &str| text.parse().unwrap());
        for _ in 0..FREE_PER_ADDRESS {
            assert!(throttle.registers(from("192.0.2.1"), now).await.is_ok());
        }
        let refused = throttle.registers(from("192.0.2.1"), now).await;
        assert!(matches!(refused, Err(Refused::Wait(wait)) if wait == Duration::from_secs(1)));
        assert!(throttle.registers(from("192.0.2.2"), now).await.is_ok(), "others are not");
        assert_eq!(begin(&throttle, "anna", "192.0.2.1", now).await, Ok(4), "and logins are another matter");
    }

    #[tokio::test]
    async fn right_passwords_leave_nothing_behind() {
        let accounts = Arc::new(MemoryAccounts::default());
        let throttle = Throttle::new(Arc::clone(&accounts) as Arc<dyn AuthStore>);
        let from = Some("192.0.2.1".parse().unwrap());
        for round in 0..100 {
            let Ok(attempt) = throttle.begin("anna", from, start()).await else { panic!("refused in round {round}") };
            throttle.succeeded(&attempt).await;
            assert_eq!(accounts.tally(&attempt.account).await.unwrap(), None);
            assert_eq!(accounts.tally(attempt.address.as_ref().unwrap()).await.unwrap(), None);
        }
        let Ok(attempt) = throttle.begin("anna", from, start()).await else { panic!("refused") };
        throttle.unanswered(&attempt).await;
        assert_eq!(accounts.tally(&attempt.account).await.unwrap(), None, "nobody has looked at the password");
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the test waits for them")]
    async fn right_passwords_at_the_same_time_are_no_guesses() {
        let throttle = Throttle::new(Arc::new(MemoryAccounts::default()));
        let logins = (0..100).map(|_| {
            let throttle = throttle.clone();
            tokio::spawn(async move {
                let Ok(attempt) = throttle.begin("anna", Some("192.0.2.1".parse().unwrap()), start()).await else {
                    return false;
                };
                tokio::task::yield_now().await;
                throttle.succeeded(&attempt).await;
                true
            })
        });
        for login in logins.collect::<Vec<_>>() {
            assert!(login.await.unwrap());
        }
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the test waits for them")]
    async fn guesses_at_the_same_time_count_one_by_one() {
        let throttle = Throttle::new(Arc::new(MemoryAccounts::default()));
        let guesses = (0..100).map(|_| {
            let throttle = throttle.clone();
            tokio::spawn(async move { begin(&throttle, "anna", "192.0.2.1", start()).await.is_ok() })
        });
        let mut let_through = 0;
        for guess in guesses.collect::<Vec<_>>() {
            let_through += u32::from(guess.await.unwrap());
        }
        assert_eq!(let_through, FREE_PER_ACCOUNT);
    }
}
