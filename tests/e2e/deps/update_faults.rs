//! `update` that is killed, interrupted, or not alone: the lock file is the old one or a verified new one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use testbed::{Running, Signal, run, start, wait_until};

use super::update_world::{OLD, World, of_kind};

/// A workspace with one finding that one step ends; `code` is the library of the release that ends it.
fn world(code: &str) -> World {
    let world = World::new();
    world.publish("clock", "0.3.1", &[]);
    world.need(&["clock 0.3"]);
    world.publish_as("clock", "0.3.6", &[], OLD, code);
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    world
}

/// A step whose verification says that it has begun and then takes its time, but is quick before the step.
fn slow(world: &World) -> Running {
    let begun = world.path("begun");
    let verify = format!("grep -q 'version = \"0.3.1\"' Cargo.lock || {{ touch {}; sleep 60; }}", begun.display());
    let running = start(&mut world.tool(&["update", "--apply", "--verify", &verify])).unwrap();
    wait_until("the verification has begun", Duration::from_secs(30), || begun.exists()).unwrap();
    assert_eq!(world.locked("clock"), ["0.3.6"], "the new one is in place while it is verified");
    running
}

#[test]
fn killed_anywhere_the_next_run_finds_the_old_one_or_a_verified_new_one() {
    let keeping =
        ["update-copied", "update-cargo", "update-moved", "update-verified", "update-kept", "update-forgotten"];
    let restoring = ["update-restoring", "update-restored", "update-forgotten"];
    let cases =
        keeping.iter().map(|point| (*point, "")).chain(restoring.iter().map(|point| (*point, "compile_error!();")));
    for (point, code) in cases {
        let world = world(code);
        let old = world.lock();
        let killed = run(world.tool(&["update", "--apply"]).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        // A plan puts it right as well.
        let (output, _) = world.run(&["update"]);
        assert!(output.code <= 1, "{point}: {output}");
        assert!(world.leftovers().is_empty(), "{point}: {:?}", world.leftovers());
        let verified = code.is_empty() && ["update-kept", "update-forgotten"].contains(&point);
        if verified {
            assert_eq!((output.code, world.locked("clock")), (0, vec!["0.3.6".to_owned()]), "{point}: {output}");
            world.cargo(&["check", "--locked"]);
        } else {
            assert_eq!(world.lock(), old, "{point}: {output}");
            let (output, _) = world.run(&["update", "--apply"]);
            assert_eq!(output.code, if code.is_empty() { 0 } else { 10 }, "{point}: {output}");
        }
    }
}

#[test]
fn a_dry_run_after_a_kill_tells_of_it_and_touches_nothing() {
    let world = world("");
    let old = world.lock();
    run(world.tool(&["update", "--apply"]).env("MAINT_KILL_AT", "update-moved")).unwrap();
    let unverified = world.lock();
    assert_ne!(unverified, old);
    let (output, _) = world.run(&["update", "--dry-run"]);
    assert!(output.code == 1 && output.stdout.contains("not verified"), "{output}");
    assert_eq!(world.lock(), unverified);
    world.run(&["update"]);
    assert_eq!(world.lock(), old);
}

#[test]
fn killed_while_it_is_verified_the_old_one_comes_back() {
    let world = world("");
    let old = world.lock();
    let running = slow(&world);
    running.signal(Signal::KILL);
    assert_eq!(running.finish(Duration::from_secs(10)).unwrap().code, 137);
    let (output, records) = world.run(&["update"]);
    assert_eq!(output.code, 1, "{output}");
    assert!(of_kind(&records, "step")[0]["data"]["message"].as_str().unwrap().contains("the old one is back"));
    assert_eq!(world.lock(), old);
}

#[test]
fn a_cargo_that_outlives_a_killed_run_does_not_write_after_the_next_one() {
    let world = world("");
    let old = world.lock();
    let (begun, written) = (world.path("begun"), world.path("written"));
    let slow_cargo = world.path("slow-cargo");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = update ]; then touch {}; sleep 3; echo damage >> Cargo.lock; touch {}; exit 0; fi\nexec cargo \"$@\"\n",
        begun.display(),
        written.display()
    );
    fs::write(&slow_cargo, script).unwrap();
    fs::set_permissions(&slow_cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.tool(&["update", "--apply", "--lock-only"]);
    let running = start(command.env("CARGO", &slow_cargo)).unwrap();
    wait_until("cargo has begun", Duration::from_secs(30), || begun.exists()).unwrap();
    running.signal(Signal::KILL);
    running.finish(Duration::from_secs(10)).unwrap();
    let (output, _) = world.run(&["update"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(world.lock(), old);
    let late = wait_until("cargo writes", Duration::from_secs(5), || written.exists());
    assert!(late.is_err(), "the cargo of the killed run went on");
    assert_eq!(world.lock(), old);
}

#[test]
fn interrupted_it_puts_the_old_one_back_and_says_so_by_its_exit_code() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let world = world("");
        let old = world.lock();
        let running = slow(&world);
        running.signal(signal);
        let output = running.finish(Duration::from_secs(30)).unwrap();
        assert_eq!(output.code, code, "{output}");
        assert_eq!(world.lock(), old);
        assert!(world.leftovers().is_empty());
        assert!(output.stdout.contains("\"status\":\"left\""), "{output}");
    }
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let world = world("");
    let running = slow(&world);
    for args in [&["update"][..], &["update", "--apply"]] {
        let (output, _) = world.run(args);
        assert_eq!(output.code, 75, "{output}");
        assert!(output.stderr.contains("another run"), "{output}");
    }
    running.signal(Signal::INT);
    assert_eq!(running.finish(Duration::from_secs(30)).unwrap().code, 130);
    let (output, _) = world.run(&["update", "--apply"]);
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn what_somebody_wrote_after_a_kill_is_left_alone() {
    let world = world("");
    run(world.tool(&["update", "--apply"]).env("MAINT_KILL_AT", "update-moved")).unwrap();
    let mine = [world.lock(), b"\n# by hand\n".to_vec()].concat();
    fs::write(world.lockfile(), &mine).unwrap();
    let (output, _) = world.run(&["update"]);
    assert!(output.stdout.contains("somebody has changed"), "{output}");
    assert_eq!(world.lock(), mine);
}

#[test]
fn every_step_is_in_the_journal() {
    let world = world("");
    let (output, _) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    let journal = fs::read_to_string(world.path("state/journal/journal.ndjson")).unwrap();
    assert!(journal.lines().any(|line| line.contains("maint.step.v1") && line.contains("clock@0.3.1")), "{journal}");
}
