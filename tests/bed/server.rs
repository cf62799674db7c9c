//! Servers start, stop, freeze and hold locks as told.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use sqlx::{Connection as _, Row as _};
use testbed::{Error, Pgbouncer, Postgres, setup, shared, wait_until};

#[test]
fn every_major_version_starts_and_says_which_it_is() {
    for major in setup::MAJORS {
        let server = shared(major).unwrap();
        let version: u32 = server.psql("postgres", "SHOW server_version_num").unwrap().parse().unwrap();
        assert_eq!(version / 10_000, major);
        assert_eq!(server.psql("postgres", "SHOW autovacuum").unwrap(), "off");
        let db = server.fresh_db("modules").unwrap();
        for module in ["pg_stat_statements", "pgstattuple", "pageinspect", "amcheck"] {
            assert!(server.installation().has_module(module), "{major} lacks {module}");
            server.psql(&db, &format!("CREATE EXTENSION {module}")).unwrap();
        }
        server.psql(&db, "SELECT count(*) FROM pg_stat_statements").unwrap();
    }
}

#[test]
fn two_servers_of_one_version_live_side_by_side() {
    let (a, b) = (Postgres::builder(15).start().unwrap(), Postgres::builder(15).start().unwrap());
    a.create_db("only_a").unwrap();
    assert_eq!(b.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'only_a'").unwrap(), "0");
    assert_ne!(a.port(), b.port());
}

#[test]
fn settings_of_the_builder_reach_the_server_and_can_be_overridden() {
    let server = Postgres::builder(15).setting("fsync", "on").setting("cluster_name", "it's me").start().unwrap();
    assert_eq!(server.psql("postgres", "SHOW fsync; SHOW cluster_name;").unwrap(), "on\nit's me");
    server.psql("postgres", "ALTER SYSTEM SET cluster_name = 'other'").unwrap();
    server.restart().unwrap();
    assert_eq!(server.psql("postgres", "SHOW cluster_name").unwrap(), "other");
}

#[test]
fn a_setting_the_server_does_not_know_is_an_error_with_its_words() {
    let e = Postgres::builder(15).setting("no_such_setting", "1").start().unwrap_err();
    assert!(e.to_string().contains("no_such_setting"), "{e}");
}

#[tokio::test]
async fn all_forms_of_an_address_lead_to_the_server() {
    let server = shared(15).unwrap();
    let db = server.fresh_db("it's odd/ü").unwrap();
    server.role("app role", "p@ss:/word", "GRANT pg_monitor TO \"app role\"").unwrap();
    for url in [server.url(&db), server.url_as("app role", "p@ss:/word", &db)] {
        let mut c = sqlx::PgConnection::connect(&url).await.unwrap();
        let row = sqlx::query("SELECT current_database()::text").fetch_one(&mut c).await.unwrap();
        assert_eq!(row.get::<String, _>(0), db);
    }
    let mut c = server.connect(&db).await.unwrap();
    sqlx::query("SELECT 1").execute(&mut c).await.unwrap();
    assert_eq!(server.psql(&db, "SELECT current_database()").unwrap(), db);
    assert!(server.socket_dir().join(format!(".s.PGSQL.{}", server.port())).exists());
}

#[tokio::test]
async fn a_server_with_a_password_refuses_a_wrong_one() {
    let server = Postgres::builder(15).auth_password("it's secret").start().unwrap();
    assert_eq!(server.psql("postgres", "SELECT 1").unwrap(), "1");
    server.connect("postgres").await.unwrap();
    sqlx::PgConnection::connect(&server.url("postgres")).await.unwrap();
    let wrong = sqlx::PgConnection::connect(&server.url_as("postgres", "wrong", "postgres")).await.unwrap_err();
    assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");
}

#[test]
fn failed_sql_is_an_error_with_the_servers_words() {
    let e = shared(15).unwrap().psql("postgres", "SELECT 1/0; SELECT 2;").unwrap_err();
    assert!(matches!(&e, Error::Sql { message, .. } if message.contains("division by zero")), "{e}");
}

#[test]
fn a_session_holds_its_lock_until_it_is_closed() {
    let server = shared(15).unwrap();
    let db = server.fresh_db("lock").unwrap();
    server.psql(&db, "CREATE TABLE t (a int)").unwrap();
    let mut holder = server.psql_background(&db, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE;").unwrap();
    assert_eq!(holder.send("SELECT pg_backend_pid()").unwrap(), holder.pid().to_string());
    let e = server.psql(&db, "SET lock_timeout = '50ms'; SELECT * FROM t;").unwrap_err();
    assert!(e.to_string().contains("lock timeout"), "{e}");
    holder.close().unwrap();
    server.psql(&db, "SET lock_timeout = '50ms'; SELECT * FROM t;").unwrap();
}

#[test]
fn a_session_tells_its_errors_and_lives_on() {
    let server = shared(15).unwrap();
    let mut session = server.psql_background("postgres", "").unwrap();
    let e = session.send("SELECT 1/0").unwrap_err();
    assert!(e.to_string().contains("division by zero") && e.to_string().contains("22012"), "{e}");
    assert_eq!(session.send("SELECT 'a'; SELECT 'b'").unwrap(), "a\nb");
    session.send_nowait("SELECT 'skipped'").unwrap();
    session.send_nowait("SELECT 'last'").unwrap();
    assert_eq!(session.finish().unwrap(), "last");
    server.psql("postgres", &format!("SELECT pg_terminate_backend({}, 10000)", session.pid())).unwrap();
    let e = session.send("SELECT 1").unwrap_err();
    assert!(e.to_string().contains("the session"), "{e}");
}

#[test]
fn a_session_that_waits_for_a_lock_can_be_cancelled_and_dropped() {
    let server = shared(15).unwrap();
    let db = server.fresh_db("waits").unwrap();
    server.psql(&db, "CREATE TABLE t (a int)").unwrap();
    let _holder = server.psql_background(&db, "BEGIN; LOCK TABLE t").unwrap();
    let mut waiter = server.psql_background(&db, "").unwrap();
    let pid = waiter.pid();
    let waiting = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
    let waits = || server.psql(&db, &waiting).unwrap() == "1";
    waiter.send_nowait("SELECT * FROM t").unwrap();
    wait_until("the session waits", Duration::from_secs(10), waits).unwrap();
    waiter.cancel().unwrap();
    assert!(waiter.finish().unwrap_err().to_string().contains("57014"));
    waiter.send_nowait("SELECT * FROM t").unwrap();
    wait_until("the session waits again", Duration::from_secs(10), waits).unwrap();
    drop(waiter);
    let left = server.psql(&db, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).unwrap();
    assert_eq!(left, "0");
}

#[test]
fn a_frozen_server_takes_connections_and_answers_nobody_until_it_is_woken() {
    let server = Postgres::builder(15).start().unwrap();
    let mut session = server.psql_background("postgres", "").unwrap();
    server.sigstop().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_ok());
    session.send_nowait("SELECT 'awake'").unwrap();
    let pid = server.pid().unwrap();
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(state.rsplit(") ").next().unwrap().chars().next(), Some('T'));
    server.sigcont();
    assert_eq!(session.finish().unwrap(), "awake");
}

#[test]
fn a_killed_server_recovers_what_was_committed() {
    let server = Postgres::builder(15).setting("synchronous_commit", "on").start().unwrap();
    server.psql("postgres", "CREATE TABLE t AS SELECT 7 AS a").unwrap();
    let port = server.port();
    server.kill9().unwrap();
    assert!(server.pid().is_none());
    assert!(server.psql("postgres", "SELECT 1").is_err());
    assert!(matches!(server.stop_fast(), Err(Error::NotRunning { server }) if server == "PostgreSQL 15"));
    server.start_again().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.psql("postgres", "SELECT a FROM t").unwrap(), "7");
    assert!(server.log().contains("automatic recovery in progress"));
    server.stop_immediate().unwrap();
    server.start_again().unwrap();
    server.stop_fast().unwrap();
}

#[test]
fn a_server_started_again_waits_for_its_port_to_become_free() {
    let server = Postgres::builder(15).start().unwrap();
    server.stop_fast().unwrap();
    let squatter = TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    std::thread::scope(|scope| {
        let started = scope.spawn(|| server.start_again());
        let refused = wait_until("the server finds its port taken", Duration::from_secs(30), || {
            server.log().contains("Address already in use")
        });
        drop(squatter);
        started.join().unwrap().unwrap();
        refused.unwrap();
    });
    assert_eq!(server.psql("postgres", "SELECT 1").unwrap(), "1");
}

#[test]
fn pgbouncer_pools_by_transaction() {
    let server = shared(15).unwrap();
    let db = server.fresh_db("pooled").unwrap();
    let bouncer = Pgbouncer::start(server).unwrap();
    let dir = bouncer.dir().to_path_buf();
    assert_eq!(bouncer.psql(&db, "SELECT current_database()").unwrap(), db);
    // An advisory lock of the session outlives the client, as its server connection goes back to the pool.
    bouncer.psql(&db, "SELECT pg_advisory_lock(42)").unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42";
    assert_eq!(server.psql(&db, held).unwrap(), "1");
    drop(bouncer);
    assert!(!dir.exists());
}

#[test]
#[ignore = "installs packages on this system"]
fn what_is_missing_can_be_installed() {
    setup::install(&setup::missing()).unwrap();
    assert_eq!(setup::missing(), []);
    assert!(TcpStream::connect(("127.0.0.1", 6432)).is_err(), "a pgbouncer service was started");
    assert_eq!(setup::install(&[]).map_err(|e| e.to_string()), Ok(()));
}
