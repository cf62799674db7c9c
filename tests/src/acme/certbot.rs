//! certbot, from the Python package index: what orders are compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::setup::{cached, program, step};
use crate::tool::clean;

const PACKAGE: &str = "certbot==5.8.0";

/// What the script `certbot` does that pip puts beside the packages.
const MAIN: &str = "import sys\nfrom certbot.main import main\nsys.exit(main(sys.argv[1:]))";

/// certbot, ready for arguments, with its files below `dir`. It trusts the authority in the file `ca` for its conversation
/// with the server, and asks nothing.
pub fn certbot(dir: &Path, ca: &Path) -> Result<Command> {
    let packages = packages()?;
    let mut command = Command::new("python3");
    clean(&mut command);
    command.env("PYTHONPATH", packages).env("REQUESTS_CA_BUNDLE", ca).args(["-c", MAIN, "--non-interactive"]);
    for (option, name) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
        command.arg(option).arg(dir.join(name));
    }
    command.current_dir(dir);
    Ok(command)
}

/// Fetches certbot unless it is there, so that a machine that cannot have it is known early.
pub fn fetch() -> Result<()> {
    packages().map(drop)
}

/// The directory of the packages, fetched on first use.
fn packages() -> Result<PathBuf> {
    cached(PACKAGE, |work| {
        let what = "fetching certbot with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--only-binary=:all:", "--target", "ready", PACKAGE]);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })
}
