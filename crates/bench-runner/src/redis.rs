//! `redis`: Redis under load.

use maint_core::failure::Failure;
use maint_core::secret;

use crate::api::one;
use crate::cli::RedisArgs;
use crate::report::rate;
use crate::target::{Commands, Target};
use crate::work::Work;

/// Sends the load and judges what came of it.
///
/// # Errors
/// The target does not hold or cannot be reached.
pub fn run(args: &RedisArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let password = secret::from_env("REDISCLI_AUTH").map_err(|error| Failure::usage(error.to_string()))?;
    let commands = Commands {
        workload: args.workload.clone(),
        pipeline: args.pipeline,
        keys: args.keys,
        size: usize::try_from(args.size).unwrap_or(usize::MAX),
    };
    let target = Target::redis(&args.url, password.as_ref(), &commands, &args.allow_host)?;
    let ran = one(&target, &args.drive.load(), &args.told, work)?;
    work.run.result("commands_per_second", rate(&ran) * f64::from(args.pipeline));
    Ok(())
}
