//! `bin`: programs that rustc really linked, with the list of packages that cargo-auditable would have put into them, and
//! without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testbed::run;

use super::update_world::{World, of_kind};

const REGISTRY: &str = concat!("crates", ".io");

fn good(command: &mut Command) {
    let output = run(command).unwrap();
    assert_eq!(output.code, 0, "{output}");
}

/// A program with a crate `used` in it that can panic, built below a directory as cargo lays them out.
fn program(world: &World) -> PathBuf {
    let source = world.path("cargo/registry/src/index-0123456789abcdef/used-1.0.0/src");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("lib.rs"), "#[inline(never)]\npub fn of(n: usize) -> usize { [1, 2, 3][n] }\n").unwrap();
    let library = world.path("libused.rlib");
    good(Command::new("rustc").args(["--crate-type", "rlib", "-o"]).arg(&library).arg(source.join("lib.rs")));
    let main = world.path("main.rs");
    fs::write(&main, "fn main() { println!(\"{}\", used::of(std::env::args().count())); }\n").unwrap();
    let program = world.path("program");
    good(
        Command::new("rustc")
            .arg("--extern")
            .arg(format!("used={}", library.display()))
            .arg("-o")
            .arg(&program)
            .arg(&main),
    );
    program
}

/// The same with bytes in its section of packages.
fn with_section(world: &World, program: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let (section, into) = (world.path("section"), world.path(name));
    fs::write(&section, bytes).unwrap();
    let section = format!(".dep-v0={}", section.display());
    good(Command::new("objcopy").args(["--add-section", &section]).arg(program).arg(&into));
    into
}

/// As cargo-auditable compresses it.
fn compressed(world: &World, list: &Value) -> Vec<u8> {
    let plain = world.path("list.json");
    fs::write(&plain, list.to_string()).unwrap();
    let script = "import sys,zlib; d=open(sys.argv[1],'rb').read(); open(sys.argv[1],'wb').write(zlib.compress(d))";
    good(Command::new("python3").args(["-c", script]).arg(&plain));
    fs::read(plain).unwrap()
}

fn bin(world: &World, program: &Path) -> (testbed::Output, Vec<Value>) {
    world.run(&["bin", program.to_str().unwrap()])
}

/// Cargo has been there: its cache knows which releases were taken back.
fn world() -> World {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.advisory("RUSTSEC-2026-0042", "used", "patched = [\">= 1.0.1\"]");
    world.advisory("RUSTSEC-2026-0043", "builder", "patched = [\">= 2.0.0\"]");
    world
}

#[test]
fn a_program_that_carries_its_packages_is_judged_by_all_of_them() {
    let world = world();
    let program = program(&world);
    let list = |used: &str| {
        json!({"packages": [
            {"name": "app", "version": "0.1.0", "source": "local", "root": true, "dependencies": [1, 2, 3]},
            {"name": "builder", "version": "1.0.0", "source": REGISTRY, "kind": "build"},
            {"name": "forked", "version": "0.2.0", "source": "git"},
            {"name": "used", "version": used, "source": REGISTRY},
        ]})
    };
    let bytes = compressed(&world, &list("1.0.0"));
    let bad = with_section(&world, &program, "bad", &bytes);
    let (output, all) = bin(&world, &bad);
    assert_eq!(output.code, 2, "{output}");
    let of = |id: &str| {
        let found = of_kind(&all, "finding").into_iter().find(|finding| finding["data"]["id"] == id).unwrap();
        (found["subject"].clone(), found["data"]["status"].clone(), found["data"]["tier"].clone())
    };
    assert_eq!(of("RUSTSEC-2026-0042"), (json!("used@1.0.0"), json!("critical"), json!("active")));
    assert_eq!(
        of("RUSTSEC-2026-0043"),
        (json!("builder@1.0.0"), json!("warning"), json!("gated")),
        "not in the program"
    );
    assert_eq!(of(""), (json!("forked@0.2.0"), json!("warning"), Value::Null), "nobody looked");
    let metric = &of_kind(&all, "metric")[0]["data"];
    assert_eq!(
        (&metric["evidence"], &metric["packages"], &metric["advisories"]),
        (&json!("auditable"), &json!(4), &json!(2)),
        "{output}"
    );
    // The healthy twin: without the fork, and patched.
    let mut healthy = list("1.0.1");
    healthy["packages"].as_array_mut().unwrap().remove(2);
    healthy["packages"][0]["dependencies"] = json!([1, 2]);
    healthy["packages"][1]["version"] = json!("2.0.0");
    let good = with_section(&world, &program, "good", &compressed(&world, &healthy));
    let (output, _) = bin(&world, &good);
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn a_program_that_cannot_be_looked_into_never_passes() {
    let world = world();
    let program = program(&world);
    // What its panics name is found; that they name no other crate tells nothing.
    let (output, all) = bin(&world, &program);
    assert_eq!(output.code, 2, "{output}");
    let check = &of_kind(&all, "check")[0];
    assert_eq!(
        (&check["data"]["status"], &check["data"]["evidence"]),
        (&json!("unknown"), &json!("panic-messages")),
        "{output}"
    );
    fs::remove_dir_all(world.path("db/crates/used")).unwrap();
    let (output, _) = bin(&world, &program);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("cargo auditable"), "{output}");
    // No Rust in it, no program, damaged, not there.
    let list = json!({"packages": [{"name": "app", "version": "0.1.0", "source": "local", "root": true}]});
    let mut flipped = compressed(&world, &list);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let text = world.path("text");
    fs::write(&text, "#!/bin/sh\n").unwrap();
    let others = [
        PathBuf::from("/usr/bin/env"),
        text,
        with_section(&world, &program, "flipped", &flipped),
        with_section(&world, &program, "empty", b""),
        world.path("none"),
    ];
    for other in others {
        let (output, all) = bin(&world, &other);
        assert_eq!(output.code, 3, "{}: {output}", other.display());
        assert_eq!(of_kind(&all, "check")[0]["data"]["status"], "unknown", "{output}");
    }
}
