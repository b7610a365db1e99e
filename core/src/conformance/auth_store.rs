//! The promises of [`AuthStore`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::now;
use crate::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use crate::api_key::{ApiKey, ApiKeyId, KeyDigest, Scope, Scopes};
use crate::clock::later;

fn email(text: impl AsRef<str>) -> Email {
    text.as_ref().parse().expect("an address")
}

/// A hash of the length and alphabet of a real one.
fn hash(word: &str) -> PasswordHash {
    PasswordHash::from_stored(format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ${word:A<43}"))
}

/// Somebody nobody else has the address of.
fn somebody() -> Account {
    let id = AccountId::random();
    let created_at = now();
    Account {
        id,
        email: email(format!("{id}@example.com")),
        password: hash("first"),
        admin: false,
        disabled: false,
        created_at,
        password_changed_at: created_at,
    }
}

async fn inserted(store: &dyn AuthStore) -> Account {
    let account = somebody();
    store.insert(&account).await.expect("an account can be added");
    account
}

async fn stored(store: &dyn AuthStore, id: AccountId) -> Account {
    store.get(id).await.expect("accounts can be read").expect("the account is there")
}

async fn inserted_is_found(store: Arc<dyn AuthStore>) {
    let somebody = somebody();
    let boss = Account {
        admin: true,
        disabled: true,
        password_changed_at: later(now(), Duration::from_secs(1)),
        ..self::somebody()
    };
    for account in [somebody, boss] {
        store.insert(&account).await.expect("an account can be added");
        assert_eq!(store.get(account.id).await.unwrap(), Some(account.clone()), "get finds it with every field");
        assert_eq!(store.find(&account.email).await.unwrap(), Some(account.clone()), "and so does find");
    }
}

async fn strangers_are_not_found(store: Arc<dyn AuthStore>) {
    let stranger = somebody();
    assert_eq!(store.get(stranger.id).await.unwrap(), None, "get of an unknown id is None");
    assert_eq!(store.find(&stranger.email).await.unwrap(), None, "find of an unknown address is None");
    let password = store.set_password(stranger.id, &hash("x"), now()).await;
    assert!(matches!(password, Err(AuthError::NotFound)), "set_password must say NotFound, not {password:?}");
    let disabled = store.set_disabled(stranger.id, true).await;
    assert!(matches!(disabled, Err(AuthError::NotFound)), "set_disabled must say NotFound, not {disabled:?}");
    let rehash = store.rehash(stranger.id, &stranger.password, &hash("x")).await;
    assert!(matches!(rehash, Ok(false)), "rehash must say false, not {rehash:?}");
}

async fn same_address_is_refused(store: Arc<dyn AuthStore>) {
    let first = inserted(&*store).await;
    let upper = email(first.email.as_str().to_uppercase());
    for email in [first.email.clone(), upper] {
        let outcome = store.insert(&Account { email, ..somebody() }).await;
        assert!(matches!(outcome, Err(AuthError::AlreadyExists)), "insert must say AlreadyExists, not {outcome:?}");
    }
    assert_eq!(store.find(&first.email).await.unwrap(), Some(first), "and the first is left as it was");
}

async fn racing_inserts_have_one_winner(store: Arc<dyn AuthStore>) {
    let address = somebody().email;
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (store, account) = (Arc::clone(&store), Account { email: address.clone(), ..somebody() });
            tokio::spawn(async move { store.insert(&account).await.map(|()| account.id) })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(id) => winners.push(id),
            Err(AuthError::AlreadyExists) => {}
            Err(err) => panic!("a loser must hear AlreadyExists, not {err:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one insert wins");
    assert_eq!(store.find(&address).await.unwrap().map(|a| a.id), Some(winners[0]), "and it is the one that is found");
}

async fn address_case_does_not_matter(store: Arc<dyn AuthStore>) {
    let id = AccountId::random();
    let account = Account { id, email: email(format!("Änna.{id}@Example.com")), ..somebody() };
    store.insert(&account).await.expect("an account can be added");
    for spelling in [format!("änna.{id}@example.com"), format!("ÄNNA.{id}@EXAMPLE.COM").to_uppercase()] {
        let found = store.find(&email(&spelling)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&account), "{spelling} finds the account, spelled as it was added");
    }
    let without_dots = store.find(&email(format!("Anna.{id}@example.com"))).await.unwrap();
    assert_eq!(without_dots, None, "only case is ignored: a is not ä");
}

async fn everyone(store: &dyn AuthStore, page: usize) -> Vec<Account> {
    let mut all: Vec<Account> = Vec::new();
    loop {
        let more = store.list(all.last().map(|a| &a.email), page).await.expect("accounts can be listed");
        assert!(more.len() <= page, "a page has at most {page} accounts, not {}", more.len());
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

async fn list_pages_through_everyone(store: Arc<dyn AuthStore>) {
    let run = AccountId::random();
    let mut ours = Vec::new();
    for name in ["zoe", "Bob", "anna", "carl", "Zed"] {
        let account = Account { email: email(format!("{name}.{run}@example.com")), ..somebody() };
        store.insert(&account).await.expect("an account can be added");
        ours.push(account);
    }
    ours.sort_by_key(|a| a.email.canonical());
    for page in [1, 2, 100] {
        let all = everyone(&*store, page).await;
        let ordered = all.is_sorted_by(|a, b| a.email.canonical() < b.email.canonical());
        assert!(ordered, "accounts are listed in the order of their addresses in lower case, byte by byte");
        let listed: Vec<_> = all.into_iter().filter(|a| ours.contains(a)).collect();
        assert_eq!(listed, ours, "pages of {page} show everybody once");
    }
}

async fn password_is_replaced(store: Arc<dyn AuthStore>) {
    let before = inserted(&*store).await;
    let changed_at = later(before.created_at, Duration::from_millis(61_001));
    store.set_password(before.id, &hash("second"), changed_at).await.expect("a password can be set");
    let expected = Account { password: hash("second"), password_changed_at: changed_at, ..before };
    assert_eq!(stored(&*store, expected.id).await, expected, "the hash and its time change, and nothing else");
    store.set_password(expected.id, &hash("second"), changed_at).await.expect("setting it to the same is no error");
}

async fn rehash_never_undoes_a_change(store: Arc<dyn AuthStore>) {
    let before = inserted(&*store).await;
    let done = store.rehash(before.id, &before.password, &hash("stronger")).await;
    assert!(matches!(done, Ok(true)), "a hash that is still the same is replaced: {done:?}");
    let stronger = Account { password: hash("stronger"), ..before.clone() };
    assert_eq!(stored(&*store, before.id).await, stronger, "only the hash changes, not the time of the password");
    store.set_password(before.id, &hash("changed"), before.created_at).await.expect("a password can be set");
    let late = store.rehash(before.id, &hash("stronger"), &hash("too late")).await;
    assert!(matches!(late, Ok(false)), "a hash that was changed meanwhile is left alone: {late:?}");
    assert_eq!(stored(&*store, before.id).await.password, hash("changed"), "the new password stands");
}

async fn disabled_is_kept(store: Arc<dyn AuthStore>) {
    let before = inserted(&*store).await;
    for disabled in [true, true, false] {
        store.set_disabled(before.id, disabled).await.expect("an account can be locked out and let in, also twice");
        let expected = Account { disabled, ..before.clone() };
        assert_eq!(stored(&*store, before.id).await, expected, "that changes, and nothing else");
    }
}

async fn delete_is_idempotent(store: Arc<dyn AuthStore>) {
    let (gone, other) = (inserted(&*store).await, inserted(&*store).await);
    for _ in 0..2 {
        store.delete(gone.id).await.expect("deleting succeeds, also when there is nothing to delete");
    }
    assert_eq!(store.get(gone.id).await.unwrap(), None, "a deleted account is gone");
    assert_eq!(store.find(&gone.email).await.unwrap(), None, "and so is its address");
    assert_eq!(stored(&*store, other.id).await, other, "others are left alone");
    store.insert(&Account { email: gone.email, ..somebody() }).await.expect("its address is free again");
}

/// A key that nobody else has.
fn api_key(account: AccountId) -> ApiKey {
    let id = ApiKeyId::random();
    let digest = format!("{id}{id}{id}");
    ApiKey {
        id,
        account,
        name: "build server 🎵".to_owned(),
        digest: KeyDigest::from_stored(&digest[..64]),
        scopes: Scopes::from_iter([Scope::Read, Scope::Upload]),
        created_at: now(),
        expires_at: None,
    }
}

async fn api_keys_are_found_until_they_are_deleted(store: Arc<dyn AuthStore>) {
    let (account, other) = (inserted(&*store).await, inserted(&*store).await);
    let forever = api_key(account.id);
    let expires_at = Some(later(now(), Duration::from_millis(86_400_001)));
    let limited = ApiKey { scopes: Scopes::from_iter([Scope::Manage]), expires_at, ..api_key(account.id) };
    for key in [&forever, &limited] {
        store.insert_api_key(key).await.expect("a key can be added");
        let found = store.find_api_key(&key.digest).await.expect("keys can be looked for");
        assert_eq!(found.as_ref(), Some(key), "it is found with every field");
    }
    assert_eq!(store.find_api_key(&api_key(account.id).digest).await.unwrap(), None, "no other key is");
    assert!(!store.delete_api_key(other.id, forever.id).await.unwrap(), "nobody removes others' keys");
    assert_eq!(store.find_api_key(&forever.digest).await.unwrap().as_ref(), Some(&forever));
    assert!(store.delete_api_key(account.id, forever.id).await.unwrap(), "its owner does");
    assert_eq!(store.find_api_key(&forever.digest).await.unwrap(), None, "and it is gone");
    assert!(!store.delete_api_key(account.id, forever.id).await.unwrap(), "a second time there is nothing to remove");
    assert_eq!(store.find_api_key(&limited.digest).await.unwrap(), Some(limited), "other keys are left alone");
}

async fn api_keys_are_listed(store: Arc<dyn AuthStore>) {
    let (account, other) = (inserted(&*store).await, inserted(&*store).await);
    assert_eq!(store.api_keys(account.id).await.expect("keys can be listed"), []);
    let first = api_key(account.id);
    let mut same = [first.clone(), ApiKey { created_at: first.created_at, ..api_key(account.id) }];
    same.sort_by_key(|key| key.id);
    let last = ApiKey { created_at: later(first.created_at, Duration::from_millis(1)), ..api_key(account.id) };
    for key in [&last, &same[1], &same[0], &api_key(other.id)] {
        store.insert_api_key(key).await.expect("a key can be added");
    }
    let [one, two] = same;
    assert_eq!(store.api_keys(account.id).await.unwrap(), [one, two, last], "the oldest first, and nobody else's");
}

async fn api_keys_go_with_their_account(store: Arc<dyn AuthStore>) {
    let nobody = store.insert_api_key(&api_key(AccountId::random())).await;
    assert!(matches!(nobody, Err(AuthError::NotFound)), "there is no key without an account: {nobody:?}");
    let (account, other) = (inserted(&*store).await, inserted(&*store).await);
    let (key, kept) = (api_key(account.id), api_key(other.id));
    for key in [&key, &kept] {
        store.insert_api_key(key).await.expect("a key can be added");
    }
    store.delete(account.id).await.expect("an account can be deleted");
    assert_eq!(store.find_api_key(&key.digest).await.unwrap(), None, "a deleted account's keys are gone");
    assert_eq!(store.api_keys(account.id).await.unwrap(), []);
    assert_eq!(store.api_keys(other.id).await.unwrap(), [kept], "others' keys are left alone");
}

/// A name that nothing was counted under yet.
fn fresh_name() -> TallyName {
    TallyName::of("check", &AccountId::random().to_string())
}

async fn tallies_are_swapped(store: Arc<dyn AuthStore>) {
    let (name, other) = (fresh_name(), fresh_name());
    let one = Some(Tally { count: 1, at: now() });
    let two = Some(Tally { count: 2, at: later(now(), Duration::from_millis(1)) });
    let swap = async |from, to| store.swap_tally(&name, from, to).await.expect("tallies can be swapped");
    assert_eq!(store.tally(&name).await.unwrap(), None, "nothing is counted at first");
    assert!(!swap(one, two).await && !swap(one, None).await, "nothing is swapped that isn't there");
    assert!(swap(None, None).await, "nothing for nothing is a swap");
    assert!(swap(None, one).await && !swap(None, two).await, "a first one is put there once");
    assert_eq!(store.tally(&name).await.unwrap(), one, "and found");
    assert!(!swap(two, one).await && swap(one, two).await && swap(two, two).await, "what is there is swapped");
    assert!(!swap(None, None).await && !swap(one, None).await, "what isn't there can't be taken away");
    assert_eq!(store.tally(&name).await.unwrap(), two);
    assert_eq!(store.tally(&other).await.unwrap(), None, "other names are left alone");
    assert!(swap(two, None).await, "a tally can be taken away");
    assert_eq!(store.tally(&name).await.unwrap(), None, "and is gone");
}

async fn racing_swaps_have_one_winner(store: Arc<dyn AuthStore>) {
    let name = fresh_name();
    let mut from = None;
    for round in 1..=2 {
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                let (store, name) = (Arc::clone(&store), name.clone());
                let to = Tally { count: round * 100 + racer, at: now() };
                tokio::spawn(async move { store.swap_tally(&name, from, Some(to)).await.unwrap().then_some(to) })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            winners.extend(racer.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "of those who start from the same tally, one wins");
        from = Some(winners[0]);
        assert_eq!(store.tally(&name).await.unwrap(), from, "and its tally is kept");
    }
}

async fn old_tallies_are_forgotten(store: Arc<dyn AuthStore>) {
    // Long ago, so that checks which run beside this one keep theirs.
    let moment = later(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
    let (old, fresh) = (fresh_name(), fresh_name());
    let before = Tally { count: 7, at: later(Timestamp::UNIX_EPOCH, Duration::from_millis(59_999)) };
    let at = Tally { count: 7, at: moment };
    assert!(store.swap_tally(&old, None, Some(before)).await.unwrap());
    assert!(store.swap_tally(&fresh, None, Some(at)).await.unwrap());
    store.forget_tallies(moment).await.expect("tallies can be forgotten");
    assert_eq!(store.tally(&old).await.unwrap(), None, "a tally from before the moment is gone");
    assert_eq!(store.tally(&fresh).await.unwrap(), Some(at), "one of the moment itself is not");
}

async fn ping_succeeds(store: Arc<dyn AuthStore>) {
    store.ping().await.expect("the store can be used");
}

suite! { $ auth_store_conformance: auth_store of AuthStore {
    inserted_is_found,
    strangers_are_not_found,
    same_address_is_refused,
    racing_inserts_have_one_winner,
    address_case_does_not_matter,
    list_pages_through_everyone,
    password_is_replaced,
    rehash_never_undoes_a_change,
    disabled_is_kept,
    delete_is_idempotent,
    api_keys_are_found_until_they_are_deleted,
    api_keys_are_listed,
    api_keys_go_with_their_account,
    tallies_are_swapped,
    racing_swaps_have_one_winner,
    old_tallies_are_forgotten,
    ping_succeeds,
} }
