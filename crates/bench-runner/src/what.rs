//! A target by its URL, whatever is spoken there.

use maint_core::failure::Failure;
use maint_core::secret;

use crate::cli::WhatArgs;
use crate::database;
use crate::target::{Commands, Target};

/// How many keys of Redis are used.
const KEYS: u64 = 10_000;

/// Finds it, and prepares what is asked of it.
///
/// # Errors
/// The URL or the workload does not hold, or load must not go there.
pub fn target(url: &str, args: &WhatArgs) -> Result<Target, Failure> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let workload = |default: &'static str| args.workload.clone().unwrap_or_else(|| default.to_owned());
    match scheme {
        "postgres" | "postgresql" => {
            database::target(Some(url), &workload("select-only"), &args.define, &args.allow_host)
        }
        "redis" | "rediss" | "unix" | "redis+unix" => {
            let password = secret::from_env("REDISCLI_AUTH").map_err(|error| Failure::usage(error.to_string()))?;
            let commands = Commands { workload: workload("get"), pipeline: 1, keys: KEYS, size: 3 };
            Target::redis(url, password.as_ref(), &commands, &args.allow_host)
        }
        _ => match &args.workload {
            None => Target::new(url, &args.ask.ask()?, &args.allow_host),
            Some(_) => Err(Failure::usage("--workload is of databases and Redis").hint("-m, -H and -b are of HTTP")),
        },
    }
}
