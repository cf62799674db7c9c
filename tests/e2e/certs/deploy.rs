//! Rotations on nginx, PostgreSQL and Redis: what is good is proven, what is bad never gets there or is taken back, and
//! nobody notices.

pub(super) mod fixture;
mod load;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use testbed::{Output, Signal, records, run, start, wait_until};

use fixture::{Bench, Client, Nginx, owned, postgres, postgres_consumer, redis, redis_consumer, step};

#[track_caller]
fn ended(output: &Output, code: i32, status: &str, generation: u64) -> serde_json::Value {
    assert_eq!(output.code, code, "{output}");
    let step = step(output);
    assert_eq!((&step["status"], &step["generation"]), (&status.into(), &generation.into()), "{output}");
    step
}

fn path_of(text: &str) -> String {
    format!("copies/{text}")
}

/// Copies of some files, for servers that read those.
fn copies(bench: &Bench, files: &[(&str, &str)]) -> String {
    let _ = fs::create_dir(bench.path("copies"));
    let copies = files
        .iter()
        .map(|(file, name)| format!("{{ file = \"{file}\", path = \"{}\" }}", bench.path(&path_of(name)).display()));
    format!("{}install = [{}]\n", owned(), copies.collect::<Vec<_>>().join(", "))
}

fn copy(bench: &Bench, name: &str) -> PathBuf {
    bench.path(&path_of(name))
}

#[test]
fn a_good_certificate_is_live_and_seen_on_all_three_servers() {
    let mut bench = Bench::with_one_of(owned());
    let (certificate, key) = (bench.live("fullchain.pem"), bench.live("privkey.pem"));
    let (nginx, database, cache) = (Nginx::on(&bench), postgres(&certificate, &key), redis(&certificate, &key));
    bench.consumers(&[nginx.by_pid_file(), postgres_consumer(&database), redis_consumer(&cache)]);
    let client = Client::of(&bench);
    for generation in [2, 3] {
        bench.issue(&[]);
        let output = bench.rotate(&["-vv"]);
        let ended = ended(&output, 0, "ok", generation);
        bench.keeps_its_keys(&output);
        assert!(ended["connections"].as_u64().unwrap() >= 9, "{ended}");
        let leaf = bench.leaf(generation);
        assert_eq!(client.handshake(nginx.port, false).unwrap(), leaf);
        assert_eq!(client.handshake(database.port(), true).unwrap(), leaf);
        assert_eq!(client.handshake(cache.tls().unwrap().port, false).unwrap(), leaf);
        assert_eq!(bench.state(generation), "live");
        bench.whole();
    }
    let nothing = bench.rotate(&["-vv"]);
    assert_eq!(nothing.code, 0, "{nothing}");
    assert!(nothing.stdout.contains("not due before"), "{nothing}");
    bench.keeps_its_keys(&nothing);
    // Another run's dry run, and one that only looks, agree.
    let dry = bench.rotate(&["--dry-run", "--force"]);
    assert!(dry.code == 0 && dry.stdout.contains("maint.plan.v1") && dry.stdout.contains("obtain"), "{dry}");
    assert_eq!(bench.generation(), Some(3));
    let history = run(&mut bench.tool(&["history", "web", "-o", "ndjson"])).unwrap();
    let listed: Vec<_> = records(&history.stdout).unwrap();
    let current: Vec<_> = listed.iter().filter(|record| record["data"]["current"] == true).collect();
    assert_eq!(current.len(), 1, "{history}");
    assert_eq!(current[0]["subject"], "web/3");
}

#[test]
fn an_expired_or_misnamed_certificate_never_becomes_live() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.consumers(&[nginx.by_pid_file()]);
    let client = Client::of(&bench);
    let refused = |args: &[&str], code: &str| {
        bench.issue(args);
        let output = bench.rotate(&[]);
        assert_eq!(output.code, 2, "{output}");
        let step = step(&output);
        assert_eq!(step["codes"][0], code, "{output}");
        assert_eq!(bench.generation(), Some(1));
        assert_eq!(bench.state(step["generation"].as_u64().unwrap()), "rejected");
        assert_eq!(client.handshake(nginx.port, false).unwrap(), bench.leaf(1));
    };
    refused(&["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"], "expired");
    refused(&["-extensions", "named"], "names-missing");
    refused(&["-startdate", "20400101000000Z", "-enddate", "20410101000000Z"], "not-yet-valid");
}

#[test]
fn a_mismatched_key_is_taken_back_on_all_three_servers() {
    // Only the certificate is copied: the servers get a pair that does not fit.
    let mut bench = Bench::new();
    let both = copies(&bench, &[("fullchain", "server.crt"), ("privkey", "server.key")]);
    bench.extra(&both);
    bench.request();
    bench.sign(&[]);
    ended(&bench.rotate(&[]), 0, "ok", 1);
    let (certificate, key) = (copy(&bench, "server.crt"), copy(&bench, "server.key"));
    let nginx = Nginx::start(&certificate, &key);
    let (database, cache) = (postgres(&certificate, &key), redis(&certificate, &key));
    let half = copies(&bench, &[("fullchain", "server.crt")]);
    bench.extra(&half);
    let client = Client::of(&bench);
    for (consumer, port, starttls) in [
        (nginx.by_pid_file(), nginx.port, false),
        (postgres_consumer(&database), database.port(), true),
        (redis_consumer(&cache), cache.tls().unwrap().port, false),
    ] {
        bench.settings("verify_timeout = \"2s\"\n");
        bench.consumers(&[consumer]);
        bench.issue(&[]);
        let output = bench.rotate(&[]);
        assert_eq!(output.code, 10, "{output}");
        let step = step(&output);
        assert_eq!(step["status"], "rolled-back", "{output}");
        assert_eq!(bench.generation(), Some(1));
        assert_eq!(bench.state(step["generation"].as_u64().unwrap()), "rolled-back");
        assert_eq!(client.handshake(port, starttls).unwrap(), bench.leaf(1));
        assert_eq!(fs::read(&certificate).unwrap(), fs::read(bench.live("fullchain.pem")).unwrap());
    }
}

#[test]
fn a_key_that_the_server_may_not_read_is_taken_back_and_deployed_when_that_is_mended() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut bench = Bench::with_one_of(owned());
    let (certificate, key) = (bench.live("fullchain.pem"), bench.live("privkey.pem"));
    let (database, cache) = (postgres(&certificate, &key), redis(&certificate, &key));
    let client = Client::of(&bench);
    bench.settings("verify_timeout = \"2s\"\n");
    for (wrong, consumer) in [
        // PostgreSQL refuses a key of its own that its group may read; nobody but root can read the other one.
        ("owner = \"postgres\"\nkey_mode = \"0640\"\n", postgres_consumer(&database)),
        ("key_mode = \"0600\"\n", redis_consumer(&cache)),
    ] {
        bench.extra(wrong);
        bench.consumers(&[consumer]);
        bench.issue(&[]);
        let before = bench.generation().unwrap();
        let output = bench.rotate(&[]);
        assert_eq!(output.code, 10, "{output}");
        assert_eq!(bench.generation(), Some(before));
        // Nothing is asked for again: what was issued is deployed as soon as it can be.
        fs::remove_file(bench.path("requests/web.csr")).unwrap();
        fs::remove_file(bench.path("requests/web.pem")).unwrap();
        bench.extra(owned());
        let output = bench.rotate(&[]);
        assert_eq!(output.code, 0, "{output}");
        assert!(!bench.path("requests/web.csr").exists());
        assert!(bench.generation().unwrap() > before);
    }
    let leaf = bench.leaf(bench.generation().unwrap());
    assert_eq!(client.handshake(cache.tls().unwrap().port, false).unwrap(), leaf);
}

#[test]
fn a_reload_that_lies_is_found_out() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.settings("verify_timeout = \"1s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    bench.issue(&[]);
    let step = ended(&bench.rotate(&[]), 10, "rolled-back", 2);
    assert!(step["message"].as_str().unwrap().contains("another certificate"), "{step}");
    assert_eq!(bench.generation(), Some(1));
    bench.whole();
    assert_eq!(Client::of(&bench).handshake(nginx.port, false).unwrap(), bench.leaf(1));
}

#[test]
fn a_failing_reload_and_a_failing_test_say_why() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    let failing =
        "{ by = \"command\", command = [\"sh\", \"-c\", \"echo the disk of $CERT_NAME is full >&2; exit 4\"] }";
    bench.consumers(&[nginx.consumer(failing)]);
    bench.issue(&[]);
    let step = ended(&bench.rotate(&[]), 10, "rolled-back", 2);
    assert!(step["message"].as_str().unwrap().contains("exit code 4: the disk of web is full"), "{step}");
    let tested =
        format!("{}test = [\"sh\", \"-c\", \"test -r $KEY_FILE && echo not today; exit 1\"]\n", nginx.by_pid_file());
    bench.consumers(&[tested]);
    let output = bench.rotate(&[]);
    let step = ended(&output, 10, "rolled-back", 3);
    assert!(step["message"].as_str().unwrap().contains("nginx would not take it"), "{output}");
    assert!(step["message"].as_str().unwrap().contains("not today"), "{output}");
    bench.consumers(&[nginx.by_pid_file()]);
    ended(&bench.rotate(&[]), 0, "ok", 4);
}

#[test]
fn a_consumer_that_dies_of_it_needs_a_person() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.settings("verify_timeout = \"1s\"\n");
    let kill =
        format!("{{ by = \"command\", command = [\"sh\", \"-c\", \"kill $(cat {})\"] }}", nginx.pid_file().display());
    bench.consumers(&[nginx.consumer(&kill)]);
    bench.issue(&[]);
    let step = ended(&bench.rotate(&[]), 11, "stuck", 2);
    assert!(step["message"].as_str().unwrap().contains("not shown"), "{step}");
    assert_eq!(bench.generation(), Some(1));
    bench.whole();
    // Now it is down before anything is changed, and nothing is changed.
    let output = bench.rotate(&[]);
    let step = ended(&output, 2, "failed", 3);
    assert_eq!(step["codes"][0], "consumer-down", "{output}");
}

#[test]
fn a_first_deployment_that_fails_leaves_what_was_there() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    // The same server, and a certificate that was never live.
    let both = copies(&bench, &[("fullchain", "server.crt"), ("privkey", "server.key")]);
    fs::write(copy(&bench, "server.crt"), "something of the operator's").unwrap();
    fs::remove_file(bench.path("certs/live/web")).unwrap();
    fs::rename(bench.path("certs/archive/web"), bench.path("aside")).unwrap();
    bench.extra(&both);
    bench.settings("verify_timeout = \"1s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    bench.issue(&[]);
    let output = bench.rotate(&[]);
    ended(&output, 10, "rolled-back", 1);
    assert_eq!(bench.generation(), None);
    assert_eq!(fs::read(copy(&bench, "server.crt")).unwrap(), b"something of the operator's");
    assert!(!copy(&bench, "server.key").exists());
    assert_eq!(step(&output)["not_atomic"].as_array().unwrap().len(), 2, "{output}");
}

#[test]
fn nobody_goes_back_to_an_expired_certificate() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.settings("verify_timeout = \"1s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    bench.issue(&["-days", "9000"]);
    let later = ["--at", "2040-01-01T00:00:00Z"];
    let step = ended(&bench.rotate(&later), 2, "failed", 2);
    assert!(step["message"].as_str().unwrap().contains("not valid any more"), "{step}");
    assert_eq!(bench.generation(), Some(2));
    assert_eq!(bench.state(2), "staged");
    // The consumer is mended; the next run ends what that one could not.
    bench.consumers(&[nginx.by_pid_file()]);
    ended(&bench.rotate(&later), 0, "ok", 2);
    assert_eq!(Client::of(&bench).handshake(nginx.port, false).unwrap(), bench.leaf(2));
}

#[test]
fn meanwhile_a_second_run_comes_back_later_and_an_interrupted_one_goes_back() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.settings("verify_timeout = \"60s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    bench.issue(&[]);
    let running = start(&mut bench.tool(&["rotate", "-o", "ndjson"])).unwrap();
    wait_until("it is switched", Duration::from_secs(20), || bench.generation() == Some(2)).unwrap();
    let second = bench.rotate(&[]);
    assert!(second.code == 75 && second.stderr.contains("another run"), "{second}");
    running.signal(Signal::INT);
    let output = running.finish(Duration::from_secs(30)).unwrap();
    ended(&output, 130, "rolled-back", 2);
    assert_eq!(bench.generation(), Some(1));
    bench.whole();
    assert_eq!(Client::of(&bench).handshake(nginx.port, false).unwrap(), bench.leaf(1));
}

#[test]
fn rollback_goes_to_the_generation_before_and_proves_it() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.consumers(&[nginx.by_pid_file()]);
    bench.issue(&[]);
    ended(&bench.rotate(&[]), 0, "ok", 2);
    let roll = |bench: &Bench, args: &[&str]| run(bench.tool(&["rollback", "web", "-o", "ndjson"]).args(args)).unwrap();
    let dry = roll(&bench, &["--dry-run"]);
    assert!(dry.code == 0 && dry.stdout.contains("back to 1"), "{dry}");
    assert_eq!(bench.generation(), Some(2));
    ended(&roll(&bench, &[]), 0, "ok", 1);
    assert_eq!((bench.generation(), bench.state(2)), (Some(1), "rolled-back".to_owned()));
    assert_eq!(Client::of(&bench).handshake(nginx.port, false).unwrap(), bench.leaf(1));
    let nothing = roll(&bench, &[]);
    assert!(nothing.code == 3 && nothing.stderr.contains("no generation before 1"), "{nothing}");
    ended(&roll(&bench, &["2"]), 0, "ok", 2);
    // A rollback that does not work does not make the generation a bad one.
    bench.settings("verify_timeout = \"1s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    ended(&roll(&bench, &[]), 10, "rolled-back", 1);
    assert_eq!((bench.generation(), bench.state(1)), (Some(2), "live".to_owned()));
    let expired = run(&mut bench.tool(&["rollback", "web", "1", "--at", "2060-01-01T00:00:00Z"])).unwrap();
    assert!(expired.code == 2 && expired.stderr.contains("not back to generation 1"), "{expired}");
}
