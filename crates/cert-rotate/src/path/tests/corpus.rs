//! The corpus of the fuzz target: that every seed is what it is meant to be, and that changed seeds do no harm.

use super::*;

const SEEDS: [(&str, &[u8]); 6] = [
    ("constraints", include_bytes!("../../../corpus/path/constraints.der")),
    ("cross", include_bytes!("../../../corpus/path/cross.der")),
    ("indirect", include_bytes!("../../../corpus/path/indirect.der")),
    ("lists", include_bytes!("../../../corpus/path/lists.der")),
    ("plain", include_bytes!("../../../corpus/path/plain.der")),
    ("policies", include_bytes!("../../../corpus/path/policies.der")),
];

fn seed(name: &str) -> (Vec<Certificate>, Vec<Crl>) {
    stream::read(SEEDS.iter().find(|(known, _)| *known == name).unwrap().1)
}

/// Judges a seed with lists required if it has any; the last certificate is its root.
fn judged(name: &str, keep: impl Fn(usize, &Crl) -> bool) -> Vec<&'static str> {
    let (certificates, all) = seed(name);
    let crls: Vec<Crl> =
        all.iter().enumerate().filter(|(number, crl)| keep(*number, crl)).map(|(_, crl)| crl.clone()).collect();
    let revocation = if all.is_empty() { Revocation::Ignore } else { Revocation::Require };
    let root = certificates.iter().rfind(|certificate| certificate.self_issued).unwrap().clone();
    codes_of(&Question { crls: &crls, revocation, ..question(&certificates[0], &certificates[1..], &[root]) })
}

#[test]
fn every_seed_is_a_good_path() {
    for (name, _) in SEEDS {
        assert_eq!(judged(name, |_, _| true), GOOD, "{name}");
    }
}

#[test]
fn a_delta_list_takes_a_certificate_off_the_list_that_it_goes_on_from() {
    // The authority's complete list is the second, its delta the third.
    assert_eq!(judged("lists", |number, _| number != 2), ["revoked"]);
    assert_eq!(judged("lists", |number, _| number != 1), ["revocation-unknown"], "a delta alone says nothing");
}

#[test]
fn the_signer_of_an_indirect_list_must_be_known_to_be_good_itself() {
    // The first list is the root's, which speaks of the signer of the second and of the authority.
    assert_eq!(judged("indirect", |number, _| number != 0), ["revocation-unknown", "revocation-unknown"]);
    assert_eq!(judged("indirect", |number, _| number != 1), ["revocation-unknown"]);
}

/// Numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

fn changed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = [0x00, 0x01, 0x30, 0x7f, 0x80, 0xff][dice.roll(6)],
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let (from, length) = (dice.roll(bytes.len()), dice.roll(32));
                let piece: Vec<u8> = bytes.iter().skip(from).take(length).copied().collect();
                bytes.iter_mut().skip(at).zip(piece).for_each(|(byte, new)| *byte = new);
            }
            _ => bytes[at] = dice.roll(256) as u8,
        }
    }
    bytes
}

#[test]
fn changed_seeds_are_judged_without_harm() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (_, seed) in SEEDS {
        stream::exercise(seed);
        for _ in 0..700 {
            stream::exercise(&changed(seed, &mut dice));
        }
    }
}
