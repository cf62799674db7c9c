//! Killed at every step: what is live is the old pair or the new one, whole, and the next run ends what this one began
//! without asking for the certificate again.

use std::fs;

use testbed::run;

use super::deploy::fixture::{Bench, Client, Nginx, step};

/// Places at which a run is killed that has the certificate already.
const AFTER_ISSUE: [&str; 18] = [
    "rotate-issued",
    "generation-file:1",
    "generation-file:4",
    "generation-written",
    "generation-named",
    "rotate-written",
    "rotate-gated",
    "deploy-noted",
    "link-made",
    "link-switched",
    "deploy-switched",
    "copy-installed:1",
    "copy-installed:2",
    "deploy-reloaded",
    "deploy-proven",
    "deploy-marked",
    "rotate-cleared",
    "generation-going",
];

#[test]
fn killed_anywhere_the_pair_is_whole_and_the_next_run_ends_it() {
    let mut bench = Bench::with_one();
    bench.settings("keep = 1\nverify_timeout = \"20s\"\n");
    let nginx = Nginx::on(&bench);
    fs::create_dir(bench.path("copies")).unwrap();
    let copy =
        |file: &str| format!("{{ file = \"{file}\", path = \"{}\" }}", bench.path("copies").join(file).display());
    let install = format!("install = [{}, {}]\n", copy("cert"), copy("privkey"));
    bench.extra(&install);
    bench.consumers(&[nginx.by_pid_file()]);
    let client = Client::of(&bench);
    for point in AFTER_ISSUE {
        let before = bench.generation().unwrap();
        let old = bench.leaf(before);
        bench.issue(&[]);
        let killed = run(bench.tool(&["rotate"]).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        bench.whole();
        let shown = client.handshake(nginx.port, false).unwrap();
        let live = bench.leaf(bench.generation().unwrap());
        assert!(shown == old || shown == live, "{point}: something else is served");
        // Nobody would sign it again.
        for file in ["requests/web.csr", "requests/web.pem"] {
            fs::remove_file(bench.path(file)).unwrap();
        }
        let next = bench.rotate(&[]);
        assert_eq!(next.code, 0, "{point}: {next}");
        assert!(!bench.path("requests/web.csr").exists(), "{point}: it was asked for again: {next}");
        bench.whole();
        let now = bench.generation().unwrap();
        assert!(now > before, "{point}: {next}");
        assert_eq!(bench.state(now), "live", "{point}");
        assert_eq!(client.handshake(nginx.port, false).unwrap(), bench.leaf(now), "{point}");
        assert_eq!(fs::read(bench.path("copies/cert")).unwrap(), fs::read(bench.live("cert.pem")).unwrap(), "{point}");
        // And then there is nothing more to do.
        let nothing = bench.rotate(&[]);
        assert!(nothing.code == 0 && nothing.stdout.contains("not due"), "{point}: {nothing}");
        assert!(!bench.path("certs/pending/web").exists(), "{point}: something is still under way");
    }
}

#[test]
fn killed_before_it_is_issued_the_same_key_is_gone_on_with() {
    let bench = Bench::with_one();
    let killed = run(bench.tool(&["rotate", "--force"]).env("MAINT_KILL_AT", "rotate-key")).unwrap();
    assert_eq!(killed.code, 137, "{killed}");
    let key = fs::read(bench.path("certs/pending/web/privkey.pem")).unwrap();
    let waiting = bench.rotate(&[]);
    assert_eq!(waiting.code, 1, "{waiting}");
    assert_eq!(step(&waiting)["status"], "deferred");
    bench.sign(&[]);
    let done = bench.rotate(&[]);
    assert_eq!(done.code, 0, "{done}");
    assert_eq!(fs::read(bench.live("privkey.pem")).unwrap(), key);
}

#[test]
fn killed_on_the_way_back_it_is_whole_too() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    bench.settings("verify_timeout = \"1s\"\n");
    bench.consumers(&[nginx.consumer("{ by = \"command\", command = [\"true\"] }")]);
    bench.issue(&[]);
    let killed = run(bench.tool(&["rotate"]).env("MAINT_KILL_AT", "back-switched")).unwrap();
    assert_eq!(killed.code, 137, "{killed}");
    assert_eq!(bench.generation(), Some(1));
    bench.whole();
    bench.consumers(&[nginx.by_pid_file()]);
    let next = bench.rotate(&[]);
    assert_eq!(next.code, 0, "{next}");
    assert_eq!(Client::of(&bench).handshake(nginx.port, false).unwrap(), bench.leaf(bench.generation().unwrap()));
}

#[test]
fn a_consumer_that_missed_the_switch_is_told_though_nothing_is_due() {
    let mut bench = Bench::with_one();
    let nginx = Nginx::on(&bench);
    // Live and proven, as far as anybody knew then: there was no consumer.
    bench.issue(&[]);
    let output = bench.rotate(&[]);
    assert_eq!(output.code, 0, "{output}");
    let client = Client::of(&bench);
    assert_eq!(client.handshake(nginx.port, false).unwrap(), bench.leaf(1));
    bench.consumers(&[nginx.by_pid_file()]);
    let output = bench.rotate(&[]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(step(&output)["action"], "finish", "{output}");
    assert_eq!(client.handshake(nginx.port, false).unwrap(), bench.leaf(2));
}
