use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

struct Bed {
    dir: tempfile::TempDir,
    journal: Journal,
}

impl Bed {
    /// A journal with the records `{"n":1}` to `{"n":count}`.
    fn with(count: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        for n in 1..=count {
            assert_eq!(journal.append(&format!("{{\"n\":{n}}}")).unwrap().seq, n);
        }
        Self { dir, journal }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.journal.path()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    fn set(&self, lines: &[String]) {
        let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
        fs::write(self.journal.path(), text).unwrap();
    }

    fn head(&self) -> PathBuf {
        self.journal.path().with_file_name("head")
    }

    fn verified(&self) -> u64 {
        verify(self.journal.path()).unwrap_or_else(|e| panic!("{e}")).lines
    }

    fn damage(&self) -> (u64, Damage) {
        match verify(self.journal.path()) {
            Err(JournalError::Damaged { line, damage, .. }) => (line, damage),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_appended_is_read_back_and_verified() {
    let mut bed = Bed::with(0);
    assert_eq!(bed.verified(), 0);
    bed.journal.append("{\"a\": 1.10,\n \"b\":\"\\n\"}").unwrap();
    let head = bed.journal.append(r#"{"c":2}"#).unwrap();
    assert_eq!(verify(bed.journal.path()).unwrap(), Verified { lines: 2, head });
    let entries: Vec<_> = read(bed.journal.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries[0], Entry { seq: 1, record: serde_json::json!({"a": 1.1, "b": "\n"}) });
    assert_eq!(entries[1], Entry { seq: 2, record: serde_json::json!({"c": 2}) });
}

#[test]
fn the_format_is_the_documented_one() {
    let bed = Bed::with(1);
    let zeros = "0".repeat(64);
    // printf '%064d\n1\n{"n":1}' 0 | sha256sum
    let hash = "1f22aae6a5726c253f4aef6798b87ccf1dfcb858f4638df345a16f0f433623ad";
    assert_eq!(bed.text(), format!("{{\"seq\":1,\"prev\":\"{zeros}\",\"record\":{{\"n\":1}},\"hash\":\"{hash}\"}}\n"));
    assert_eq!(fs::read_to_string(bed.head()).unwrap(), format!("{{\"seq\":1,\"hash\":\"{hash}\"}}\n"));
}

#[test]
fn only_the_owner_can_read_it() {
    let bed = Bed::with(1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(bed.journal.path()), mode(&bed.head())), (0o600, 0o600));
    assert_eq!(mode(bed.journal.path().parent().unwrap()), 0o700);
}

#[test]
fn what_is_not_an_object_is_refused() {
    let mut bed = Bed::with(1);
    for record in ["", "1", "[]", "{", "{} {}", "{\"a\":1}x", "nul"] {
        assert!(matches!(bed.journal.append(record), Err(JournalError::NotARecord { .. })), "{record}");
    }
    assert_eq!(bed.verified(), 1);
}

#[test]
fn every_edited_byte_is_found() {
    let bed = Bed::with(3);
    let bytes = fs::read(bed.journal.path()).unwrap();
    for at in 0..bytes.len() {
        for change in [b' ', b'7', b'\n', 0xff] {
            let mut edited = bytes.clone();
            if edited[at] == change {
                continue;
            }
            edited[at] = change;
            fs::write(bed.journal.path(), &edited).unwrap();
            assert!(verify(bed.journal.path()).is_err(), "byte {at} as {change}");
        }
    }
}

#[test]
fn an_edited_record_is_found_in_its_line() {
    let bed = Bed::with(3);
    let mut lines = bed.lines();
    lines[1] = lines[1].replace("\"n\":2", "\"n\":9");
    bed.set(&lines);
    assert_eq!(bed.damage(), (2, Damage::Edited));
    let second = read(bed.journal.path()).unwrap().nth(1).unwrap();
    assert!(second.unwrap_err().to_string().contains("line 2: it was edited"));
}

#[test]
fn a_line_rewritten_with_a_fitting_hash_is_found() {
    let bed = Bed::with(3);
    let mut lines = bed.lines();
    let line = parse(lines[1].as_bytes()).unwrap();
    let record = r#"{"n":9}"#;
    lines[1] = render(2, &line.prev, record, &chain_hash(&line.prev, 2, record));
    bed.set(&lines);
    assert_eq!(bed.damage(), (2, Damage::Edited));
    bed.set(&lines[..2]);
    fs::write(bed.head(), fs::read_to_string(bed.head()).unwrap().replace("\"seq\":3", "\"seq\":2")).unwrap();
    assert_eq!(bed.damage(), (2, Damage::HeadDiffers));
}

#[test]
fn removed_lines_are_found() {
    let bed = Bed::with(5);
    let mut lines = bed.lines();
    lines.drain(1..3);
    bed.set(&lines);
    assert_eq!(bed.damage(), (2, Damage::Removed { first: 2, last: 3 }));
    lines.remove(0);
    bed.set(&lines);
    assert_eq!(bed.damage(), (1, Damage::Removed { first: 1, last: 3 }));
}

#[test]
fn swapped_and_repeated_lines_are_found() {
    let bed = Bed::with(4);
    let mut lines = bed.lines();
    lines.swap(1, 2);
    bed.set(&lines);
    assert_eq!(bed.damage(), (2, Damage::Reordered { expected: 2, found: 3 }));
    lines.swap(1, 2);
    lines.insert(2, lines[0].clone());
    bed.set(&lines);
    assert_eq!(bed.damage(), (3, Damage::Reordered { expected: 3, found: 1 }));
}

#[test]
fn a_removed_tail_is_found_and_stays_found_after_the_next_append() {
    let mut bed = Bed::with(4);
    bed.set(&bed.lines()[..2]);
    assert_eq!(bed.damage(), (2, Damage::TailRemoved { first: 3, last: 4 }));
    assert_eq!(bed.journal.append("{}").unwrap().seq, 5);
    assert_eq!(bed.damage(), (3, Damage::Removed { first: 3, last: 4 }));
    bed.set(&[]);
    assert_eq!(bed.damage(), (0, Damage::TailRemoved { first: 1, last: 5 }));
}

#[test]
fn a_missing_or_damaged_head_is_refused_and_named() {
    let mut bed = Bed::with(2);
    fs::write(bed.head(), "{").unwrap();
    assert!(matches!(bed.journal.append("{}"), Err(JournalError::NoHead { .. })));
    fs::remove_file(bed.head()).unwrap();
    for error in [bed.journal.append("{}").unwrap_err(), verify(bed.journal.path()).unwrap_err()] {
        assert!(matches!(error, JournalError::NoHead { .. }) && error.to_string().contains("/head"), "{error}");
    }
    fs::remove_file(bed.journal.path()).unwrap();
    assert_eq!(bed.journal.append("{}").unwrap().seq, 1);
}

#[test]
fn a_crash_between_a_line_and_the_head_loses_nothing() {
    let mut bed = Bed::with(2);
    let head = fs::read(bed.head()).unwrap();
    bed.journal.append("{}").unwrap();
    fs::write(bed.head(), head).unwrap();
    assert_eq!(bed.verified(), 3);
    assert_eq!(bed.journal.append("{}").unwrap().seq, 4);
    assert_eq!(bed.verified(), 4);
}

#[test]
fn a_crash_before_the_first_head_does_not_block_the_journal() {
    let mut bed = Bed::with(1);
    fs::remove_file(bed.head()).unwrap();
    assert_eq!(bed.verified(), 1);
    assert_eq!(bed.journal.append("{}").unwrap().seq, 2);
    assert_eq!(bed.verified(), 2);
}

#[test]
fn a_forged_last_line_does_not_lead_the_chain_astray() {
    let mut bed = Bed::with(2);
    let mut lines = bed.lines();
    for seq in [9, u64::MAX] {
        lines[1] = render(seq, &"0".repeat(64), "{}", &chain_hash(&"0".repeat(64), seq, "{}"));
        bed.set(&lines);
        assert_eq!(bed.damage(), (2, Damage::Removed { first: 2, last: seq - 1 }));
    }
    assert_eq!(bed.journal.append("{}").unwrap().seq, 3);
    let end = Head { seq: u64::MAX, hash: "0".repeat(64) };
    assert!(verify_after(bed.journal.path(), &end).is_err());
    fs::write(bed.head(), serde_json::to_string(&end).unwrap()).unwrap();
    bed.journal.append("{}").unwrap();
}

#[test]
fn a_torn_line_is_set_aside_and_the_chain_goes_on() {
    let mut bed = Bed::with(2);
    let whole = bed.text();
    let torn = &bed.lines()[1][..30];
    fs::write(bed.journal.path(), format!("{whole}{torn}")).unwrap();
    assert_eq!(bed.damage(), (3, Damage::Torn));
    assert!(read(bed.journal.path()).unwrap().last().unwrap().is_err());
    assert_eq!(bed.journal.append("{}").unwrap().seq, 3);
    assert_eq!(bed.verified(), 3);
    let aside = fs::read_dir(bed.journal.path().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.to_str().unwrap().contains("journal.torn-")).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read_to_string(&aside[0]).unwrap(), torn);
    assert_eq!(fs::metadata(&aside[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_record_longer_than_a_block_is_chained() {
    let mut bed = Bed::with(1);
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(200_000));
    bed.journal.append(&long).unwrap();
    bed.journal.append(&long).unwrap();
    assert_eq!(bed.verified(), 3);
}

#[test]
fn a_rotated_journal_goes_on_from_its_head() {
    let mut bed = Bed::with(3);
    let archive = bed.journal.path().with_file_name("journal-1.ndjson");
    fs::rename(bed.journal.path(), &archive).unwrap();
    assert_eq!(bed.journal.append("{}").unwrap().seq, 4);
    let first = verify(&archive).unwrap();
    assert_eq!(first.lines, 3);
    assert_eq!(verify_after(bed.journal.path(), &first.head).unwrap().head.seq, 4);
    assert_eq!(bed.damage(), (1, Damage::Removed { first: 1, last: 3 }));
}

#[test]
fn a_journal_that_is_not_there_is_not_whole() {
    assert!(matches!(verify(Path::new("/nowhere/journal.ndjson")), Err(JournalError::Io { .. })));
    assert!(read(Path::new("/nowhere/journal.ndjson")).is_err());
}

/// This test program, running the test `name` of this module in a process of its own.
fn another_process(name: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f ${MAINT_TEST_BLOCKS:-unlimited}; exec \"$0\" --ignored --exact \"$1\" --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("journal::tests::{name}"))
        .env("MAINT_TEST_JOURNAL_DIR", dir)
        .stdout(Stdio::piped());
    command
}

#[test]
#[ignore = "is the other process of the test below"]
fn append_a_hundred_in_another_process() {
    let dir = std::env::var_os("MAINT_TEST_JOURNAL_DIR").unwrap();
    let mut journal = Journal::open(Path::new(&dir)).unwrap();
    for n in 0..100 {
        journal.append(&format!("{{\"pid\":{},\"n\":{n}}}", std::process::id())).unwrap();
    }
}

#[test]
fn two_processes_at_once_make_one_chain() {
    let bed = Bed::with(0);
    let name = "append_a_hundred_in_another_process";
    let writers: Vec<_> = (0..2).map(|_| another_process(name, bed.dir.path()).spawn().unwrap()).collect();
    for writer in writers {
        assert!(writer.wait_with_output().unwrap().status.success());
    }
    assert_eq!(bed.verified(), 200);
    let mut seen = std::collections::HashMap::new();
    for entry in read(bed.journal.path()).unwrap() {
        let record = entry.unwrap().record;
        let next = seen.entry(record["pid"].as_u64().unwrap()).or_insert(0);
        assert_eq!(record["n"], *next);
        *next += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [100, 100]);
}

#[test]
#[ignore = "is the other process of the test below"]
fn append_until_full_in_another_process() {
    let dir = std::env::var_os("MAINT_TEST_JOURNAL_DIR").unwrap();
    let mut journal = Journal::open(Path::new(&dir)).unwrap();
    let before = fs::read(journal.path()).unwrap();
    let error = journal.append(&format!("{{\"text\":\"{}\"}}", "x".repeat(100_000))).unwrap_err();
    assert!(matches!(error, JournalError::Io { step: "append to", .. }), "{error}");
    assert_eq!(fs::read(journal.path()).unwrap(), before);
    journal.append("{}").unwrap();
}

/// A limit on the size of files stops a write half-way, as a full disk does.
#[test]
fn an_append_that_does_not_fit_leaves_the_file_as_it_was() {
    let bed = Bed::with(2);
    let mut command = another_process("append_until_full_in_another_process", bed.dir.path());
    let output = command.env("MAINT_TEST_BLOCKS", "32").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(bed.verified(), 3);
}
