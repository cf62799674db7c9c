//! The authorities start, answer, and are gone afterwards.

use testbed::{Acme2Certifier, Pebble};

#[test]
fn pebble_has_a_root_of_its_own_and_alternates_when_asked() {
    let pebble = Pebble::builder().alternate_roots(1).start().unwrap();
    let [usual, alternate] = [0, 1].map(|which| std::fs::read_to_string(pebble.root(which).unwrap()).unwrap());
    assert!(usual.starts_with("-----BEGIN CERTIFICATE-----") && usual != alternate, "{usual}");
    assert_eq!(pebble.orders(), 0);
    pebble.kill().unwrap();
    assert!(pebble.root(0).is_err());
}

#[test]
fn acme2certifier_answers_and_counts_its_orders() {
    let server = Acme2Certifier::start().unwrap();
    assert_eq!(server.orders().unwrap(), 0, "{}", server.log());
}
