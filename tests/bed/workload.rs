//! The workload leaves what it promises.

use testbed::workload::{self, BLOATED_INDEXES, DEAD_TUPLES, INVALID_INDEX, NEVER_ANALYSED, ODD_NAME};
use testbed::{Postgres, setup, shared};

fn number(server: &Postgres, db: &str, sql: &str) -> f64 {
    let text = server.psql(db, sql).unwrap();
    text.parse().unwrap_or_else(|_| panic!("{sql} gave {text:?}"))
}

#[test]
fn the_workload_leaves_what_it_promises_on_every_major_version() {
    for major in setup::MAJORS {
        let server = shared(major).unwrap();
        let db = server.fresh_db("worked").unwrap();
        workload::fill(server, &db, 0.1).unwrap();
        promises_hold(server, &db);
    }
}

#[test]
fn at_full_scale_the_database_stays_small() {
    let server = shared(15).unwrap();
    let db = server.fresh_db("full").unwrap();
    let filled = workload::fill(server, &db, 1.0).unwrap();
    println!("{filled:?}");
    assert!(filled.size_bytes < 150_000_000, "{filled:?}");
    assert!(filled.elapsed.as_secs() < 60, "{filled:?}");
    promises_hold(server, &db);
}

fn promises_hold(server: &Postgres, db: &str) {
    let ask = |sql: &str| number(server, db, sql);
    let stat =
        |column: &str, table: &str| ask(&format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = '{table}'"));

    let dead = stat("n_dead_tup::float8 / (n_live_tup + n_dead_tup)", DEAD_TUPLES);
    assert!((0.39..0.41).contains(&dead), "dead tuples: {dead}");

    server.psql(db, "CREATE EXTENSION pgstattuple").unwrap();
    for index in BLOATED_INDEXES {
        let density = ask(&format!("SELECT avg_leaf_density FROM pgstatindex('{index}')"));
        assert!(density < 35.0, "{index} is {density} % full");
    }

    let twins = ask("SELECT count(DISTINCT indkey::text) FROM pg_index WHERE indexrelid IN \
                     ('orders_customer_id_idx'::regclass, 'orders_customer_id_copy_idx'::regclass)");
    assert!((twins - 1.0).abs() < 0.1);

    let invalid =
        "SELECT string_agg(indexrelid::regclass::text || ' ' || indisready, ',') FROM pg_index WHERE NOT indisvalid";
    assert_eq!(server.psql(db, invalid).unwrap(), format!("{INVALID_INDEX} true"));

    let reltuples = ask("SELECT reltuples FROM pg_class WHERE relname = 'readings'");
    assert!(stat("n_live_tup", "readings") > 15.0 * reltuples, "readings: {reltuples}");

    let statistics = |table: &str| ask(&format!("SELECT count(*) FROM pg_stats WHERE tablename = '{table}'"));
    assert!(statistics(NEVER_ANALYSED) < 0.5);
    assert!(statistics("measurements") < 0.5);
    assert!((statistics("measurements_2025_07") - 3.0).abs() < 0.1);
    assert!((ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'measurements'::regclass") - 12.0).abs() < 0.1);
    assert!(ask("SELECT min(n) FROM (SELECT count(*) n FROM measurements GROUP BY tableoid) s") > 50.0);

    assert!(stat("n_dead_tup", ODD_NAME) > 40.0);
    let toast = ask("SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = \
                     (SELECT reltoastrelid FROM pg_class WHERE relname = 'documents')");
    assert!(toast > 100.0, "dead chunks: {toast}");
    let used = ask("SELECT last_value / 2147483647.0 FROM pg_sequences WHERE sequencename = 'tickets_id_seq'");
    assert!((0.89..0.91).contains(&used), "{used}");

    let options =
        ask("SELECT count(*) FROM pg_class WHERE reloptions IS NOT NULL AND relnamespace = 'public'::regnamespace");
    assert!(options < 0.5, "storage parameters were set");
    let sessions = ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()");
    assert!((sessions - 1.0).abs() < 0.1, "sessions were left");
}
