//! `setup`: installs what the tests and the demo need, or says exactly what to type.

use crate::workspace;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::setup::{command_line, install, missing};

/// Installs what is missing, and looks again.
pub(crate) fn setup(run: &Run) -> Result<(), Failure> {
    let needs = missing();
    if needs.is_empty() {
        run.emit(&Record::new(Kind::Check, "packages", Status::Ok, "everything that is needed is installed"));
        return Ok(());
    }
    let names: Vec<&str> = needs.iter().map(|need| need.package).collect();
    workspace::say(&format!("missing: {}", names.join(", ")));
    install(&needs).map_err(|error| {
        Failure::usage(format!("cannot install {}: {error}", names.join(", ")))
            .hint(format!("run this, then try again: {}", command_line(&needs)))
    })?;
    let still = missing();
    for need in &needs {
        let there = !still.iter().any(|other| other.package == need.package);
        let (status, text) =
            if there { (Status::Ok, "installed") } else { (Status::Failed, "still missing after installing") };
        run.emit(&Record::new(Kind::Step, need.package, status, text));
    }
    Ok(())
}
