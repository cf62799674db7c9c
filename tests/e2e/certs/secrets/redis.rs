//! Rotation of a Redis user's password: at every moment what the destinations have is let in.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use testbed::{Redis, RedisVersion, Reply};

use super::fixture::{Bench, ended, redis_lets_in};

fn spec(server: &Redis, more: &str) -> String {
    format!(
        "[secrets.cache]\nkind = \"password\"\ndestinations = [{{ env = \"DIR/.env\", key = \"REDIS_PASSWORD\" }}]\n\
         apply = {{ redis = {{ urls = [\"{}\"], user = \"app\" }} }}\n{more}\n",
        server.url()
    )
}

/// A server with the user, whose password is in the destination.
fn start(more: &str) -> (Bench, Redis) {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let bench = Bench::new(&spec(&server, more));
    fs::write(bench.app(".env"), "# kept\nOTHER=1\n").unwrap();
    ended(&bench.generate(), 0, "cache", "ok");
    let rule = format!(">{}", bench.env("REDIS_PASSWORD"));
    server.call(&["ACL", "SETUSER", "app", "on", &rule, "~*", "+@all"]).unwrap();
    (bench, server)
}

fn passwords(server: &Redis) -> usize {
    let user = server.call(&["ACL", "GETUSER", "app"]).unwrap();
    let parts = user.array();
    let at = parts.iter().position(|part| part.text() == "passwords").unwrap();
    parts[at + 1].array().iter().filter(|part| !matches!(part, Reply::Nil)).count()
}

fn holds(bench: &Bench, server: &Redis) -> bool {
    redis_lets_in(server, "app", &bench.env("REDIS_PASSWORD"))
}

#[test]
fn a_new_password_takes_the_place_of_the_old_one_and_nobody_notices() {
    let (bench, server) = start("reload = [\"sh\", \"-c\", \"cp DIR/.env DIR/seen\"]");
    let stop = AtomicBool::new(false);
    let tried = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut tried = 0;
            while !stop.load(Ordering::Relaxed) {
                // What is read is used at once, as a program that starts just now would. It may have been dropped in
                // between; then it is no more in the file.
                let password = bench.env("REDIS_PASSWORD");
                assert!(
                    redis_lets_in(&server, "app", &password) || bench.env("REDIS_PASSWORD") != password,
                    "the file has a password that does not work"
                );
                tried += 1;
            }
            tried
        });
        for _ in 0..5 {
            let old = bench.env("REDIS_PASSWORD");
            ended(&bench.rotate("cache"), 0, "cache", "ok");
            let new = bench.env("REDIS_PASSWORD");
            assert!(old != new && !redis_lets_in(&server, "app", &old) && redis_lets_in(&server, "app", &new));
            assert_eq!(passwords(&server), 1);
            assert_eq!(bench.read("seen"), bench.read(".env"), "the consumer was told after the file changed");
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(tried > 50, "{tried}");
    assert!(bench.read(".env").starts_with("# kept\nOTHER=1\nREDIS_PASSWORD="));
    server.restart().unwrap();
    assert!(holds(&bench, &server), "a restart brings the old password back");
    bench.is_clean("the server's log", &server.log());
    fs::remove_file(bench.app("seen")).unwrap();
    bench.is_at_rest();
}

#[test]
fn what_is_not_due_is_left_alone_and_a_dry_run_changes_nothing() {
    let (bench, server) = start("max_age = \"90d\"");
    let before = bench.read(".env");
    ended(&bench.run(&["secrets", "rotate", &bench.spec_path()]), 0, "cache", "ok");
    ended(&bench.run(&["secrets", "rotate", &bench.spec_path(), "cache", "--dry-run"]), 0, "cache", "planned");
    assert_eq!(bench.read(".env"), before);
    assert!(passwords(&server) == 1 && holds(&bench, &server));
    let due = bench.run(&["secrets", "rotate", &bench.spec_path(), "--at", "2099-01-01T00:00:00Z"]);
    ended(&due, 0, "cache", "ok");
    assert!(bench.read(".env") != before && holds(&bench, &server));
    let unknown = bench.rotate("cahce");
    assert_eq!(unknown.code, 3);
    assert!(unknown.stderr.contains("did you mean `cache`?"), "{unknown}");
}

/// The consumer says that it is well only with the password that it was started with.
const PICKY: &str = "verify = [\"cmp\", \"-s\", \"DIR/.env\", \"DIR/first\"]";

#[test]
fn a_consumer_that_is_not_well_has_its_old_password_back() {
    let (bench, server) = start(PICKY);
    fs::copy(bench.app(".env"), bench.app("first")).unwrap();
    let output = bench.rotate("cache");
    let record = ended(&output, 10, "cache", "rolled-back");
    assert!(record["message"].as_str().unwrap().contains("verify: `cmp` ended with exit code 1"), "{record}");
    assert_eq!(bench.read(".env"), bench.read("first"));
    assert!(holds(&bench, &server) && passwords(&server) == 1);
    fs::write(bench.app("first"), "").unwrap();
    let output = bench.rotate("cache");
    let record = ended(&output, 2, "cache", "failed");
    assert!(record["message"].as_str().unwrap().contains("nothing was changed"), "{record}");
    fs::remove_file(bench.app("first")).unwrap();
    bench.is_at_rest();
}

#[test]
fn a_server_that_is_gone_needs_a_person_and_the_next_run_puts_things_right() {
    let (bench, server) = start("reload = [\"sh\", \"-c\", \"rm DIR/armed && kill -9 $(cat DIR/pid) || true\"]");
    fs::write(bench.app("armed"), "").unwrap();
    fs::write(bench.app("pid"), server.pid().unwrap().to_string()).unwrap();
    let before = bench.read(".env");
    let output = bench.rotate("cache");
    ended(&output, 11, "cache", "stuck");
    assert_eq!(bench.read(".env"), before, "the destinations have the old one again");
    let waits = bench.generate();
    ended(&waits, 1, "cache", "deferred");
    let checked = bench.check();
    assert_eq!(checked.code, 1, "{checked}");
    server.kill9().unwrap();
    server.start_again().unwrap();
    assert!(holds(&bench, &server), "both passwords outlast a restart");
    ended(&bench.rotate("cache"), 10, "cache", "rolled-back");
    assert!(holds(&bench, &server) && passwords(&server) == 1 && bench.read(".env") == before);
    bench.is_at_rest();
}

#[test]
fn killed_anywhere_the_files_have_a_password_that_works_and_the_next_run_ends_it() {
    let (bench, server) = start("");
    for at in [
        "rotation-begun",
        "rotation-added",
        "secret-staged",
        "secret-placed",
        "rotation-placed",
        "rotation-reloaded",
        "rotation-proven",
        "rotation-retired",
        "rotation-ended",
    ] {
        let old = bench.env("REDIS_PASSWORD");
        bench.rotate_killed("cache", at);
        assert!(holds(&bench, &server), "{at}");
        if at != "rotation-ended" {
            ended(&bench.rotate("cache"), 0, "cache", "ok");
        }
        assert!(holds(&bench, &server) && passwords(&server) == 1, "{at}");
        assert!(!redis_lets_in(&server, "app", &old), "{at}");
        bench.is_at_rest();
    }
}

#[test]
fn killed_on_the_way_back_the_next_run_goes_back() {
    let (bench, server) = start(PICKY);
    fs::copy(bench.app(".env"), bench.app("first")).unwrap();
    for at in ["rotation-back", "secret-placed:2", "rotation-put-back", "rotation-dropped"] {
        bench.rotate_killed("cache", at);
        assert!(holds(&bench, &server), "{at}");
        ended(&bench.rotate("cache"), 10, "cache", "rolled-back");
        assert_eq!(bench.read(".env"), bench.read("first"), "{at}");
        assert!(holds(&bench, &server) && passwords(&server) == 1, "{at}");
    }
}

#[test]
fn what_a_login_would_not_prove_is_refused_before_anything_changes() {
    let (bench, server) = start("");
    let refused = |why: &str| {
        let output = bench.rotate("cache");
        let record = ended(&output, 2, "cache", "failed");
        assert!(record["message"].as_str().unwrap().contains(why), "{record}");
        bench.is_at_rest();
    };
    server.call(&["ACL", "SETUSER", "app", "nopass"]).unwrap();
    refused("nopass");
    server.call(&["ACL", "SETUSER", "app", "resetpass", ">somebody-elses"]).unwrap();
    refused("does not let app in with the present secret");
    server.call(&["ACL", "DELUSER", "app"]).unwrap();
    refused("there is no user app");
    server.kill9().unwrap();
    refused("failed");
}

#[test]
fn two_servers_learn_of_it_and_a_password_file_is_read() {
    let (one, two) = (Redis::start(RedisVersion::V7_0).unwrap(), Redis::start(RedisVersion::V8_2).unwrap());
    let bench = Bench::new(&format!(
        "[secrets.cache]\nkind = \"redis-acl-sha256\"\n\
         destinations = [{{ file = \"DIR/password\" }}, {{ file = \"DIR/acl\", form = \"verifier\" }}]\n\
         apply = {{ redis = {{ urls = [\"{}\", \"{}\"], user = \"default\", password_file = \"DIR/password\" }} }}\n",
        one.url(),
        two.url()
    ));
    bench.generate();
    let old = bench.read("password").trim().to_owned();
    for server in [&one, &two] {
        server.call(&["ACL", "SETUSER", "default", &format!(">{old}")]).unwrap();
    }
    ended(&bench.rotate("cache"), 0, "cache", "ok");
    let new = bench.read("password").trim().to_owned();
    for server in [&one, &two] {
        assert!(server.connect().unwrap().call(&["AUTH", "default", &new]).is_ok());
        assert!(server.connect().unwrap().call(&["AUTH", "default", &old]).is_err());
    }
    assert_eq!(bench.check().code, 0);
}

#[test]
fn a_server_with_requirepass_is_rotated_by_its_default_user_and_keeps_it_over_a_restart() {
    const FIRST: &str = "first-password-of-the-server";
    let server = Redis::builder(RedisVersion::V7_0).password(FIRST).start().unwrap();
    let port = server.port();
    let bench = Bench::new(&format!(
        "[secrets.cache]\nkind = \"password\"\ndestinations = [{{ file = \"DIR/password\" }}]\n\
         apply = {{ redis = {{ urls = [\"redis://127.0.0.1:{port}/0\"], user = \"default\", \
         password_file = \"DIR/password\" }} }}\n"
    ));
    fs::write(bench.app("password"), format!("{FIRST}\n")).unwrap();
    fs::set_permissions(bench.app("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    ended(&bench.rotate("cache"), 0, "cache", "ok");
    let new = bench.read("password").trim().to_owned();
    let login =
        |password: &str| server.cli(&["--user", "default", "--pass", password, "PING"]).is_ok_and(|out| out == "PONG");
    assert!(login(&new) && !login(FIRST));
    server.kill9().unwrap();
    server.start_again().unwrap();
    assert!(login(&new) && !login(FIRST), "the restart brought the old password back");
}
