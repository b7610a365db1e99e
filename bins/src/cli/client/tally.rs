//! Commands that are for several things.

use crate::cli::{Failure, Outcome, complain};

/// What became of several things, each of which may fail for itself.
pub(super) struct Tally {
    all: usize,
    failed: usize,
    code: u8,
}

impl Tally {
    pub(super) fn of(all: usize) -> Self {
        Self { all, failed: 0, code: 0 }
    }

    /// Notes how one of them went. Of several, each complains for itself.
    ///
    /// # Errors
    /// The failure, if the others would not go better.
    pub(super) fn count(&mut self, outcome: Outcome) -> Outcome {
        let Err(failure) = outcome else { return Ok(()) };
        let concerns_all = matches!(failure.code, Failure::REFUSED | Failure::UNREACHABLE | Failure::INTERRUPTED);
        if self.all == 1 || concerns_all {
            return Err(failure);
        }
        complain(&failure);
        self.failed += 1;
        if self.code == 0 {
            self.code = failure.code;
        }
        Ok(())
    }

    pub(super) fn outcome(&self) -> Outcome {
        if self.failed == 0 {
            return Ok(());
        }
        Err(Failure::new(self.code, format!("{} of {} failed", self.failed, self.all)))
    }
}
