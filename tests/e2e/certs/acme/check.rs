//! What is due: files, directories, names, servers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use testbed::{Pebble, run, run_fed, tool};

use super::Told;

/// A certificate that is valid for so many days from now, which may be none or fewer.
fn make(dir: &Path, name: &str, days: &str) -> String {
    let path = dir.join(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=t"]);
    openssl.args(["-keyout", &dir.join("key").display().to_string(), "-days", days, "-out", &path]);
    let out = run(&mut openssl).unwrap();
    assert_eq!(out.code, 0, "{out}");
    path
}

fn check(dir: &Path, args: &[&str], input: &str) -> Told {
    let mut command = tool("cert-rotate", dir).unwrap();
    command.args(["-o", "ndjson", "check-renewal"]).args(args);
    let out = run_fed(&mut command, input).unwrap();
    let records = testbed::records(&out.stdout).unwrap();
    Told { out, records }
}

#[test]
fn files_are_judged_by_what_is_left_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let good = make(dir.path(), "good.pem", "90");
    let told = check(dir.path(), &[&good], "").ends_with(0);
    let check_of_good = told.of("check")[0].clone();
    let left = check_of_good["remaining_seconds"].as_i64().unwrap();
    assert!((90 * 86_400 - 60..=90 * 86_400).contains(&left), "{check_of_good}");
    assert_eq!(check_of_good["reason"], "lifetime");
    // At a moment of one's own choice, which is the same on every machine.
    let moment = |days_left: i64| {
        let end = left - days_left * 86_400;
        let mut date = Command::new("date");
        let out = run(date.args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("{end} seconds")])).unwrap();
        out.stdout.trim().to_owned()
    };
    for (days_left, code) in [(45, 0), (27, 1), (5, 2), (-9, 2)] {
        check(dir.path(), &["--at", &moment(days_left), &good], "").ends_with(code);
    }
    check(dir.path(), &["--warn", "91d", &good], "").ends_with(1);
    check(dir.path(), &["--crit", "100%", "--warn", "100%", &good], "").ends_with(2);
    let told = check(dir.path(), &["--warn", "30", &good], "").ends_with(3);
    assert!(told.all().contains("no unit"), "{}", told.all());
}

#[test]
fn what_cannot_be_read_or_is_not_there_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let good = make(dir.path(), "good.pem", "90");
    let cut = dir.path().join("cut.pem");
    fs::write(&cut, &fs::read(&good).unwrap()[..300]).unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let paths =
        [cut.display().to_string(), empty.display().to_string(), "/no/such/file".to_owned(), "nothing".to_owned()];
    for path in &paths {
        let told = check(dir.path(), &[path, &good], "").ends_with(3);
        assert_eq!(told.of("check")[0]["status"], "unknown", "{}", told.all());
    }
    // Nothing was named and nothing is configured.
    check(dir.path(), &[], "").ends_with(3);
    let told = check(dir.path(), &["-"], &format!("{good}\n\n{}\n", cut.display())).ends_with(3);
    assert_eq!(told.of("check").len(), 2);
    // A directory has both: the key beside them is no certificate.
    let told = check(dir.path(), &[&dir.path().display().to_string()], "").ends_with(3);
    assert_eq!(told.of("check").len(), 2, "{}", told.all());
}

#[test]
fn a_collector_reads_dates_by_the_names_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let good = make(dir.path(), "good.pem", "90");
    let file = dir.path().join("certs.prom");
    check(dir.path(), &["--prometheus", &file.display().to_string(), &good, "/no/such"], "").ends_with(3);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("x509_cert_expired{{filepath=\"{good}\"}} 0\n")), "{text}");
    assert!(text.contains("x509_cert_error{filepath=\"/no/such\"} 1\n"), "{text}");
    let not_after =
        text.lines().find_map(|line| line.strip_prefix(&format!("x509_cert_not_after{{filepath=\"{good}\"}} ")));
    let mut openssl = Command::new("openssl");
    let out = run(openssl.args(["x509", "-noout", "-enddate", "-in", &good])).unwrap();
    let end = run(Command::new("date").args(["-u", "+%s", "-d", out.stdout.trim().strip_prefix("notAfter=").unwrap()]));
    assert_eq!(not_after.unwrap(), end.unwrap().stdout.trim());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("x509_cert_") && name.ends_with('}') && value.parse::<i64>().is_ok(), "{line}");
    }
}

#[test]
fn servers_are_judged_by_what_they_show() {
    let server = Pebble::start().unwrap();
    let endpoint = server.directory().replace("https://", "").replace("/dir", "");
    let dir = tempfile::tempdir().unwrap();
    let told = check(dir.path(), &[&endpoint], "").ends_with(0);
    assert_eq!(told.of("check")[0]["reason"], "lifetime", "{}", told.all());
    server.kill().unwrap();
    let told = check(dir.path(), &[&endpoint], "").ends_with(3);
    assert_eq!(told.of("check")[0]["status"], "unknown", "{}", told.all());
}

#[test]
fn ten_thousand_files_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let good = fs::read(make(dir.path(), "good.pem", "90")).unwrap();
    let many = dir.path().join("many");
    for i in 0..100 {
        let inner = many.join(i.to_string());
        fs::create_dir_all(&inner).unwrap();
        for j in 0..100 {
            fs::write(inner.join(format!("{j}.pem")), &good).unwrap();
        }
    }
    let many = many.display().to_string();
    let started = Instant::now();
    let mut command = tool("cert-rotate", dir.path()).unwrap();
    let out = run(command.args(["check-renewal", &many])).unwrap();
    let took = started.elapsed();
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stdout.contains("10000 of 10000"), "{out}");
    // openssl takes twenty milliseconds for each of them; this is a debug build on a machine that does other things too.
    assert!(took.as_secs() < 20, "{took:?}");
    let told = check(dir.path(), &[&many], "").ends_with(0);
    assert_eq!(told.of("check").len(), 10_000);
}
