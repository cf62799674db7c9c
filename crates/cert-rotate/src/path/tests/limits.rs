//! What is made to waste time wastes little, and is not accepted for it.

use std::time::{Duration, Instant};

use super::*;

/// Generous: each takes well under a second even where nothing is optimised, and centuries without a limit.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn authorities_that_all_certify_each_other_are_given_up_on() {
    let root = Authority::root("root", same);
    let many: Vec<Authority> = (0..14).map(|number| root.authority(&format!("authority {number}"), same)).collect();
    let mut mesh: Vec<Certificate> = Vec::new();
    for above in &many {
        for below in many.iter().filter(|below| below.certificate != above.certificate) {
            mesh.push(above.sign(&below.params, &below.key));
        }
    }
    let leaf = many[0].leaf("a.test", same);
    let roots = [root.certificate];
    let started = Instant::now();
    let codes = codes_of(&question(&leaf, &mesh, &roots));
    assert!(codes.contains(&"too-much-work"), "{codes:?}");
    assert!(started.elapsed() < LIMIT);
    mesh.push(many[3].certificate.clone());
    let path = judge(&question(&leaf, &mesh, &roots)).unwrap();
    assert_eq!(path.last(), roots.last(), "with one way out, it is found");
}

#[test]
fn a_crowd_of_one_name_is_given_up_on() {
    let root = Authority::root("root", same);
    let one = root.authority("one", same);
    let leaf = one.leaf("a.test", same);
    let mut crowd: Vec<Certificate> = (0..600).map(|_| root.authority("one", same).certificate).collect();
    // Without key identifiers nobody could tell them apart; with them the right one is tried first.
    let roots = [root.certificate];
    let started = Instant::now();
    let codes = codes_of(&question(&leaf, &crowd, &roots));
    assert!(codes.contains(&"too-much-work"), "{codes:?}");
    crowd.push(one.certificate);
    assert_eq!(codes_of(&question(&leaf, &crowd, &roots)), GOOD);
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn many_names_under_many_constraints_are_refused() {
    for (number, expected) in [(100, &GOOD[..]), (600, &["too-much-work"])] {
        let root = Authority::root("root", |params| {
            let permitted_subtrees =
                (0..number).map(|number| GeneralSubtree::DnsName(format!("t{number}.test"))).collect();
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        });
        let leaf = root.leaf("t0.test", |params| {
            params.subject_alt_names = (0..number)
                .map(|number| rcgen::SanType::DnsName(format!("t{number}.test").try_into().unwrap()))
                .collect();
        });
        let codes = codes(&leaf, &[], &root);
        assert_eq!(codes.first(), expected.first(), "{number}: {codes:?}");
    }
}

#[test]
fn a_path_longer_than_any_real_one_is_not_followed() {
    let root = Authority::root("root", same);
    let mut chain = vec![root.authority("0", same)];
    for number in 1..20 {
        let next = chain[number - 1].authority(&number.to_string(), same);
        chain.push(next);
    }
    let known: Vec<&Authority> = chain.iter().collect();
    assert_eq!(codes(&chain[9].leaf("a.test", same), &known, &root), GOOD);
    assert_ne!(codes(&chain[19].leaf("a.test", same), &known, &root), GOOD);
}
