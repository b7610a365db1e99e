//! The jobs that wait for a converter: how many, and for how long the oldest has been waiting.
//!
//! The store is asked when somebody scrapes, and every ten seconds at most. It can only count what was made before a
//! moment; so the age of the oldest is found by halving: with eight counts to within 7 %.

use std::time::{Duration, Instant};

use microserve_core::clock::Clock;
use microserve_core::job::{JobError, JobStore};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Single;

const SELDOM: Duration = Duration::from_secs(10);
/// A store that takes longer is not waited for: the figures are left out.
const PATIENCE: Duration = Duration::from_secs(2);
/// Ages are told apart between a second and these, which are 115 days.
const LONGEST: f64 = 1e7;
const HALVINGS: u32 = 8;

pub(super) struct Waiting {
    /// One asks at a time.
    asked: Mutex<Option<Instant>>,
    jobs: Single<Gauge>,
    oldest: Single<Gauge>,
}

impl Waiting {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (jobs, oldest) = (Single::<Gauge>::default(), Single::<Gauge>::default());
        registry.register("jobs_waiting", "Jobs that are queued, in all of the store", jobs.clone());
        let help = "Seconds since the oldest queued job was made, a little less at most";
        registry.register("oldest_waiting_job_age_seconds", help, oldest.clone());
        Self { asked: Mutex::default(), jobs, oldest }
    }

    /// Asks the store, unless it was asked just now.
    pub(super) async fn refresh(&self, jobs: &dyn JobStore, clock: &dyn Clock) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < SELDOM) {
            return;
        }
        *asked = Some(Instant::now());
        match timeout(PATIENCE, ask(jobs, clock)).await {
            Ok(Ok((waiting, age))) => {
                self.jobs.get_or_create(&[]).set(waiting);
                self.oldest.get_or_create(&[]).set(age);
            }
            // What nobody knows is not told. Why shows in the calls of the port.
            _ => {
                self.jobs.clear();
                self.oldest.clear();
            }
        }
    }
}

async fn ask(jobs: &dyn JobStore, clock: &dyn Clock) -> Result<(i64, i64), JobError> {
    let now = clock.now();
    find(|age| async move {
        match now.checked_sub(Duration::from_secs_f64(age)) {
            Ok(moment) => jobs.queued_before(moment).await,
            // Before the beginning of time.
            Err(_) => Ok(0),
        }
    })
    .await
}

/// How many wait, and the age of the oldest in seconds, by counting those that are older than so many seconds.
async fn find<E, F>(older_than: impl Fn(f64) -> F) -> Result<(i64, i64), E>
where
    F: Future<Output = Result<u64, E>>,
{
    let waiting = i64::try_from(older_than(0.0).await?).unwrap_or(i64::MAX);
    if waiting == 0 || older_than(1.0).await? == 0 {
        return Ok((waiting, 0));
    }
    // The logarithm of the age lies between them.
    let (mut least, mut most) = (0.0, LONGEST.ln());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(least, most);
        if older_than(middle.exp()).await? > 0 {
            least = middle;
        } else {
            most = middle;
        }
    }
    Ok((waiting, least.exp() as i64))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use super::*;

    async fn found(ages: &[f64]) -> (i64, i64) {
        let count = |age: f64| ages.iter().filter(|one| **one > age).count() as u64;
        find(|age| ready(Ok::<_, Infallible>(count(age)))).await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_is_found_to_within_seven_hundredths() {
        assert_eq!(found(&[]).await, (0, 0));
        assert_eq!(found(&[0.5, 0.2]).await, (2, 0));
        for oldest in [2.0, 17.0, 900.5, 86_400.0, 9e6] {
            let (waiting, age) = found(&[0.5, 1.5, oldest]).await;
            assert_eq!(waiting, 3);
            assert!((age as f64) <= oldest && age as f64 + 1.0 >= oldest * 0.93, "{age} of {oldest}");
        }
        // What is older than that is told as that old.
        assert!(found(&[1e9]).await.1 > 9_000_000);
    }
}
