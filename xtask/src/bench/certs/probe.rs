//! A hundred names on a server: what do they show?

use maint_core::failure::Failure;
use testbed::{KeyKind, Leaf, Nginx, Pki};

use super::{Bench, Contest, checked, failed, shell, timed};

const ENDPOINTS: usize = 100;
/// Certificates that are different, half of them RSA.
const DIFFERENT: usize = 10;

/// The loop looks once at each; we ask for the two other kinds of keys as well.
const CONTEST: Contest =
    Contest { name: "probe: 100 endpoints", peer: "a loop of openssl s_client", goal: 10.0, parts: 1.0 };

pub(super) fn bench(bench: &Bench<'_>) -> Result<(), Failure> {
    let pki = Pki::new().map_err(|error| failed(&error))?;
    let root = pki.root("root", KeyKind::P256).map_err(|error| failed(&error))?;
    let mut pairs = Vec::new();
    for number in 0..DIFFERENT {
        let key = if number % 2 == 0 { KeyKind::P256 } else { KeyKind::Rsa };
        let leaf = Leaf { key, ..Leaf::of(&["example.test"]) };
        pairs.push(pki.leaf(&leaf, &root).map_err(|error| failed(&error))?);
    }
    let names: Vec<String> = (0..ENDPOINTS).map(|number| format!("n{number}.example.test")).collect();
    let mut builder = Nginx::builder();
    for (name, pair) in names.iter().zip(pairs.iter().cycle()) {
        builder = builder.site(name, &[(&pair.chain, &pair.key)]);
    }
    let nginx = builder.start().map_err(|error| failed(&error))?;
    let port = nginx.port();
    let targets: Vec<String> = names.iter().map(|name| format!("127.0.0.1:{port};sni={name}")).collect();
    let ours = |_| checked(bench.ours().arg("probe").args(&targets), ENDPOINTS);
    let peer = |_| {
        let script = format!(
            "for name; do openssl s_client -connect 127.0.0.1:{port} -servername \"$name\" </dev/null >/dev/null 2>&1 || \
             exit 1; done"
        );
        timed(shell(&script).args(&names)).map(|(seconds, _)| seconds)
    };
    bench.compare(&CONTEST, &ours, &peer)
}
