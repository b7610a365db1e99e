//! What servers, their databases and our rights on them are like.

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::inspect::{Fact, Line, Step};
use microserve_core::open::SecretUrl;
use mongodb::bson::{Document, doc, oid::ObjectId};
use mongodb::options::Tls;
use mongodb::{Client, Collection};

use crate::error::{Failure, PATIENCE, within};
use crate::mongo::Mongo;
use crate::settings::{self, Settings};

/// The indexes that everything else counts on: of which database and collection, on what, and whether it has to be
/// unique.
const JOBS: [(&str, &str, &str, bool); 1] = [("microserve", "jobs", "due_at", false)];
const BLOBS: [(&str, &str, &str, bool); 2] =
    [("videos", "fs.chunks", "files_id", true), ("mp3s", "fs.chunks", "files_id", true)];

impl Mongo {
    /// Finds out whether the servers can be reached and logged in to, how the line is protected, whether they are a
    /// replica set, whether their clock agrees with ours, and whether jobs can be kept there.
    pub async fn inspect_jobs(url: &SecretUrl) -> Vec<Fact> {
        inspect(url, &JOBS).await
    }

    /// The same for blobs.
    pub async fn inspect_blobs(url: &SecretUrl) -> Vec<Fact> {
        inspect(url, &BLOBS).await
    }
}

async fn inspect(url: &SecretUrl, indexes: &[(&str, &str, &str, bool)]) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Err((step, failure)) = look(url, indexes, &mut facts).await {
        facts.push(Fact::obstacle(step, failure.into_source()));
    }
    facts
}

async fn look(
    url: &SecretUrl,
    indexes: &[(&str, &str, &str, bool)],
    facts: &mut Vec<Fact>,
) -> Result<(), (Step, Failure)> {
    let settings = settings::parse(url).await.map_err(|failure| (Step::Read, failure))?;
    let line = line(&settings);
    let client = Client::with_options(settings.options).map_err(|err| (Step::Read, err.into()))?;
    let admin = client.database("admin");
    let asked = SystemClock.now();
    // Answered before anybody has logged in; what comes before it is reaching a server, and encrypting the line.
    let hello = within(PATIENCE, admin.run_command(doc! { "hello": 1 })).await;
    let hello = hello.map_err(|failure| (failure.step(), failure))?;
    let answered = SystemClock.now();
    let build = within(PATIENCE, admin.run_command(doc! { "buildInfo": 1 })).await;
    let build = build.map_err(|failure| (failure.step(), failure))?;
    facts.push(Fact::Answers(format!("MongoDB {}", build.get_str("version").unwrap_or("of no version"))));
    facts.push(Fact::Line(line));
    facts.push(Fact::LoggedIn);
    if let Some(ahead) = clock(&hello, asked, answered) {
        facts.push(Fact::Clock(ahead));
    }
    // A router of shards (`msg: isdbgrid`) has replica sets behind it.
    let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    facts.push(match hello.get_str("setName") {
        Ok(name) => Fact::Ready(format!("the replica set {name}")),
        Err(_) if is_router => Fact::Ready("the sharded cluster".to_owned()),
        Err(_) => Fact::Standalone,
    });
    for (database, collection, key, unique) in indexes {
        let collection = client.database(&format!("{}{database}", settings.prefix)).collection(collection);
        collection_is(&collection, key, *unique, facts).await.map_err(|failure| (Step::Use, failure))?;
    }
    Ok(())
}

/// Whether a collection has its index, and may be written.
async fn collection_is(
    collection: &Collection<Document>,
    key: &str,
    unique: bool,
    facts: &mut Vec<Fact>,
) -> Result<(), Failure> {
    let name = format!("the collection {}", collection.namespace());
    let listed = async { collection.list_indexes().await?.try_collect::<Vec<_>>().await };
    let indexes = match within(PATIENCE, listed).await {
        Ok(indexes) => indexes,
        Err(failure) if failure.is_denied() => {
            facts.push(Fact::NoRight { on: name, right: "read".to_owned() });
            return Ok(());
        }
        // There is no such collection.
        Err(failure) if failure.is_missing() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let index = indexes.iter().find(|index| index.keys.keys().next().is_some_and(|first| first == key));
    let is_unique = index.is_some_and(|index| index.options.as_ref().is_some_and(|o| o.unique == Some(true)));
    facts.push(match index {
        None => Fact::Unmade(name.clone()),
        Some(_) if unique && !is_unique => Fact::NotUnique { of: collection.namespace().to_string() },
        Some(_) => Fact::Ready(name.clone()),
    });
    // A document that there is not: it takes the right, and changes nothing.
    match within(PATIENCE, collection.delete_one(doc! { "_id": ObjectId::new() })).await {
        Err(failure) if failure.is_denied() => facts.push(Fact::NoRight { on: name, right: "readWrite".to_owned() }),
        outcome => outcome.map(|_| ())?,
    }
    Ok(())
}

/// How far the server's clock is ahead of ours, as it was in the middle of asking.
fn clock(hello: &Document, asked: Timestamp, answered: Timestamp) -> Option<SignedDuration> {
    let theirs = hello.get_datetime("localTime").ok()?;
    let theirs = Timestamp::from_millisecond(theirs.timestamp_millis()).ok()?;
    Some(theirs.duration_since(asked) - answered.duration_since(asked) / 2)
}

fn line(settings: &Settings) -> Line {
    match &settings.options.tls {
        Some(Tls::Enabled(tls)) if tls.allow_invalid_certificates == Some(true) => Line::Unverified,
        Some(Tls::Enabled(_)) => Line::Verified,
        _ if settings.options.hosts.iter().all(settings::is_loopback) => Line::Local,
        _ => Line::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_tls_is_open_off_this_machine() {
        for (url, expected) in [
            ("mongodb://db.example.com/", Line::Verified),
            ("mongodb://db.example.com/?tls=true&tlsAllowInvalidCertificates=true", Line::Unverified),
            ("mongodb://127.0.0.1,localhost/", Line::Local),
            ("mongodb://127.0.0.1,10.0.0.1/?tls=false", Line::Open),
        ] {
            let settings = settings::parse(&url.parse().unwrap()).await.unwrap_or_else(|failure| panic!("{failure:?}"));
            assert_eq!(line(&settings), expected, "{url}");
        }
    }
}
