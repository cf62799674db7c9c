//! Giving back the space of what no snapshot refers to any more.
//!
//! It happens in two phases: a pack that nobody needs is only marked, and removed by a run at least 23 hours later when
//! still nobody needs it. A backup that began in between and found its data in that pack takes the mark away again, so
//! nothing has to be locked.

use rustic_core::{LimitOption, PruneOptions, PrunePlan};

use super::{Part, Store, StoreError};

/// What would be done to one part.
#[derive(Debug)]
pub struct Pruning {
    part: Part,
    stored_bytes: u64,
    plan: PrunePlan,
}

/// What it comes to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct PruneNumbers {
    /// What snapshots refer to.
    pub used_bytes: u64,
    /// Removed now: marked long enough ago.
    pub removed_bytes: u64,
    /// Marked now, to be removed by a later run.
    pub marked_bytes: u64,
    /// Still in use in packs that are mostly unused: written anew.
    pub rewritten_bytes: u64,
}

impl Pruning {
    /// What it comes to.
    pub fn numbers(&self) -> PruneNumbers {
        let (sizes, marked) = (self.plan.stats.size_sum(), self.plan.stats.size_to_delete);
        PruneNumbers {
            used_bytes: sizes.used,
            removed_bytes: marked.remove,
            marked_bytes: sizes.remove + sizes.repackrm + self.plan.stats.size_unref,
            rewritten_bytes: sizes.repack.saturating_sub(sizes.repackrm),
        }
    }
}

/// What is rewritten is stored twice until the old packs go, so one run rewrites at most a tenth of what is stored. Below
/// this size, in bytes, that would be less than one pack, and all that is worth it is rewritten.
const SMALL: u64 = 10 << 30;

/// The engine's defaults are the two phases; they are told again here, as everything hangs on them.
fn options(stored_bytes: u64) -> PruneOptions {
    let mut options = PruneOptions::default();
    options.max_repack = if stored_bytes < SMALL { LimitOption::Unlimited } else { LimitOption::Percentage(10) };
    options.keep_pack = jiff::Span::new();
    options.keep_delete = jiff::Span::new().hours(23);
    options.instant_delete = false;
    options.early_delete_index = false;
    options
}

impl Store {
    /// Finds what no snapshot needs. Reads every directory of every snapshot.
    ///
    /// # Errors
    /// A snapshot, a directory or the index cannot be read, or a pack that is needed is not there.
    pub fn prune_plan(&self, part: Part) -> Result<Pruning, StoreError> {
        let repository = self.repository(part)?;
        let stored_bytes = self.stored_bytes(part)?;
        let plan = self.guarded("find what is not needed", || repository.prune_plan(&options(stored_bytes)))?;
        Ok(Pruning { part, stored_bytes, plan })
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The repository cannot be read or written. What was not done is found by the next run.
    pub fn prune(&self, pruning: Pruning) -> Result<(), StoreError> {
        let Pruning { part, stored_bytes, plan } = pruning;
        let repository = self.repository(part)?;
        self.guarded("remove what is not needed", || repository.prune(&options(stored_bytes), plan))
    }

    /// The size of everything that a part stores, in bytes.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn stored_bytes(&self, part: Part) -> Result<u64, StoreError> {
        Ok(self.storage().list(part.directory())?.iter().map(|object| object.size).sum())
    }
}
