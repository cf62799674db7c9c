use super::inventory::{Bundle, Facts, OldLeaf, Place};
use super::*;

fn bundle(path: &str, old: bool, new: bool) -> Bundle {
    Bundle { path: path.into(), has: Ok((old, new)) }
}

/// Two roots, two files; `has` is what trust.pem and the bundle have.
fn facts(has: [(bool, bool); 2]) -> Facts {
    let [trust, client] = has;
    let bundles = vec![bundle("trust.pem", trust.0, trust.1), bundle("client.pem", client.0, client.1)];
    Facts { cross: Some(true), bundles, ..Facts::default() }
}

fn codes(phase: Phase, facts: &Facts) -> Vec<&'static str> {
    obstacles(phase, facts).iter().map(|obstacle| obstacle.code).collect()
}

const OLD: (bool, bool) = (true, false);
const BOTH: (bool, bool) = (true, true);
const NEW: (bool, bool) = (false, true);

#[test]
fn nothing_stands_in_the_way_where_everybody_followed() {
    for (phase, has) in [(Phase::Old, OLD), (Phase::TrustBoth, BOTH), (Phase::SignNew, BOTH), (Phase::New, NEW)] {
        assert!(codes(phase, &facts([has, has])).is_empty(), "{phase:?}");
    }
}

#[test]
fn a_bundle_that_did_not_follow_stands_in_the_way() {
    for (phase, trust, client, code) in [
        (Phase::Old, OLD, NEW, "bundle-without-old"),
        (Phase::Old, OLD, (false, false), "bundle-without-old"),
        (Phase::TrustBoth, BOTH, OLD, "bundle-without-new"),
        (Phase::TrustBoth, BOTH, NEW, "bundle-without-old"),
        (Phase::SignNew, BOTH, OLD, "bundle-without-new"),
        (Phase::New, NEW, BOTH, "bundle-with-old"),
        (Phase::New, NEW, OLD, "bundle-without-new"),
    ] {
        assert_eq!(codes(phase, &facts([trust, client])), [code], "{phase:?}");
    }
    let mut unreadable = facts([BOTH, BOTH]);
    unreadable.bundles[1].has = Err("no such file".to_owned());
    assert_eq!(codes(Phase::TrustBoth, &unreadable), ["bundle-unreadable"]);
}

#[test]
fn trust_that_is_not_what_the_phase_says_stands_in_the_way() {
    for (phase, trust, client) in [(Phase::TrustBoth, OLD, BOTH), (Phase::SignNew, NEW, BOTH), (Phase::New, BOTH, NEW)]
    {
        assert_eq!(codes(phase, &facts([trust, client])), ["trust-differs"], "{phase:?}");
    }
}

#[test]
fn a_certificate_of_the_old_authority_keeps_the_old_root() {
    let mut facts = facts([BOTH, BOTH]);
    let leaf = |place| OldLeaf { title: "a.test".to_owned(), serial: "01".to_owned(), place };
    facts.old_leaves = vec![leaf(Place::Ledger), leaf(Place::Live("web".to_owned()))];
    facts.unreadable = vec![("db".to_owned(), "broken".to_owned())];
    assert_eq!(codes(Phase::SignNew, &facts), ["leaf-old", "leaf-old-live", "live-unreadable"]);
    assert!(codes(Phase::TrustBoth, &facts).is_empty());
}

#[test]
fn the_new_authority_must_be_ready() {
    let mut facts = facts([OLD, OLD]);
    facts.cross = None;
    assert_eq!(codes(Phase::Old, &facts), ["cross-missing"]);
    facts.cross = Some(false);
    facts.not_in_force = Some("it is over".to_owned());
    assert_eq!(codes(Phase::Old, &facts), ["authority-not-in-force", "cross-not-in-force"]);
}

#[test]
fn between_authorities_of_one_root_trust_stays() {
    for phase in [Phase::Old, Phase::TrustBoth, Phase::SignNew, Phase::New] {
        let facts = Facts { same_root: true, cross: None, ..facts([BOTH, BOTH]) };
        assert!(codes(phase, &facts).is_empty(), "{phase:?}");
    }
}

#[test]
fn a_state_that_was_edited_to_something_else_is_refused() {
    let text = |phase: &str| format!(r#"{{"from":"a","to":"b","phase":"{phase}","bundles":[],"history":[]}}"#);
    assert!(serde_json::from_str::<Rollover>(&text("trust-both")).is_ok());
    assert!(serde_json::from_str::<Rollover>(&text("trust-nobody")).is_err());
}
