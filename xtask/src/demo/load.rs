//! The demo's Monday and Thursday: a service, a baseline of how fast it is, and a load test.

use std::path::Path;

use maint_core::cli::CommonArgs;
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;
use testbed::Nginx;

use super::{Routine, say};
use crate::routine::Cycle;

/// bench-runner's steps of the week, without the programs beside them.
const DAYS: &str = "[weekly.monday]\ntitle = \"How fast it is\"\n[[weekly.monday.step]]\n\
    command = [\"bench-runner\", \"baseline\"]\ntimeout = \"5m\"\n\
    [weekly.thursday]\ntitle = \"Load\"\n[[weekly.thursday.step]]\n\
    command = [\"bench-runner\", \"load\"]\ntimeout = \"5m\"\n";

pub(super) async fn days(
    demo: &Routine<'_>,
    base: &str,
    common: &CommonArgs,
    run: &Run,
) -> Result<Option<Exit>, Failure> {
    let service = Nginx::builder().workers(1).plain_with("", "location / { return 200; }").start();
    let service = service.map_err(|error| Failure::critical(format!("the demo's service: {error}")))?;
    let scenario = format!(
        "name = \"shop\"\nbase = \"http://127.0.0.1:{}\"\nconnections = 20\n\
         stages = [{{ duration = \"2s\", rate = 300 }}, {{ duration = \"3s\", rate = 300 }}]\n\
         [[route]]\nname = \"list\"\nurl = \"/list\"\nweight = 3\n[[route]]\nname = \"buy\"\nurl = \"/buy\"\nmethod = \"POST\"\n",
        service.http_port()
    );
    let scenario = demo.write("scenario.toml", &scenario)?;
    let config = demo.write("maint.toml", &format!("{base}\n[bench-runner]\nscenario = \"{scenario}\"\n"))?;
    let routines = demo.write("performance.toml", DAYS)?;
    say(common, "Monday and Thursday: bench-runner keeps how fast a service is, and puts load on it");
    for day in ["monday", "thursday"] {
        let exit = demo.run(Cycle::Week, day, Some(routines.clone().into()), Path::new(&config), common, run).await?;
        if exit.is_some() {
            return Ok(exit);
        }
    }
    Ok(None)
}
