//! What is left when everything has healed: nothing lost, nothing doubled, nothing that nobody asked for.
//!
//! Acknowledged is what a client was told (202). Lost: acknowledged, and without an MP3 of its own in the end. Duplicated:
//! a job whose owner was ever told of more than one MP3, by mail or by the job. Unexpected: an MP3 of no accepted job. Recovered: accepted, although its client
//! saw an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use microserve_testkit::judge;
use mongodb::bson::{Document, doc};
use sha2::{Digest, Sha256};

use crate::common::Client;
use crate::load::{Counts, SECONDS};
use crate::services::{ANNA, Cluster, Servers};

#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub put_off: usize,
    pub broken: usize,
    pub recovered: usize,
    pub lost: usize,
    pub duplicated: usize,
    pub unexpected: usize,
    pub mails: usize,
    /// Mails that came more than once.
    pub repeated: usize,
    /// Mails whose sender was killed: they are repeated when their lease of some minutes is over.
    pub in_hand: usize,
    /// Blobs of attempts that were killed, or lost a race: for the collector.
    pub to_be_collected: usize,
    /// Of all jobs.
    pub most_attempts: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged {}, put off {}, broken {}, recovered {}, lost {}, duplicated {}, unexpected {}, mails {}, \
             repeated {}, still in hand {}, to be collected {}, most attempts {}",
            self.acknowledged,
            self.put_off,
            self.broken,
            self.recovered,
            self.lost,
            self.duplicated,
            self.unexpected,
            self.mails,
            self.repeated,
            self.in_hand,
            self.to_be_collected,
            self.most_attempts,
        )
    }
}

/// Waits until everything that was accepted is final, and looks at all of it.
pub async fn verdict(
    servers: &Servers,
    cluster: &Cluster,
    client: &Client,
    counts: &Counts,
    patience: Duration,
) -> Verdict {
    let acknowledged = counts.acknowledged.lock().unwrap().clone();
    let mut verdict = Verdict {
        acknowledged: acknowledged.len(),
        put_off: counts.put_off.load(std::sync::atomic::Ordering::Relaxed),
        broken: counts.broken.load(std::sync::atomic::Ordering::Relaxed),
        ..Verdict::default()
    };
    let deadline = Instant::now() + patience;
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
    for id in &acknowledged {
        client.until_final(id, left()).await;
    }
    let jobs: Vec<_> = client.jobs().await.into_iter().filter(|job| job["status"] != "uploading").collect();
    let mut fids = BTreeMap::new();
    let mut judged = BTreeSet::new();
    for job in &jobs {
        let id = job["job_id"].as_str().unwrap();
        let job = client.until_final(id, left()).await;
        assert_eq!(job["status"], "done", "accepted, and without an MP3: {job}");
        let fid = job["mp3_fid"].as_str().unwrap().to_owned();
        let mp3 = cluster.folder.path().join("one.mp3");
        client.download(&fid, &mp3).await;
        let sha256 = hex(&Sha256::digest(std::fs::read(&mp3).unwrap()));
        assert_eq!(job["output"]["sha256"], sha256, "what is downloaded is what was made");
        if judged.insert(sha256) {
            judge::assert_clean(&mp3);
            assert!((judge::duration(&mp3) - f64::from(SECONDS)).abs() < 0.001);
        }
        verdict.most_attempts = verdict.most_attempts.max(job["attempts"].as_u64().unwrap());
        fids.insert(id.to_owned(), fid);
    }
    let ids: BTreeSet<_> = acknowledged.iter().collect();
    assert_eq!(ids.len(), acknowledged.len(), "acknowledged twice");
    verdict.lost = ids.iter().filter(|id| !fids.contains_key(**id)).count();
    verdict.recovered = jobs.len().saturating_sub(acknowledged.len());
    assert_eq!(fids.values().collect::<BTreeSet<_>>().len(), fids.len(), "two jobs share an MP3");

    blobs(servers, cluster, counts, &fids, &mut verdict).await;
    mails(servers, cluster, client, &fids, &mut verdict, left()).await;
    verdict
}

async fn blobs(
    servers: &Servers,
    cluster: &Cluster,
    counts: &Counts,
    fids: &BTreeMap<String, String>,
    verdict: &mut Verdict,
) {
    let client = mongodb::Client::with_uri_str(servers.mongod.url()).await.unwrap();
    let files = client.database(&format!("{}mp3s", cluster.prefix)).collection::<Document>("fs.files");
    let files: Vec<Document> = files.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let mut committed = 0;
    for file in &files {
        let job = file.get_document("metadata").unwrap().get_str("job_id").unwrap();
        match fids.get(job) {
            None if counts.aside.lock().unwrap().iter().any(|id| id == job) => {}
            None => verdict.unexpected += 1,
            Some(fid) if file.get_object_id("_id").unwrap().to_hex() == *fid => committed += 1,
            Some(_) => verdict.to_be_collected += 1,
        }
    }
    assert_eq!(committed, fids.len(), "the MP3 of every job lies in the store");
}

/// A mail for every final job, as far as it is not still in the hands of a killed notifier.
async fn mails(
    servers: &Servers,
    cluster: &Cluster,
    client: &Client,
    fids: &BTreeMap<String, String>,
    verdict: &mut Verdict,
    patience: Duration,
) {
    let started = Instant::now();
    loop {
        let jobs = client.jobs().await;
        let count = |state: &str| jobs.iter().filter(|job| job["mail"] == state).count();
        let (sent, in_hand) = (count("sent"), count("sending"));
        verdict.in_hand = in_hand;
        if sent + in_hand == fids.len() {
            break;
        }
        assert!(started.elapsed() < patience, "{sent} mails are sent and {in_hand} in hand, of {}", fids.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Whatever a job's owner was ever told of: by mail, and by the job itself, now and at the first look.
    let mut told: BTreeMap<_, _> = fids.iter().map(|(job, fid)| (job.clone(), BTreeSet::from([fid.clone()]))).collect();
    for job in client.jobs().await {
        if let (Some(id), Some(fid)) = (job["job_id"].as_str(), job["mp3_fid"].as_str()) {
            told.entry(id.to_owned()).or_default().insert(fid.to_owned());
        }
    }
    let mut by_job = BTreeMap::<String, Vec<String>>::new();
    let mails = servers.mails.mails().into_iter().skip(cluster.mails_before);
    for mail in mails.filter(|mail| mail.to.iter().any(|to| to == ANNA)) {
        let word = |begin: &str| mail.message.lines().find_map(|line| line.trim_end().strip_prefix(begin));
        let job = word("Message-ID: <").unwrap().split('.').next().unwrap().to_owned();
        assert!(fids.contains_key(&job), "a mail about a job that nobody has: {}", mail.message);
        told.entry(job.clone()).or_default().insert(word("File ID: ").unwrap().to_owned());
        by_job.entry(job).or_default().push(mail.message);
    }
    verdict.duplicated = told.values().filter(|fids| fids.len() > 1).count();
    for (job, mails) in &by_job {
        verdict.repeated += mails.len() - 1;
        assert!(mails.iter().all(|mail| *mail == mails[0]), "the mail of job {job} is repeated in other words");
    }
    verdict.mails = by_job.len();
    assert!(verdict.mails + verdict.in_hand >= fids.len(), "{verdict}");
}

impl Verdict {
    /// Nothing lost, doubled or out of nowhere.
    pub fn assert_good(&self) {
        assert_eq!((self.lost, self.duplicated, self.unexpected), (0, 0, 0), "{self}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
