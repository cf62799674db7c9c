//! Every change is in the journal before it happens to be asked for, or it does not happen.

use std::fs;

use maint_core::journal::{Head, read, verify};
use testbed::records;

use super::Place;

#[test]
fn a_changing_run_leaves_its_records_in_a_journal_that_verifies() {
    let place = Place::new("journal");
    let path = place.dir().join("journal/journal.ndjson");
    for args in [&["plan"][..], &["vacuum-analyze", "--dry-run"], &["monitor-connections"]] {
        place.run(args);
        assert!(!path.exists(), "{args:?} changes nothing, so it writes no journal");
    }
    let out = place.run(&["vacuum-analyze", "-o", "ndjson"]);
    assert_eq!(out.code, 0, "{out}");
    let written = records(&out.stdout).unwrap();
    let kept: Vec<_> = read(&path).unwrap().map(|entry| entry.unwrap().record).collect();
    assert_eq!(kept, written, "the journal holds what stdout showed");
    assert!(kept.iter().any(|record| record["type"] == "maint.step.v1" && record["data"]["status"] == "ok"));
    let first = verify(&path).unwrap();
    place.run(&["vacuum-analyze", "--every", "-t", "orders"]);
    let second = verify(&path).unwrap();
    assert!(second.lines > first.lines && second.head.seq == second.lines);
    let head: Head = serde_json::from_slice(&fs::read(path.with_file_name("head")).unwrap()).unwrap();
    assert_eq!(head, second.head);
}

#[test]
fn a_flipped_byte_and_a_missing_line_are_found() {
    let place = Place::new("flipped");
    place.run(&["vacuum-analyze", "--every", "-t", "orders"]);
    let path = place.dir().join("journal/journal.ndjson");
    let good = fs::read(&path).unwrap();
    verify(&path).unwrap();
    // Every seventh byte: the whole line is covered, whichever field it falls into.
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(verify(&path).is_err(), "byte {at} was flipped and nobody saw it");
    }
    let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&path, &good[..last]).unwrap();
    assert!(verify(&path).unwrap_err().to_string().contains("removed"), "the last line was cut off");
    fs::write(&path, &good).unwrap();
    verify(&path).unwrap();
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let place = Place::new("nojournal");
    // A file where the directory should be stops root as well, whom permissions do not.
    fs::write(place.dir().join("journal"), "").unwrap();
    let before = place.vacuums();
    for command in ["vacuum-analyze", "update-statistics"] {
        let out = place.run(&[command, "--every", "-t", "orders"]);
        assert_eq!(out.code, 3, "{out}");
        assert!(out.stderr.contains("journal") && out.stderr.contains("MAINT_STATE_DIR"), "{out}");
    }
    assert_eq!(place.vacuums(), before);
}
