//! Backups that were there at the last look and are not now: let go by the rules, or lost?
//!
//! Retention takes the oldest of a series first, never the last one, never a pinned one, and nothing that the days to keep
//! still need. A backup that is gone against that order was not let go; a directory that lost its objects looks exactly
//! like this, and nothing else in the repository would show it.

use jiff::Timestamp;

use super::ledger::KnownBackup;

/// A backup that is gone and should not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The backup.
    pub backup: KnownBackup,
    /// Why it cannot be that the rules let it go.
    pub why: String,
    /// Whether somebody may have removed it on purpose all the same, with other rules than are configured.
    pub perhaps_on_purpose: bool,
}

/// Those of `before` that are not among `now` and that retention would not have let go: it keeps what was taken after
/// `keep_since`.
pub fn lost(before: &[KnownBackup], now: &[KnownBackup], keep_since: Timestamp) -> Vec<Lost> {
    let gone = before.iter().filter(|backup| !now.iter().any(|there| there.tree == backup.tree));
    let judge = |backup: &KnownBackup| {
        let series = || now.iter().filter(|there| there.series == backup.series);
        let older = series().filter(|there| !there.pinned && there.time < backup.time).min_by_key(|there| there.time);
        let (why, perhaps_on_purpose) = if backup.pinned {
            ("it was pinned".to_owned(), false)
        } else if series().next().is_none() {
            ("it was the last one of its kind, and the rules never let that go".to_owned(), false)
        } else if let Some(older) = older {
            (format!("{} is older and still there, and the rules let the oldest go first", older.label), false)
        } else if backup.time >= keep_since {
            ("it is younger than what the rules keep".to_owned(), true)
        } else {
            return None;
        };
        Some(Lost { backup: backup.clone(), why, perhaps_on_purpose })
    };
    gone.filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(label: &str, series: &str, second: i64, pinned: bool) -> KnownBackup {
        KnownBackup {
            label: label.into(),
            tree: format!("tree of {label}"),
            series: series.into(),
            time: Timestamp::from_second(second).unwrap(),
            pinned,
        }
    }

    fn labels(lost: &[Lost]) -> Vec<&str> {
        lost.iter().map(|lost| lost.backup.label.as_str()).collect()
    }

    #[test]
    fn the_oldest_may_go_when_it_is_old_enough() {
        let before = [backup("a", "x", 1, false), backup("b", "x", 2, false), backup("c", "x", 3, false)];
        let keep = Timestamp::from_second(2).unwrap();
        assert_eq!(labels(&lost(&before, &before[1..], keep)), [] as [&str; 0]);
        let found = lost(&before, &before[2..], keep);
        assert_eq!(labels(&found), ["b"], "b is within the time that is kept");
        assert!(found[0].perhaps_on_purpose);
    }

    #[test]
    fn one_that_is_gone_while_an_older_one_is_there_is_lost() {
        let before = [backup("a", "x", 1, false), backup("b", "x", 2, false), backup("c", "x", 3, false)];
        let now = [before[0].clone(), before[2].clone()];
        let found = lost(&before, &now, Timestamp::from_second(100).unwrap());
        assert_eq!(labels(&found), ["b"]);
        assert!(found[0].why.contains("a is older"), "{}", found[0].why);
    }

    #[test]
    fn the_last_of_a_series_and_a_pinned_one_never_go() {
        let before = [backup("a", "x", 1, false), backup("b", "y", 1, true), backup("c", "y", 2, false)];
        let found = lost(&before, &before[2..], Timestamp::from_second(100).unwrap());
        assert_eq!(labels(&found), ["a", "b"]);
    }

    #[test]
    fn an_older_one_that_is_kept_by_a_pin_proves_nothing() {
        let before = [backup("a", "x", 1, true), backup("b", "x", 2, false), backup("c", "x", 3, false)];
        let now = [before[0].clone(), before[2].clone()];
        assert_eq!(labels(&lost(&before, &now, Timestamp::from_second(100).unwrap())), [] as [&str; 0]);
    }
}
