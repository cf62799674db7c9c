//! One certificate from an ACME server, from nothing: account, order, proof by http-01, key, certificate on disk.

use std::fs;
use std::path::PathBuf;

use maint_core::failure::Failure;
use testbed::Pebble;
use testbed::acme::certbot;

use super::{Bench, Contest, failed, timed};

const CONTEST: Contest = Contest { name: "order: one certificate", peer: "certbot", goal: 2.5, parts: 1.0 };

const NAME: &str = "www.example.test";

pub(super) fn bench(bench: &Bench<'_>) -> Result<(), Failure> {
    let server = Pebble::start().map_err(|error| failed(&error))?;
    let root = server.root(0).map_err(|error| failed(&error))?;
    let ours = |_| {
        let dir = fresh(bench, "ours")?;
        let certs = dir.join("certs.toml");
        write(
            &certs,
            &format!(
                "[issuers.public]\nkind = \"acme\"\ndirectory = {:?}\nca_file = \"{}\"\nroots = \"{}\"\n\
                 contact = [\"ops@example.test\"]\nchallenge = {{ type = \"http-01\", listen = \"127.0.0.1:{}\" }}\n\
                 [certs.web]\nnames = [{NAME:?}]\nissuer = \"public\"\n",
                server.directory(),
                server.ca().display(),
                root.display(),
                server.http_port()
            ),
        )?;
        let config = dir.join("maint.toml");
        write(&config, &format!("[cert-rotate]\ndirectory = \"{}\"\n", dir.join("certs").display()))?;
        let mut command = bench.ours();
        command.arg("--config").arg(&config).arg("--certs").arg(&certs).args(["letsencrypt-renewal", "web"]);
        let (seconds, _) = timed(&mut command)?;
        there(&dir.join("certs/live/web/fullchain.pem"))?;
        Ok(seconds)
    };
    // Fetched before anything is measured.
    certbot(&bench.state, server.ca()).map_err(|error| failed(&error))?;
    let peer = |_| {
        let dir = fresh(bench, "certbot")?;
        let mut command = certbot(&dir, server.ca()).map_err(|error| failed(&error))?;
        command.args(["certonly", "--standalone", "--http-01-address", "127.0.0.1", "--http-01-port"]);
        command.args([&server.http_port().to_string(), "--server", &server.directory(), "--agree-tos"]);
        command.args(["--email", "ops@example.test", "--no-eff-email", "-d", NAME]);
        let (seconds, _) = timed(&mut command)?;
        there(&dir.join("config/live").join(NAME).join("fullchain.pem"))?;
        Ok(seconds)
    };
    bench.compare(&CONTEST, &ours, &peer)
}

/// An empty directory.
fn fresh(bench: &Bench<'_>, name: &str) -> Result<PathBuf, Failure> {
    let dir = bench.state.join(format!("order-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).map_err(|error| Failure::critical(format!("cannot create {}: {error}", dir.display())))?;
    Ok(dir)
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::critical(format!("cannot write {}: {error}", path.display())))
}

fn there(path: &std::path::Path) -> Result<(), Failure> {
    if path.is_file() { Ok(()) } else { Err(Failure::critical(format!("{} was not written", path.display()))) }
}
