//! What was measured, and what of it was to be reached.

use std::collections::BTreeMap;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;

use super::measure::Cost;
use super::sides::Side;
use crate::bench::median;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Full,
    Offline,
    Incremental,
    Unchanged,
    Restore,
    Wal,
    WalBatch,
    Verify,
    VerifyAgain,
}

impl Row {
    const ALL: [Row; 9] = [
        Row::Full,
        Row::Offline,
        Row::Incremental,
        Row::Unchanged,
        Row::Restore,
        Row::Wal,
        Row::WalBatch,
        Row::Verify,
        Row::VerifyAgain,
    ];

    fn name(self) -> &'static str {
        match self {
            Row::Full => "full, online",
            Row::Offline => "full, files of a stopped server",
            Row::Incremental => "incremental, after 4000 transactions",
            Row::Unchanged => "incremental, nothing changed",
            Row::Restore => "restore, until it is on disk",
            Row::Wal => "12 segments, a process each",
            Row::WalBatch => "12 segments, asynchronously",
            Row::Verify => "verify, for the first time",
            Row::VerifyAgain => "verify, once more",
        }
    }

    /// What is to be reached.
    fn goals(self) -> &'static [Goal] {
        match self {
            Row::Full | Row::Wal => &[Goal::Time(Side::Pgbackrest, 0.8)],
            Row::Offline => &[Goal::Time(Side::Pgbackrest, 1.0)],
            Row::Incremental => &[
                Goal::Time(Side::Pgbackrest, 0.6),
                Goal::Stored(Side::Pgbackrest, 1.3),
                Goal::Stored(Side::WholeFiles, 0.9),
            ],
            Row::Unchanged => &[Goal::Time(Side::Pgbackrest, 0.45)],
            Row::Restore => &[Goal::Time(Side::Pgbackrest, 0.6), Goal::Memory(64.0 * 1024.0 * 1024.0)],
            Row::WalBatch => &[Goal::Time(Side::Pgbackrest, 0.5)],
            Row::Verify => &[],
            Row::VerifyAgain => &[Goal::OfFirst(0.05)],
        }
    }
}

/// A bound for backup-tool: at most so many times what it is compared with.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Of another program's time.
    Time(Side, f64),
    /// Of the bytes that another program stores.
    Stored(Side, f64),
    /// Of the time of the first verification.
    OfFirst(f64),
    /// Memory, in bytes.
    Memory(f64),
}

/// All measurements, by row, program and round. A run that failed leaves its reason.
#[derive(Debug, Default)]
pub(super) struct Table {
    costs: BTreeMap<(Row, Side), BTreeMap<u32, Cost>>,
    failed: BTreeMap<(Row, Side), String>,
}

impl Table {
    pub(super) fn note(&mut self, row: Row, round: u32, side: Side, measured: Result<Cost, Failure>) {
        match measured {
            Ok(cost) => drop(self.costs.entry((row, side)).or_default().insert(round, cost)),
            Err(failure) => drop(self.failed.insert((row, side), failure.to_string())),
        }
    }

    /// One record a row.
    pub(super) fn report(&self, run: &Run) {
        for row in Row::ALL {
            run.emit(&self.record(row));
        }
    }

    fn record(&self, row: Row) -> Record {
        let mut texts = Vec::new();
        let mut status = Status::Ok;
        let mut fields = Vec::new();
        for goal in row.goals() {
            let (name, what, ratio, bound) = self.judge(row, *goal);
            let met = ratio <= bound;
            if !met {
                status = Status::Warning;
            }
            let verdict = if ratio.is_nan() {
                "not measured"
            } else if met {
                "met"
            } else {
                "missed"
            };
            texts.push(format!("{ratio:.2} {what} (goal at most {bound:.2}: {verdict})"));
            fields.push((name, ratio));
        }
        for side in [Side::Ours, Side::Pgbackrest, Side::WholeFiles, Side::Restic] {
            let middle = |of: fn(&Cost) -> f64| self.middle(row, side, of);
            let (seconds, memory, stored) =
                (middle(|c| c.seconds), middle(|c| c.peak_bytes), middle(|c| c.stored_bytes));
            if seconds.is_nan() {
                continue;
            }
            let bytes = if stored > 0.0 { format!(", {:.1} MB stored", stored / 1e6) } else { String::new() };
            texts.push(format!("{} {seconds:.2} s{bytes}, {:.0} MB of memory", side.name(), memory / 1e6));
            if side == Side::Ours {
                fields.extend([("ours_seconds", seconds), ("ours_stored_bytes", stored), ("ours_peak_bytes", memory)]);
            }
        }
        for side in [Side::Ours, Side::Pgbackrest, Side::WholeFiles, Side::Restic] {
            if let Some(why) = self.failed.get(&(row, side)) {
                status = Status::Failed;
                texts.push(format!("{} FAILED: {why}", side.name()));
            }
        }
        let record = Record::new(Kind::Metric, row.name(), status, texts.join("; "));
        fields.into_iter().fold(record, |record, (name, value)| record.field(name, value))
    }

    /// A goal's field, words, ratio and bound.
    fn judge(&self, row: Row, goal: Goal) -> (&'static str, String, f64, f64) {
        match goal {
            Goal::Time(side, bound) => {
                let ratio = self.ratio((row, Side::Ours), (row, side), |c| c.seconds);
                ("time_ratio", format!("x the time of {}", side.name()), ratio, bound)
            }
            Goal::Stored(side, bound) => {
                let ratio = self.ratio((row, Side::Ours), (row, side), |c| c.stored_bytes);
                let name = if side == Side::WholeFiles { "stored_of_files_ratio" } else { "stored_ratio" };
                (name, format!("x the bytes of {}", side.name()), ratio, bound)
            }
            Goal::OfFirst(bound) => {
                let ratio = self.ratio((row, Side::Ours), (Row::Verify, Side::Ours), |c| c.seconds);
                ("time_of_first_ratio", "x the time of the first".to_owned(), ratio, bound)
            }
            Goal::Memory(bound) => {
                let peak = self.middle(row, Side::Ours, |c| c.peak_bytes);
                ("memory_ratio", format!("x {:.0} MB of memory", bound / 1e6), peak / bound, 1.0)
            }
        }
    }

    /// The middle of what one program cost.
    fn middle(&self, row: Row, side: Side, of: fn(&Cost) -> f64) -> f64 {
        median(self.costs.get(&(row, side)).into_iter().flat_map(BTreeMap::values).map(of).collect())
    }

    /// The middle of the ratios of the rounds: in a round both had the same machine.
    fn ratio(&self, ours: (Row, Side), peer: (Row, Side), of: fn(&Cost) -> f64) -> f64 {
        let (Some(ours), Some(peer)) = (self.costs.get(&ours), self.costs.get(&peer)) else { return f64::NAN };
        median(ours.iter().filter_map(|(round, cost)| Some(of(cost) / of(peer.get(round)?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(seconds: f64) -> Cost {
        Cost { seconds, peak_bytes: 1e6, stored_bytes: 0.0 }
    }

    #[test]
    fn a_goal_is_judged_by_the_middle_of_the_ratios() {
        let mut table = Table::default();
        // A round in which the machine was busy tells as much as the others.
        for (round, (ours, peer)) in [(1.0, 2.0), (10.0, 20.0), (1.9, 2.0)].into_iter().enumerate() {
            table.note(Row::Full, round as u32, Side::Ours, Ok(cost(ours)));
            table.note(Row::Full, round as u32, Side::Pgbackrest, Ok(cost(peer)));
        }
        let record = table.record(Row::Full);
        assert_eq!(record.status, Status::Ok);
        assert!(
            record.message.starts_with("0.50 x the time of pgBackRest (goal at most 0.80: met)"),
            "{}",
            record.message
        );
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        let mut table = Table::default();
        table.note(Row::Unchanged, 0, Side::Ours, Ok(cost(1.0)));
        table.note(Row::Unchanged, 0, Side::Pgbackrest, Err(Failure::critical("gone")));
        let record = table.record(Row::Unchanged);
        assert_eq!(record.status, Status::Failed);
        assert!(record.message.contains("not measured") && record.message.contains("gone"), "{}", record.message);
    }
}
