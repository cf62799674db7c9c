//! Ten thousand files: which are due?

use std::fs;

use maint_core::failure::Failure;
use testbed::{KeyKind, Leaf, Pki};

use super::{Bench, Contest, checked, failed, shell, timed};

/// Files in all.
const FILES: usize = 10_000;
/// Certificates that are different; the rest are copies, which nothing here takes notice of.
const DIFFERENT: usize = 100;
/// Files that the loop is measured on: all would take minutes a round, and a loop costs the same for every file.
const SAMPLE: usize = 500;

const CONTEST: Contest = Contest {
    name: "due: 10000 files",
    peer: "a loop of openssl x509 -checkend",
    goal: 300.0,
    parts: (FILES / SAMPLE) as f64,
};

pub(super) fn bench(bench: &Bench<'_>) -> Result<(), Failure> {
    let pki = Pki::new().map_err(|error| failed(&error))?;
    let root = pki.root("root", KeyKind::P256).map_err(|error| failed(&error))?;
    let dir = pki.dir().join("files");
    let broken = |error: std::io::Error| Failure::critical(format!("cannot write {}: {error}", dir.display()));
    fs::create_dir(&dir).map_err(broken)?;
    for number in 0..DIFFERENT {
        let key = if number % 2 == 0 { KeyKind::P256 } else { KeyKind::Rsa };
        let name = format!("n{number}.example.test");
        let names = [name.as_str()];
        let leaf = Leaf { key, ..Leaf::of(&names) };
        let pair = pki.leaf(&leaf, &root).map_err(|error| failed(&error))?;
        for copy in 0..FILES / DIFFERENT {
            fs::copy(&pair.cert, dir.join(format!("{copy:03}-{number:03}.pem"))).map_err(broken)?;
        }
    }
    let ours = |_| checked(bench.ours().args(["check-renewal", "--offline"]).arg(&dir), FILES);
    let peer = |_| {
        let mut files: Vec<_> = fs::read_dir(&dir).map_err(broken)?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files.truncate(SAMPLE);
        let script = "for file; do openssl x509 -checkend 2592000 -noout -in \"$file\" >/dev/null || exit 1; done";
        timed(shell(script).args(files)).map(|(seconds, _)| seconds)
    };
    bench.compare(&CONTEST, &ours, &peer)
}
