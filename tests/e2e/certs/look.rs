//! inspect, inventory, convert and import, against openssl, keytool, certbot and a server.

mod convert;
mod import;
mod inspect;
mod inventory;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testbed::{Output, records, run, tool};

/// The program in a directory of its own, with its state and its certificates there.
fn cert_rotate(dir: &Path, args: &[&str]) -> Command {
    let mut command = tool("cert-rotate", dir).unwrap();
    command.env("CERT_DIRECTORY", dir.join("ours")).args(["-o", "ndjson"]).args(args);
    command
}

fn done(dir: &Path, args: &[&str]) -> Output {
    run(&mut cert_rotate(dir, args)).unwrap()
}

/// Runs it, and it must end so.
#[track_caller]
fn ends(dir: &Path, code: i32, args: &[&str]) -> Vec<Value> {
    let output = done(dir, args);
    assert_eq!(output.code, code, "{args:?}: {output}");
    let mut records = records(&output.stdout).unwrap();
    records.retain(|record| record["type"] != "maint.summary.v1");
    records
}

/// A script that must succeed, in a directory; what it wrote.
#[track_caller]
fn sh(dir: &Path, script: &str) -> String {
    let output = run(Command::new("bash").args(["-euc", script]).current_dir(dir)).unwrap();
    assert_eq!(output.code, 0, "{script}: {output}");
    output.stdout
}

/// The mode of a file.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn codes(records: &[Value]) -> Vec<&str> {
    records.iter().filter_map(|record| record["data"]["code"].as_str()).collect()
}
