//! The processors of a machine, shared by all conversions of a process.
//!
//! Several conversions at once are most efficient with a thread each; a conversion that is alone may use every processor.
//! So each occupies one core for itself, and takes further ones only while some are idle.

use std::fmt;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A budget of cores. Clones share it.
///
/// ```
/// use microserve_core::transcode::Cores;
///
/// let cores = Cores::new(2);
/// let mine = cores.occupy();
/// let second = cores.try_take();
/// assert!(second.is_some() && cores.try_take().is_none());
/// drop(second);
/// assert!(cores.try_take().is_some(), "what was dropped can be taken again");
/// ```
#[derive(Clone)]
pub struct Cores(Arc<dyn CoreBudget>);

impl Cores {
    /// A budget of so many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self::by(Counted { idle: AtomicIsize::new(isize::try_from(cores).unwrap_or(isize::MAX)) })
    }

    /// A budget that somebody else keeps: in a child process, its parent.
    pub fn by(budget: impl CoreBudget + 'static) -> Self {
        Self(Arc::new(budget))
    }

    /// The budget of this process: as many cores as the system lets it use.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: OnceLock<Cores> = OnceLock::new();
        PROCESS.get_or_init(|| Self::new(std::thread::available_parallelism().map_or(1, usize::from))).clone()
    }

    /// Takes the core that a conversion can't do without, whether one is idle or not.
    #[must_use = "the core is given back when this is dropped"]
    pub fn occupy(&self) -> Core {
        self.0.occupy();
        Core(self.clone())
    }

    /// Takes a further core, if one is idle.
    #[must_use = "the core is given back when this is dropped"]
    pub fn try_take(&self) -> Option<Core> {
        self.0.try_take().then(|| Core(self.clone()))
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cores")
    }
}

/// A core in use. Dropping it gives it back.
#[derive(Debug)]
pub struct Core(Cores);

impl Drop for Core {
    fn drop(&mut self) {
        self.0.0.give_back();
    }
}

/// Who keeps the count of cores. None of its methods may wait for one to become idle.
pub trait CoreBudget: Send + Sync {
    /// Takes a core, whether one is idle or not.
    fn occupy(&self);

    /// Takes a core if one is idle; returns whether it was.
    fn try_take(&self) -> bool;

    /// Gives back a core that was occupied or taken.
    fn give_back(&self);
}

/// Kept in this process.
struct Counted {
    /// Negative: more conversions than cores.
    idle: AtomicIsize,
}

impl CoreBudget for Counted {
    fn occupy(&self) {
        self.idle.fetch_sub(1, Ordering::Relaxed);
    }

    fn try_take(&self) -> bool {
        self.idle
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| (idle > 0).then(|| idle.saturating_sub(1)))
            .is_ok()
    }

    fn give_back(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_beyond_the_cores_leave_none_to_take() {
        let cores = Cores::new(2);
        let mut own: Vec<_> = (0..3).map(|_| cores.occupy()).collect();
        assert!(cores.try_take().is_none());
        own.pop();
        assert!(cores.try_take().is_none(), "two conversions have the two cores");
        own.pop();
        let further = cores.try_take();
        assert!(further.is_some(), "one conversion and an idle core");
        assert!(cores.try_take().is_none());
        drop((own, further));
        let all: Vec<_> = std::iter::from_fn(|| cores.try_take()).collect();
        assert_eq!(all.len(), 2, "all were given back");
    }
}
