//! Rotation of keys that sign tokens: whatever was signed is verified by the JWKS of that moment, and by one that was
//! fetched before.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testbed::run;

use super::fixture::{Bench, ended};

fn spec(kind: &str, more: &str) -> String {
    format!(
        "[secrets.jwt]\nkind = \"{kind}\"\ndestinations = [{{ file = \"DIR/key.pem\" }}, {{ jwks = \"DIR/jwks.json\" }}]\n\
         apply = {{ jwt = {{ overlap = \"24h\" }} }}\n{more}\n"
    )
}

fn at(bench: &Bench, time: &str) -> testbed::Output {
    bench.run(&["secrets", "rotate", &bench.spec_path(), "jwt", "--at", time])
}

fn jwks(bench: &Bench) -> Vec<Value> {
    let set: Value = serde_json::from_str(&bench.read("jwks.json")).unwrap();
    set["keys"].as_array().unwrap().clone()
}

fn openssl(args: &[&str], files: &[(&str, &Path)]) -> i32 {
    let mut command = Command::new("openssl");
    command.args(args);
    for (flag, path) in files {
        command.arg(flag).arg(path);
    }
    run(&mut command).unwrap().code
}

/// Signs as an application would, with the key that the file has now.
fn sign(bench: &Bench, token: &str) -> Vec<u8> {
    let (message, signature) = (bench.path("message"), bench.path("signature"));
    fs::write(&message, token).unwrap();
    let key = bench.app("key.pem");
    let code = openssl(&["pkeyutl", "-sign", "-rawin"], &[("-inkey", &key), ("-in", &message), ("-out", &signature)]);
    assert_eq!(code, 0);
    fs::read(signature).unwrap()
}

/// Whether a key of a JWKS verifies a signature, by openssl.
fn verifies(bench: &Bench, keys: &[Value], token: &str, signature: &[u8]) -> bool {
    let (message, file, public) = (bench.path("message"), bench.path("signature"), bench.path("public"));
    fs::write(&message, token).unwrap();
    fs::write(&file, signature).unwrap();
    keys.iter().any(|jwk| {
        fs::write(&public, der(jwk)).unwrap();
        let files: [(&str, &Path); 3] = [("-inkey", &public), ("-in", &message), ("-sigfile", &file)];
        openssl(&["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"], &files) == 0
    })
}

/// A JWK as a SubjectPublicKeyInfo, put together by hand: nothing of the program under test is in it.
fn der(jwk: &Value) -> Vec<u8> {
    let member = |name: &str| base64url(jwk[name].as_str().unwrap());
    let tagged = |tag: u8, content: &[u8]| {
        let length = content.len();
        let mut out = vec![tag];
        match length {
            0..128 => out.push(length as u8),
            128..256 => out.extend([0x81, length as u8]),
            _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend_from_slice(content);
        out
    };
    let bits = |content: &[u8]| tagged(3, &[&[0], content].concat());
    let (algorithm, key) = match jwk["kty"].as_str().unwrap() {
        "OKP" => (vec![0x06, 0x03, 0x2b, 0x65, 0x70], member("x")),
        "EC" => {
            let ids = [
                &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01][..],
                &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            ];
            (ids.concat(), [vec![4], member("x"), member("y")].concat())
        }
        _ => {
            let number = |name: &str| tagged(2, &[vec![0], member(name)].concat());
            let e = tagged(2, &member("e"));
            let id = vec![0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
            (id, tagged(0x30, &[number("n"), e].concat()))
        }
    };
    tagged(0x30, &[tagged(0x30, &algorithm), bits(&key)].concat())
}

fn base64url(text: &str) -> Vec<u8> {
    let (mut held, mut bits, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        held = held << 6 | alphabet.iter().position(|known| *known == byte).unwrap() as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    out
}

#[test]
fn every_token_in_use_is_verified_at_every_step() {
    for kind in ["jwt-ed25519", "jwt-es256", "jwt-rsa"] {
        let bench = Bench::new(&spec(kind, if kind == "jwt-rsa" { "bits = 2048" } else { "" }));
        fs::write(bench.app("jwks.json"), "{\"keys\": [{\"kid\": \"elsewhere\", \"kty\": \"oct\", \"k\": \"AA\"}]}")
            .unwrap();
        ended(&bench.generate(), 0, "jwt", "ok");
        let ours = |bench: &Bench| jwks(bench).into_iter().filter(|key| key["kid"] != "elsewhere").collect::<Vec<_>>();
        let (before, first) = (ours(&bench), sign(&bench, "first"));
        assert_eq!(before.len(), 1);
        assert!(verifies(&bench, &before, "first", &first) && !verifies(&bench, &before, "other", &first));

        // Announced: two keys, and the old one signs.
        ended(&at(&bench, "2030-01-01T00:00:00Z"), 0, "jwt", "ok");
        let announced = ours(&bench);
        assert_eq!(announced.len(), 2);
        let second = sign(&bench, "second");
        assert!(verifies(&bench, &before, "second", &second), "a JWKS fetched before is still good");
        ended(&at(&bench, "2030-01-01T11:59:59Z"), 0, "jwt", "ok");
        assert!(verifies(&bench, &before, "second", &sign(&bench, "second")), "it was switched too early");

        // Switched: the new one signs; every token is good with the JWKS that verifiers fetched in the meantime.
        ended(&at(&bench, "2030-01-01T12:00:00Z"), 0, "jwt", "ok");
        let third = sign(&bench, "third");
        assert!(!verifies(&bench, &before, "third", &third), "the old key signs");
        for keys in [&announced, &ours(&bench)] {
            assert!(verifies(&bench, keys, "second", &second) && verifies(&bench, keys, "third", &third));
        }
        ended(&at(&bench, "2030-01-02T11:59:59Z"), 0, "jwt", "ok");
        assert_eq!(ours(&bench).len(), 2, "the old key was dropped too early");

        // Dropped, a whole overlap after its last token.
        let done = at(&bench, "2030-01-02T12:00:00Z");
        let kid = ended(&done, 0, "jwt", "ok")["fingerprint"].as_str().unwrap().to_owned();
        let last = ours(&bench);
        assert_eq!(last.len(), 1);
        assert_eq!(format!("kid:{}", last[0]["kid"].as_str().unwrap()), kid);
        assert!(verifies(&bench, &last, "third", &third) && !verifies(&bench, &last, "second", &second));
        assert!(jwks(&bench).iter().any(|key| key["kid"] == "elsewhere"), "a key of others is gone");
        bench.is_at_rest();
    }
}

#[test]
fn killed_anywhere_the_key_that_signs_is_in_the_jwks() {
    let bench = Bench::new(&spec("jwt-ed25519", ""));
    bench.generate();
    let places = [
        "jwt-begun",
        "secret-staged",
        "secret-placed",
        "jwt-published",
        "jwt-announced",
        "jwt-placed",
        "jwt-reloaded",
        "jwt-proven",
        "jwt-switched",
        "jwt-dropped",
        "jwt-ended",
    ];
    for (place, year) in places.into_iter().zip(2031..) {
        let before = jwks(&bench);
        let mut killed = false;
        for day in [1, 1, 2, 2, 4, 4, 6, 8] {
            let time = format!("{year}-01-{day:02}T00:00:00Z");
            let env = if killed { vec![] } else { vec![("MAINT_KILL_AT", place)] };
            let output = bench.run_with(&["secrets", "rotate", &bench.spec_path(), "jwt", "--at", &time], &env);
            assert!(output.code == 0 || output.code == 137 && !killed, "{place}: {output}");
            killed |= output.code == 137;
            let signature = sign(&bench, "token");
            assert!(verifies(&bench, &jwks(&bench), "token", &signature), "{place} at {time}");
            if !rotating(&bench) && jwks(&bench) != before {
                break;
            }
        }
        assert!(killed, "{place} was not passed");
        assert!(jwks(&bench).len() == 1 && jwks(&bench) != before, "{place}: the rotation did not end");
        assert!(!rotating(&bench), "{place}");
        if place != "jwt-ended" {
            bench.is_at_rest();
        }
    }
}

fn rotating(bench: &Bench) -> bool {
    testbed::files(&bench.path("state")).iter().any(|path| path.ends_with("rotation.json"))
}

#[test]
fn a_signer_that_is_not_well_gets_its_old_key_back_and_keeps_verifying() {
    let bench = Bench::new(&spec("jwt-es256", "verify = [\"cmp\", \"-s\", \"DIR/key.pem\", \"DIR/first.pem\"]"));
    bench.generate();
    fs::copy(bench.app("key.pem"), bench.app("first.pem")).unwrap();
    ended(&at(&bench, "2030-01-01T00:00:00Z"), 0, "jwt", "ok");
    let record = ended(&at(&bench, "2030-01-01T12:00:00Z"), 10, "jwt", "rolled-back");
    assert!(record["message"].as_str().unwrap().contains("the old key signs again"), "{record}");
    assert_eq!(bench.read("key.pem"), bench.read("first.pem"));
    assert_eq!(jwks(&bench).len(), 2);
    assert!(verifies(&bench, &jwks(&bench), "token", &sign(&bench, "token")));
}

#[test]
fn a_jwks_that_lost_the_new_key_starts_the_time_anew() {
    let bench = Bench::new(&spec("jwt-es256", ""));
    bench.generate();
    let before = bench.read("jwks.json");
    ended(&at(&bench, "2030-01-01T00:00:00Z"), 0, "jwt", "ok");
    fs::write(bench.app("jwks.json"), before).unwrap();
    let record = ended(&at(&bench, "2030-01-01T12:00:00Z"), 0, "jwt", "ok");
    assert_eq!(record["next_at"], "2030-01-02T00:00:00Z");
    assert_eq!(jwks(&bench).len(), 2);
}

#[test]
fn without_an_overlap_a_key_is_not_rotated() {
    let bench = Bench::new("[secrets.jwt]\nkind = \"jwt-es256\"\ndestinations = [{ file = \"DIR/key.pem\" }]\n");
    bench.generate();
    let output = bench.rotate("jwt");
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("overlap"), "{output}");
}
