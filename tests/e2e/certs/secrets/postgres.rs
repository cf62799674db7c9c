//! Rotation of a PostgreSQL role's password: exchanged, or by two roles that take turns; never sent, never logged.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use testbed::Postgres;

use super::fixture::{Bench, ended, postgres_lets_in};

const SUPER: &str = "test-superuser-password";

fn server() -> Postgres {
    Postgres::builder(15).auth_password(SUPER).setting("log_statement", "all").start().unwrap()
}

fn dsn(server: &Postgres) -> String {
    format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.port())
}

/// A server with a role, whose password is in the destination.
fn start(more: &str) -> (Bench, Postgres) {
    let server = server();
    let bench = Bench::new(&format!(
        "[secrets.db]\nkind = \"pg-scram\"\n\
         destinations = [{{ env = \"DIR/.env\", key = \"DB_PASSWORD\" }}, {{ file = \"DIR/verifier\", form = \"verifier\" }}]\n\
         apply = {{ postgresql = {{ role = \"app\", dsn = \"{}\" }} }}\n{more}\n",
        dsn(&server)
    ));
    ended(&bench.generate(), 0, "db", "ok");
    // As a deployment would: the role is made from the verifier alone.
    server.psql("postgres", &format!("CREATE ROLE app LOGIN PASSWORD '{}'", bench.read("verifier").trim())).unwrap();
    assert!(postgres_lets_in(&server, "app", &bench.env("DB_PASSWORD")));
    (bench, server)
}

fn rotate(bench: &Bench, more: &[(&str, &str)]) -> testbed::Output {
    let mut env = vec![("PGPASSWORD", SUPER)];
    env.extend(more);
    bench.run_with(&["secrets", "rotate", &bench.spec_path(), "db"], &env)
}

fn stored(server: &Postgres, role: &str) -> String {
    server.psql("postgres", &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")).unwrap()
}

#[test]
fn a_new_password_is_exchanged_and_seen_to_work() {
    let (bench, server) = start("reload = [\"sh\", \"-c\", \"cp DIR/.env DIR/seen\"]");
    let old = bench.env("DB_PASSWORD");
    ended(&rotate(&bench, &[]), 0, "db", "ok");
    let new = bench.env("DB_PASSWORD");
    assert!(old != new && postgres_lets_in(&server, "app", &new) && !postgres_lets_in(&server, "app", &old));
    assert!(stored(&server, "app").starts_with("SCRAM-SHA-256$4096:"));
    assert_eq!(bench.read("seen"), bench.read(".env"));
    let log = server.log();
    assert!(log.contains("ALTER ROLE") && !log.contains(&new) && !log.contains(&old), "the log has the password");
    assert_eq!(bench.check().code, 0, "the verifier beside it is of the new one");
    fs::remove_file(bench.app("seen")).unwrap();
}

const PICKY: &str = "verify = [\"cmp\", \"-s\", \"DIR/.env\", \"DIR/first\"]";

#[test]
fn the_very_verifier_of_before_comes_back() {
    let (bench, server) = start(PICKY);
    fs::copy(bench.app(".env"), bench.app("first")).unwrap();
    let before = stored(&server, "app");
    ended(&rotate(&bench, &[]), 10, "db", "rolled-back");
    assert_eq!(stored(&server, "app"), before);
    assert_eq!(bench.read(".env"), bench.read("first"));
    assert!(postgres_lets_in(&server, "app", &bench.env("DB_PASSWORD")));
    fs::remove_file(bench.app("first")).unwrap();
    bench.is_at_rest();
}

#[test]
fn killed_anywhere_the_next_run_ends_it() {
    let (bench, server) = start("");
    for at in [
        "rotation-begun",
        "secret-staged",
        "rotation-exchanged",
        "secret-placed",
        "rotation-placed",
        "rotation-reloaded",
        "rotation-proven",
        "rotation-ended",
    ] {
        let old = bench.env("DB_PASSWORD");
        let killed = rotate(&bench, &[("MAINT_KILL_AT", at)]);
        assert_eq!(killed.code, 137, "{at}: {killed}");
        let now = bench.env("DB_PASSWORD");
        // Role and file cannot change at once: between the two there is a moment in which they differ.
        assert_eq!(postgres_lets_in(&server, "app", &now), at != "rotation-exchanged", "{at}");
        if at != "rotation-ended" {
            ended(&rotate(&bench, &[]), 0, "db", "ok");
        }
        assert!(postgres_lets_in(&server, "app", &bench.env("DB_PASSWORD")), "{at}");
        assert!(!postgres_lets_in(&server, "app", &old), "{at}");
        bench.is_at_rest();
    }
}

#[test]
fn one_who_may_alter_the_role_only_can_go_back_as_well() {
    let (bench, server) = start(PICKY);
    fs::copy(bench.app(".env"), bench.app("first")).unwrap();
    server.role("admin", "admin-password-x", "ALTER ROLE admin CREATEROLE").unwrap();
    let spec = fs::read_to_string(bench.path("secrets.toml")).unwrap();
    bench.spec(&spec.replace("user=postgres", "user=admin"));
    ended(&rotate(&bench, &[("PGPASSWORD", "admin-password-x")]), 10, "db", "rolled-back");
    assert!(postgres_lets_in(&server, "app", &bench.env("DB_PASSWORD")));
    // And one who may not do even that changes nothing.
    server.psql("postgres", "ALTER ROLE admin NOCREATEROLE").unwrap();
    let output = rotate(&bench, &[("PGPASSWORD", "admin-password-x")]);
    ended(&output, 10, "db", "rolled-back");
    assert!(output.stdout.contains("cannot alter role app"), "{output}");
    assert!(postgres_lets_in(&server, "app", &bench.env("DB_PASSWORD")));
}

#[test]
fn a_server_that_asks_for_no_password_proves_nothing() {
    let server = Postgres::builder(15).start().unwrap();
    let bench = Bench::new(&format!(
        "[secrets.db]\nkind = \"password\"\ndestinations = [{{ env = \"DIR/.env\", key = \"DB_PASSWORD\" }}]\n\
         apply = {{ postgresql = {{ role = \"app\", dsn = \"{}\" }} }}\n",
        dsn(&server)
    ));
    bench.generate();
    server.psql("postgres", &format!("CREATE ROLE app LOGIN PASSWORD '{}'", bench.env("DB_PASSWORD"))).unwrap();
    let before = stored(&server, "app");
    let record = ended(&rotate(&bench, &[]), 2, "db", "failed");
    assert!(record["message"].as_str().unwrap().contains("with any password"), "{record}");
    assert_eq!(stored(&server, "app"), before);
}

#[test]
fn two_roles_take_turns_and_nobody_notices() {
    let server = server();
    let bench = Bench::new(&format!(
        "[secrets.db]\nkind = \"password\"\ndestinations = [{{ env = \"DIR/.env\", key = \"DB_USER\", form = \"user\" }}, \
         {{ env = \"DIR/.env\", key = \"DB_PASSWORD\" }}]\n\
         apply = {{ postgresql = {{ roles = [\"app_a\", \"app_b\"], dsn = \"{}\" }} }}\n",
        dsn(&server)
    ));
    bench.generate();
    assert_eq!(bench.env("DB_USER"), "app_a");
    let create = format!("CREATE ROLE app_a LOGIN PASSWORD '{}'; CREATE ROLE app_b LOGIN", bench.env("DB_PASSWORD"));
    server.psql("postgres", &create).unwrap();
    let stop = AtomicBool::new(false);
    let login = || {
        let text = bench.read(".env");
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        (value("DB_USER="), value("DB_PASSWORD="))
    };
    let tried = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut tried = 0;
            while !stop.load(Ordering::Relaxed) {
                let (user, password) = login();
                let good = postgres_lets_in(&server, &user, &password) || login().0 != user;
                assert!(good, "the file has a login that does not work");
                tried += 1;
            }
            tried
        });
        for user in ["app_b", "app_a", "app_b"] {
            let (old_user, old) = login();
            ended(&rotate(&bench, &[]), 0, "db", "ok");
            let (new_user, new) = login();
            assert_eq!(new_user, user);
            assert!(postgres_lets_in(&server, &new_user, &new) && !postgres_lets_in(&server, &old_user, &old));
            assert_eq!(stored(&server, &old_user), "", "the old role has no password");
        }
        for at in ["rotation-added", "secret-placed", "rotation-proven", "rotation-retired"] {
            let killed = rotate(&bench, &[("MAINT_KILL_AT", at)]);
            assert_eq!(killed.code, 137, "{at}: {killed}");
            ended(&rotate(&bench, &[]), 0, "db", "ok");
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(tried > 20, "{tried}");
    bench.is_at_rest();
}
