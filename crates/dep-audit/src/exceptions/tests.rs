use std::str::FromStr as _;

use super::*;

const TEXT: &str = "# why we live with it\n[[exception]]\nid = \"CVE-2026-1\"\nreason = \"not reachable\"\nowner = \"ann\"\nuntil = 2026-06-01\n\n\
    [[exception]]\nkind = \"maintenance\"\ncrate = \"old\"\nversion = \"=1.0.0-rc.1\"\nreason = \"nothing else\"\nowner = \"bob\"\nuntil = \"2026-12-31\"\n";

fn rules(today: &str) -> Rules {
    Rules::new(format!("{today}T23:59:59Z").parse().unwrap(), HumanDuration::from_str("365d").unwrap())
}

fn parsed() -> Exceptions {
    Exceptions::parse(Path::new("/x/dep-audit.toml"), TEXT).unwrap()
}

#[test]
fn an_exception_holds_on_its_last_day_and_not_on_the_next() {
    let one = &parsed().all[0];
    assert_eq!(one.line, 2);
    assert_eq!(one.standing(None, rules("2026-06-01")), Standing::InForce);
    assert_eq!(one.standing(None, rules("2026-06-02")), Standing::Expired);
    assert_eq!(one.standing(None, rules("2025-05-31")), Standing::TooFar);
    assert_eq!(one.standing(None, rules("2025-06-01")), Standing::InForce);
}

#[test]
fn a_prerelease_is_meant_where_it_is_named() {
    let one = &parsed().all[1];
    let mut finding = parsed().finding(one, String::new());
    finding.kind = FindingKind::Yanked;
    finding.package = "old".into();
    finding.lockfile = PathBuf::from("/x/Cargo.lock");
    for (version, wanted) in [("1.0.0-rc.1", true), ("1.0.0-rc.2", false), ("1.0.0", false)] {
        finding.version = version.into();
        assert_eq!(one.is_about(&finding, Path::new("/x")), wanted, "{version}");
    }
    finding.version = "1.0.0-rc.1".into();
    finding.lockfile = PathBuf::from("/y/Cargo.lock");
    assert!(!one.is_about(&finding, Path::new("/x")), "it is somebody else's");
}

#[test]
fn what_lacks_a_reason_an_owner_or_a_day_is_refused_with_its_line() {
    for (text, why) in [
        ("[[exception]]\nid = \"A\"\nowner = \"a\"\nuntil = \"2026-01-01\"\n", "reason"),
        ("[[exception]]\nid = \"A\"\nreason = \" \"\nowner = \"a\"\nuntil = \"2026-01-01\"\n", "line 1"),
        ("[[exception]]\nid = \"A\"\nreason = \"r\"\nowner = \"a\"\n", "until"),
        ("[[exception]]\nid = \"A\"\nreason = \"r\"\nowner = \"a\"\nuntil = \"soon\"\n", "no day"),
        ("[[exception]]\nreason = \"r\"\nowner = \"a\"\nuntil = \"2026-01-01\"\n", "neither"),
        ("[[exception]]\nid = \"A\"\nreasn = \"r\"\nowner = \"a\"\nuntil = \"2026-01-01\"\n", "reasn"),
    ] {
        let failure = Exceptions::parse(Path::new("e.toml"), text).unwrap_err();
        assert!(failure.message.contains(why) && failure.message.contains("e.toml"), "{}", failure.message);
    }
}

#[test]
fn changes_leave_comments_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    std::fs::write(&path, TEXT).unwrap();
    let mut document = Document::open(&path).unwrap();
    document.renew(0, jiff::civil::date(2026, 9, 1), None).unwrap();
    document.revoke(1).unwrap();
    document.add(&parsed().all[1]).unwrap();
    let saved = document.save(&path).unwrap();
    assert_eq!(saved.all.len(), 3);
    assert_eq!((saved.all[0].until.to_string().as_str(), saved.all[1].status), ("2026-09-01", Approval::Revoked));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# why we live with it\n"), "{text}");
    document.remove(&[1, 2]).unwrap();
    assert_eq!(document.save(&path).unwrap().all.len(), 1);
}
