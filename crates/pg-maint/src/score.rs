//! How much a table needs vacuum and analyze: the ratio of what has gathered to the threshold at which autovacuum acts.
//!
//! The formula is the one PostgreSQL 19 orders its own autovacuum queue by (commit d7965d65f of PostgreSQL,
//! `relation_needs_vacanalyze` in `autovacuum.c`), computed here from the catalogs, so that it holds on every version.
//! A score of 1 means that the threshold is reached. Every input is read without taking a lock on the table.

use std::collections::BTreeMap;

/// The server settings that the thresholds are made from, by their names in `pg_settings`; numbers in their base units.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub BTreeMap<String, f64>);

impl Settings {
    /// The table's own storage parameter where it has one (a negative one means "use the server's"), else the server's.
    fn of(&self, options: &BTreeMap<String, f64>, name: &str, fallback: f64) -> f64 {
        let own = options.get(name).copied().filter(|value| *value >= 0.0);
        own.or_else(|| self.0.get(name).copied()).unwrap_or(fallback)
    }

    fn server(&self, name: &str, fallback: f64) -> f64 {
        self.0.get(name).copied().unwrap_or(fallback)
    }
}

/// What the catalogs say of one relation (a table, a materialized view or a TOAST table).
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// `pg_class.reltuples`; negative when never counted.
    pub tuples: f64,
    /// `pg_class.relpages`.
    pub pages: f64,
    /// `pg_class.relallfrozen` (PostgreSQL 18).
    pub all_frozen_pages: f64,
    /// Dead tuples.
    pub dead: f64,
    /// Tuples inserted since the last vacuum.
    pub inserted: f64,
    /// Tuples changed since the last analyze.
    pub modified: f64,
    /// `age(relfrozenxid)`, in transactions.
    pub xid_age: f64,
    /// `mxid_age(relminmxid)`, in multixacts.
    pub mxid_age: f64,
    /// The relation's storage parameters.
    pub options: BTreeMap<String, f64>,
}

/// The five needs of one relation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Dead tuples over their threshold.
    pub dead: f64,
    /// Inserted tuples over their threshold.
    pub inserted: f64,
    /// Changed tuples over the analyze threshold.
    pub analyze: f64,
    /// Transaction age over `autovacuum_freeze_max_age`.
    pub xid: f64,
    /// Multixact age over `autovacuum_multixact_freeze_max_age`.
    pub mxid: f64,
}

impl Score {
    /// The need for a vacuum.
    pub fn vacuum(&self) -> f64 {
        self.dead.max(self.inserted).max(self.xid).max(self.mxid)
    }
}

/// The score of one relation.
pub fn score(counters: &Counters, settings: &Settings) -> Score {
    let options = &counters.options;
    let tuples = counters.tuples.max(0.0);
    let threshold = |base: &str, base_default: f64, scale: &str, scale_default: f64, tuples: f64| {
        settings.of(options, base, base_default) + settings.of(options, scale, scale_default) * tuples
    };
    let mut dead = threshold("autovacuum_vacuum_threshold", 50.0, "autovacuum_vacuum_scale_factor", 0.2, tuples);
    // PostgreSQL 18 caps the threshold of huge tables; -1 switches the cap off.
    let cap = settings.of(options, "autovacuum_vacuum_max_threshold", -1.0);
    if cap >= 0.0 {
        dead = dead.min(cap);
    }
    let unfrozen = if counters.pages > 0.0 && counters.all_frozen_pages > 0.0 {
        (1.0 - counters.all_frozen_pages / counters.pages).clamp(0.0, 1.0)
    } else {
        1.0
    };
    // For this one parameter a table's own -1 means "never", as the server's does.
    let insert_base = options
        .get("autovacuum_vacuum_insert_threshold")
        .copied()
        .unwrap_or_else(|| settings.server("autovacuum_vacuum_insert_threshold", 1000.0));
    let inserted = threshold(
        "autovacuum_vacuum_insert_threshold",
        1000.0,
        "autovacuum_vacuum_insert_scale_factor",
        0.2,
        tuples * unfrozen,
    );
    let analyze = threshold("autovacuum_analyze_threshold", 50.0, "autovacuum_analyze_scale_factor", 0.1, tuples);
    Score {
        dead: counters.dead / dead.max(1.0),
        inserted: if insert_base < 0.0 { 0.0 } else { counters.inserted / inserted.max(1.0) },
        analyze: counters.modified / analyze.max(1.0),
        xid: freeze(counters.xid_age, settings, options, "autovacuum_freeze_max_age", 2e8, "vacuum_failsafe_age"),
        mxid: freeze(
            counters.mxid_age,
            settings,
            options,
            "autovacuum_multixact_freeze_max_age",
            4e8,
            "vacuum_multixact_failsafe_age",
        ),
    }
}

/// Age over the age at which a vacuum is forced; past the failsafe age it grows steeply, so that such a table comes
/// before any amount of dead tuples.
fn freeze(
    age: f64,
    settings: &Settings,
    options: &BTreeMap<String, f64>,
    name: &str,
    default: f64,
    failsafe: &str,
) -> f64 {
    let server = settings.server(name, default);
    let limit = options.get(name).copied().filter(|own| *own >= 0.0).map_or(server, |own| own.min(server)).max(1.0);
    let score = age / limit;
    // The failsafe never starts below 1.05 times the forced age (`vacuum_xid_failsafe_check` in vacuum.c).
    let failsafe_age = settings.server(failsafe, 1.6e9).max(server * 1.05);
    if age >= failsafe_age { score.powf((age / 1e8).max(1.0)) } else { score }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(tuples: f64, dead: f64) -> Counters {
        Counters { tuples, dead, ..Counters::default() }
    }

    #[test]
    fn one_is_where_autovacuum_acts() {
        let score = score(&counters(1000.0, 250.0), &Settings::default());
        assert!((score.dead - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_table_that_was_never_counted_has_the_base_threshold() {
        assert!((score(&counters(-1.0, 100.0), &Settings::default()).dead - 2.0).abs() < 1e-9);
    }

    #[test]
    fn storage_parameters_win_over_the_server() {
        let mut table = counters(1000.0, 100.0);
        table.options = BTreeMap::from([
            ("autovacuum_vacuum_threshold".into(), 10.0),
            ("autovacuum_vacuum_scale_factor".into(), 0.0),
        ]);
        assert!((score(&table, &Settings::default()).dead - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_cap_of_version_18_applies_where_the_server_has_it() {
        let capped = Settings(BTreeMap::from([("autovacuum_vacuum_max_threshold".into(), 1e8)]));
        let table = counters(1e10, 2e8);
        assert!((score(&table, &capped).dead - 2.0).abs() < 1e-9);
        assert!(score(&table, &Settings::default()).dead < 1.0);
    }

    #[test]
    fn a_table_may_ask_for_an_earlier_freeze_but_not_for_a_later_one() {
        let mut table = Counters { xid_age: 1e8, ..Counters::default() };
        table.options.insert("autovacuum_freeze_max_age".into(), 1e8);
        assert!((score(&table, &Settings::default()).xid - 1.0).abs() < 1e-9);
        table.options.insert("autovacuum_freeze_max_age".into(), 1e9);
        assert!((score(&table, &Settings::default()).xid - 0.5).abs() < 1e-9);
    }

    #[test]
    fn past_the_failsafe_age_a_table_comes_before_everything() {
        let old = Counters { xid_age: 1.7e9, ..Counters::default() };
        assert!(score(&old, &Settings::default()).xid > 1e10);
    }

    #[test]
    fn a_negative_insert_threshold_switches_insert_vacuums_off() {
        let mut table = Counters { inserted: 1e6, ..Counters::default() };
        table.options.insert("autovacuum_vacuum_insert_threshold".into(), -1.0);
        assert!(score(&table, &Settings::default()).inserted.abs() < 1e-9);
        table.options.clear();
        let off = Settings(BTreeMap::from([("autovacuum_vacuum_insert_threshold".into(), -1.0)]));
        assert!(score(&table, &off).inserted.abs() < 1e-9);
    }
}
