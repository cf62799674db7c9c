use std::fs;

use super::*;

fn issued(name: &str, serial: &str) -> Issued {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = Certificate::from_der(made.cert.der()).unwrap();
    Issued { serial: serial.to_owned(), ..Issued::of(&certificate, "services", Kind::Leaf) }
}

fn with(entries: &[Entry]) -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::read(&dir.path().join("ledger")).unwrap();
    for entry in entries {
        ledger.append(entry.clone()).unwrap();
    }
    (dir, ledger)
}

fn serials(ledger: &Ledger) -> Vec<&str> {
    ledger.issued().map(|issued| issued.serial.as_str()).collect()
}

#[test]
fn what_was_appended_is_read_again() {
    let one = issued("one.test", "01");
    let revoked = Revoked { at: Timestamp::now(), serial: "01".to_owned(), reason: Reason::KeyCompromise };
    let (at, authority) = (Timestamp::now(), "services".to_owned());
    let listed = Listed { at, authority, number: 3, next_update: at };
    let (dir, _) = with(&[Entry::Issued(one.clone()), Entry::Revoked(revoked), Entry::Listed(listed)]);
    let ledger = Ledger::read(&dir.path().join("ledger")).unwrap();
    assert_eq!(ledger.issued().next().unwrap().certificate().unwrap().fingerprint(), one.sha256);
    assert_eq!(ledger.revocation("01").unwrap().reason, Reason::KeyCompromise);
    assert_eq!(ledger.lists("services").next_back().unwrap().number, 3);
    assert_eq!(ledger.lists("root").count(), 0);
}

#[test]
fn an_unfinished_line_is_none_and_is_taken_away_by_the_next() {
    // Also one longer than what is read at a time to find its beginning.
    for unfinished in ["{\"entry\":\"issued\",\"at\":\"20", "\0\0\0", &"x".repeat(200_000)] {
        let (dir, _) = with(&[Entry::Issued(issued("one.test", "01"))]);
        let path = dir.path().join("ledger");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{unfinished}")).unwrap();
        let mut ledger = Ledger::read(&path).unwrap();
        assert_eq!(serials(&ledger), ["01"]);
        ledger.append(Entry::Issued(issued("two.test", "02"))).unwrap();
        assert_eq!(serials(&Ledger::read(&path).unwrap()), ["01", "02"]);
        assert!(fs::read_to_string(&path).unwrap().starts_with(&whole));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    fs::write(&path, "never finished").unwrap();
    Ledger::read(&path).unwrap().append(Entry::Issued(issued("one.test", "01"))).unwrap();
    assert_eq!(serials(&Ledger::read(&path).unwrap()), ["01"]);
}

#[test]
fn a_finished_line_that_does_not_hold_is_named_and_nothing_is_lost() {
    let (dir, _) = with(&[Entry::Issued(issued("one.test", "01")), Entry::Issued(issued("two.test", "02"))]);
    let path = dir.path().join("ledger");
    let broken = fs::read_to_string(&path).unwrap().replacen("\"serial\":\"02\"", "\"serial\":02", 1);
    fs::write(&path, &broken).unwrap();
    let failure = Ledger::read(&path).unwrap_err();
    assert!(failure.message.contains("line 2"), "{failure}");
    assert_eq!(fs::read_to_string(&path).unwrap(), broken);
}

#[test]
fn a_ledger_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::read(&dir.path().join("missing/ledger")).unwrap();
    let failure = ledger.append(Entry::Issued(issued("one.test", "01"))).unwrap_err();
    assert!(failure.message.contains("nothing was issued"), "{failure}");
    assert_eq!(ledger.issued().count(), 0);
}

#[test]
fn a_certificate_is_found_by_what_people_write() {
    let one = issued("one.test", "00a1b2");
    let (dir, ledger) = with(&[Entry::Issued(one.clone())]);
    let file = dir.path().join("one.pem");
    fs::write(&file, &one.pem).unwrap();
    for what in ["00a1b2", "A1:B2", "a1b2", &one.sha256, file.to_str().unwrap()] {
        assert_eq!(ledger.find(what).unwrap().sha256, one.sha256, "{what}");
    }
    fs::write(&file, issued("other.test", "02").pem).unwrap();
    assert!(ledger.find(file.to_str().unwrap()).unwrap_err().message.contains("not issued here"));
    assert!(ledger.find("ffff").unwrap_err().hint.unwrap().contains("ca list"));
}

#[test]
fn what_became_of_a_certificate_is_told() {
    let (one, two, three) = (issued("a.test", "01"), issued("a.test", "02"), issued("b.test", "03"));
    let two = Issued { replaces: Some(one.sha256.clone()), ..two };
    let revoked = Revoked { at: Timestamp::now(), serial: "03".to_owned(), reason: Reason::Superseded };
    let all = [Entry::Issued(one), Entry::Issued(two.clone()), Entry::Issued(three), Entry::Revoked(revoked)];
    let (_dir, ledger) = with(&all);
    let states = |now| ledger.issued().map(|issued| ledger.state(issued, now)).collect::<Vec<_>>();
    assert_eq!(states(Timestamp::now()), [State::Replaced, State::Valid, State::Revoked]);
    assert_eq!(states(two.not_after), [State::Replaced, State::Valid, State::Revoked]);
    let after = two.not_after + jiff::SignedDuration::from_secs(1);
    assert_eq!(states(after), [State::Expired, State::Expired, State::Revoked]);
}

#[test]
fn an_edited_certificate_is_found_out() {
    let one = Issued { pem: issued("other.test", "09").pem, ..issued("one.test", "01") };
    assert!(one.certificate().unwrap_err().message.contains("01"));
}
