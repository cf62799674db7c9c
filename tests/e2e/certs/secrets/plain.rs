//! Rotation of what no server has to learn: the readers of the destinations are all there is.

use std::fs;

use super::fixture::{Bench, ended};

const SPEC: &str = "[secrets.session]\nkind = \"base64\"\n\
    destinations = [{ env = \"DIR/.env\", key = \"SESSION_KEY\" }, { docker_secret = \"DIR/session\" }]\n\
    reload = [\"cp\", \"DIR/session\", \"DIR/loaded\"]\nverify = [\"sh\", \"-c\", \"! test -e DIR/loaded || ! test -e DIR/sick\"]\n";

#[test]
fn all_destinations_change_and_the_consumer_is_told() {
    let bench = Bench::new(SPEC);
    bench.generate();
    let old = bench.read("session");
    ended(&bench.rotate("session"), 0, "session", "ok");
    let new = bench.read("session");
    assert!(new != old && bench.env("SESSION_KEY") == new && bench.read("loaded") == new);
    bench.is_at_rest();
}

#[test]
fn a_consumer_that_is_not_well_gets_the_old_one_again() {
    let bench = Bench::new(SPEC);
    bench.generate();
    let old = bench.read("session");
    // Well before, sick with the new one, and well again with the old one.
    let sick = format!("case $(cat {0}) in {old}) ;; *) test ! -e {0} ;; esac", bench.app("loaded").display());
    let spec = fs::read_to_string(bench.path("secrets.toml")).unwrap();
    let (head, _) = spec.split_once("verify").unwrap();
    fs::write(bench.app("verify.sh"), format!("test -e {} || exit 0\n{sick}\n", bench.app("loaded").display()))
        .unwrap();
    bench.spec(&format!("{head}verify = [\"sh\", \"DIR/verify.sh\"]\n"));
    ended(&bench.rotate("session"), 10, "session", "rolled-back");
    assert!(bench.read("session") == old && bench.env("SESSION_KEY") == old && bench.read("loaded") == old);
}

#[test]
fn a_consumer_that_prints_the_secret_does_not_make_us_tell_it() {
    let bench = Bench::new(&SPEC.replace(
        "reload = [\"cp\", \"DIR/session\", \"DIR/loaded\"]",
        "reload = [\"sh\", \"-c\", \"echo cannot use $(cat DIR/session); exit 4\"]",
    ));
    bench.generate();
    // That no secret was printed or journalled, although the program said it, is looked for by the bench.
    let output = bench.rotate("session");
    let record = ended(&output, 10, "session", "rolled-back");
    let message = record["message"].as_str().unwrap();
    assert!(message.contains("`sh` ended with exit code 4: cannot use [redacted]"), "{message}");
}

#[test]
fn a_reload_that_fails_both_ways_needs_a_person() {
    let bench = Bench::new(
        "[secrets.session]\nkind = \"hex\"\ndestinations = [{ file = \"DIR/session\" }]\n\
         reload = [\"test\", \"!\", \"-e\", \"DIR/broken\"]\n",
    );
    bench.generate();
    let old = bench.read("session");
    fs::write(bench.app("broken"), "").unwrap();
    ended(&bench.rotate("session"), 11, "session", "stuck");
    assert_eq!(bench.read("session"), old);
    fs::remove_file(bench.app("broken")).unwrap();
    ended(&bench.rotate("session"), 10, "session", "rolled-back");
    ended(&bench.rotate("session"), 0, "session", "ok");
    assert!(bench.read("session") != old);
    bench.is_at_rest();
}

#[test]
fn a_second_run_at_the_same_time_waits_for_another_day() {
    let bench = Bench::new(&SPEC.replace("verify = [", "verify = [\"sh\", \"-c\", \"sleep 2\"]\n#"));
    bench.generate();
    let first = testbed::start(&mut bench.command(&["secrets", "rotate", &bench.spec_path(), "session"])).unwrap();
    let held = || testbed::files(&bench.path("state")).iter().any(|path| path.ends_with("old"));
    testbed::wait_until("the first run is at work", std::time::Duration::from_secs(20), held).unwrap();
    assert_eq!(bench.rotate("session").code, 75);
    assert_eq!(bench.generate().code, 75);
    assert_eq!(first.finish(testbed::RUN_LIMIT).unwrap().code, 0);
}
