//! The account: bound to another, rolled over, closed; and certificates taken back with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testbed::Pebble;

use super::{Place, WEB, quoted};

#[test]
fn an_account_is_bound_to_the_one_that_the_authority_gave_out() {
    let place = Place::pebble(&Pebble::builder().require_external_account());
    let told = place.renew().ends_with(3);
    assert!(told.all().contains("eab_key_id"), "{}", told.all());
    let (id, key) = Pebble::external_account();
    let file = place.path("hmac");
    fs::write(&file, key).unwrap();
    let issuer = format!("eab_key_id = {id:?}\neab_hmac_file = {}", quoted(&file));
    place.configure(&issuer, &place.authority.http(), WEB);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = place.renew().ends_with(3);
    assert!(told.all().contains("can be read by others"), "{}", told.all());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let told = place.renew().ends_with(0);
    assert!(!told.all().contains(key));
}

#[test]
fn a_new_key_is_the_one_that_orders_from_then_on() {
    let place = Place::pebble(&Pebble::builder());
    let before = place.run(&["account", "register", "public"]).ends_with(0);
    let again = place.run(&["account", "register", "public"]).ends_with(0);
    let thumb = |told: &super::Told, kind: &str| told.of(kind)[0]["key_thumbprint"].as_str().unwrap().to_owned();
    assert_eq!(thumb(&before, "step"), thumb(&again, "step"));
    let old = fs::read_to_string(place.path("certs/accounts/public.json")).unwrap();
    let after = place.run(&["account", "rollover", "public"]).ends_with(0);
    assert_ne!(thumb(&before, "step"), thumb(&after, "step"));
    let shown = place.run(&["account", "show", "public"]).ends_with(0);
    assert_eq!(thumb(&shown, "check"), thumb(&after, "step"));
    place.renew().ends_with(0);
    // The old key opens nothing any more.
    fs::write(place.path("certs/accounts/public.json"), old).unwrap();
    place.run(&["account", "show", "public"]).ends_with(2);
}

#[test]
fn a_closed_account_is_told_and_a_new_one_is_registered() {
    let place = Place::pebble(&Pebble::builder());
    place.renew().ends_with(0);
    let kept = fs::read_to_string(place.path("certs/accounts/public.json")).unwrap();
    let told = place.run(&["account", "deactivate", "public"]).ends_with(3);
    assert!(told.all().contains("--yes"), "{}", told.all());
    place.run(&["account", "deactivate", "--yes", "public"]).ends_with(0);
    let told = place.run(&["account", "show", "public"]).ends_with(3);
    assert!(told.all().contains("account register public"), "{}", told.all());
    // As when it was closed elsewhere.
    fs::write(place.path("certs/accounts/public.json"), kept).unwrap();
    place.run(&["account", "show", "public"]).ends_with(2);
    let told = place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(2);
    assert!(told.all().contains("account show public"), "{}", told.all());
    fs::remove_file(place.path("certs/accounts/public.json")).unwrap();
    place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(0);
}

#[test]
fn a_certificate_is_taken_back_and_the_authority_says_so() {
    let place = Place::pebble(&Pebble::builder());
    place.renew().ends_with(0);
    let serial = place.openssl(&["-serial"]).strip_prefix("serial=").unwrap().to_lowercase();
    assert_eq!(place.server().status(&serial).unwrap(), "Valid");
    place.run(&["revoke", "web"]).ends_with(3);
    place.run(&["revoke", "--dry-run", "web"]).ends_with(0);
    assert_eq!(place.server().status(&serial).unwrap(), "Valid");
    // It is live, and stays so: revoking is one thing, and what servers show another.
    let told = place.run(&["revoke", "--yes", "--reason", "superseded", "web"]).ends_with(1);
    assert_eq!(told.of("finding")[0]["code"], "live-revoked", "{}", told.all());
    assert_eq!(place.server().status(&serial).unwrap(), "Revoked");
    let told = place.run(&["revoke", "--yes", "web"]).ends_with(1);
    assert!(told.of("step")[0]["message"].as_str().unwrap().contains("already"), "{}", told.all());
    place.run(&["rotate", "--force", "web"]).ends_with(0);
    place.run(&["revoke", "--yes", "web", "1"]).ends_with(0);
    let told = place.run(&["revoke", "--yes", "--reason", "boredom", "web"]).ends_with(3);
    assert!(told.all().contains("key-compromise"), "{}", told.all());
}
