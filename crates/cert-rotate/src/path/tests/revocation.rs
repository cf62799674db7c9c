//! Revocation lists.

use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, RevocationReason,
    RevokedCertParams,
};

use super::*;

fn list(of: &Authority, revoked: &[u8], change: impl FnOnce(&mut CertificateRevocationListParams)) -> Crl {
    let revoked_certs = revoked
        .iter()
        .map(|&serial| RevokedCertParams {
            serial_number: vec![serial].into(),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        })
        .collect();
    let mut params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 5, 1),
        next_update: date_time_ymd(2026, 7, 1),
        crl_number: vec![1].into(),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    change(&mut params);
    // The maker of lists would refuse a signer without cRLSign.
    let mut signer = of.params.clone();
    signer.key_usages = vec![KeyUsagePurpose::CrlSign];
    let made = params.signed_by(&Issuer::from_params(&signer, &of.key)).unwrap();
    Crl::all(made.der()).unwrap().remove(0)
}

fn no_change(_: &mut CertificateRevocationListParams) {}

fn numbered(serial: u8) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.serial_number = Some(vec![serial].into())
}

/// What is said of a leaf of serial number 5 right below the root, if lists are required and if they are not.
fn said(root: &Authority, leaf: &Certificate, crls: &[Crl]) -> [Vec<&'static str>; 2] {
    let roots = [root.certificate.clone()];
    [Revocation::Require, Revocation::IfKnown]
        .map(|revocation| codes_of(&Question { crls, revocation, ..question(leaf, &[], &roots) }))
}

#[test]
fn who_is_on_a_list_is_revoked_and_who_is_not_is_not() {
    let root = Authority::root("root", same);
    let leaf = root.leaf("a.test", numbered(5));
    assert_eq!(said(&root, &leaf, &[list(&root, &[4, 6], no_change)]), [GOOD, GOOD]);
    assert_eq!(said(&root, &leaf, &[list(&root, &[4, 5], no_change)]), [["revoked"], ["revoked"]]);
    assert_eq!(said(&root, &leaf, &[]), [vec!["revocation-unknown"], vec![]]);
    let roots = [root.certificate.clone()];
    let crls = [list(&root, &[5], no_change)];
    assert_eq!(codes_of(&Question { crls: &crls, ..question(&leaf, &[], &roots) }), GOOD, "nobody asked");
}

#[test]
fn every_certificate_below_the_root_needs_a_list() {
    let root = Authority::root("root", same);
    let one = root.authority("one", numbered(7));
    let leaf = one.leaf("a.test", numbered(5));
    let (intermediates, roots) = ([one.certificate.clone()], [root.certificate.clone()]);
    let of = |crls: &[Crl]| {
        let revocation = Revocation::Require;
        judge(&Question { crls, revocation, ..question(&leaf, &intermediates, &roots) })
            .map_or_else(|problems| problems.iter().map(|one| (one.code, one.depth)).collect(), |_| Vec::new())
    };
    let clean = |of| list(of, &[], no_change);
    assert_eq!(of(&[clean(&one), clean(&root)]), []);
    assert_eq!(of(&[clean(&one)]), [("revocation-unknown", 1)]);
    assert_eq!(of(&[clean(&one), list(&root, &[7], no_change)]), [("revoked", 1)]);
    // Serial number 7 of another authority is another certificate.
    assert_eq!(of(&[list(&one, &[7], no_change), clean(&root)]), []);
}

#[test]
fn a_list_out_of_date_proves_only_what_it_has() {
    let root = Authority::root("root", same);
    let leaf = root.leaf("a.test", numbered(5));
    let stale = |params: &mut CertificateRevocationListParams| params.next_update = date_time_ymd(2026, 5, 31);
    assert_eq!(said(&root, &leaf, &[list(&root, &[], stale)]), [vec!["revocation-unknown"], vec![]]);
    assert_eq!(said(&root, &leaf, &[list(&root, &[5], stale)]), [["revoked"], ["revoked"]]);
    let future = |params: &mut CertificateRevocationListParams| params.this_update = date_time_ymd(2026, 6, 2);
    assert_eq!(said(&root, &leaf, &[list(&root, &[5], future)]), [vec!["revocation-unknown"], vec![]]);
}

#[test]
fn only_who_may_signs_a_list() {
    let (root, impostor) = (Authority::root("root", same), Authority::root("root", same));
    let leaf = root.leaf("a.test", numbered(5));
    assert_eq!(said(&root, &leaf, &[list(&impostor, &[5], no_change)]), [vec!["revocation-unknown"], vec![]]);
    let mute = Authority::root("root", |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let leaf = mute.leaf("a.test", numbered(5));
    assert_eq!(said(&mute, &leaf, &[list(&mute, &[5], no_change)]), [vec!["revocation-unknown"], vec![]]);
}

#[test]
fn a_list_speaks_for_its_place_and_kind() {
    let root = Authority::root("root", same);
    let at = |uri: &'static str| CrlDistributionPoint { uris: vec![uri.to_owned()] };
    let leaf = root.leaf("a.test", |params| {
        params.serial_number = Some(vec![5].into());
        params.crl_distribution_points = vec![at("http://a.test/1")];
    });
    let scoped = |uri, scope| {
        list(&root, &[], |params| {
            let distribution_point = at(uri);
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        })
    };
    let unknown = vec!["revocation-unknown"];
    for (uri, scope, expected) in [
        ("http://a.test/1", None, vec![]),
        ("http://a.test/2", None, unknown.clone()),
        ("http://a.test/1", Some(CrlScope::UserCertsOnly), vec![]),
        ("http://a.test/1", Some(CrlScope::CaCertsOnly), unknown.clone()),
    ] {
        assert_eq!(said(&root, &leaf, &[scoped(uri, scope)])[0], expected, "{uri} {scope:?}");
    }
    let nowhere = root.leaf("a.test", numbered(5));
    assert_eq!(said(&root, &nowhere, &[scoped("http://a.test/1", None)])[0], unknown, "the certificate names no place");
}

#[test]
fn a_certificate_twice_on_a_list_makes_it_useless() {
    let root = Authority::root("root", same);
    let leaf = root.leaf("a.test", numbered(5));
    assert_eq!(said(&root, &leaf, &[list(&root, &[4, 4], no_change)])[0], ["revocation-unknown"]);
}

#[test]
fn lists_are_read_in_pem_and_der_and_nothing_else() {
    let root = Authority::root("root", same);
    let list = list(&root, &[4], no_change);
    let text = crate::certificate::pem("X509 CRL", list.der());
    assert_eq!(Crl::all(format!("{text}{text}").as_bytes()).unwrap(), [list.clone(), list.clone()]);
    assert_eq!((list.revoked, list.next_update), (1, "2026-07-01T00:00:00Z".parse().unwrap()));
    assert!(matches!(Crl::all(b"hello"), Err(CrlError::Nothing)));
    assert!(matches!(Crl::all(root.certificate.der()), Err(CrlError::Malformed(_))));
    let mut longer = list.der().to_vec();
    longer.push(0);
    assert!(matches!(Crl::all(&longer), Err(CrlError::Malformed(_))));
}
