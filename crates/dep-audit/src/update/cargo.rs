//! Other programs at work on a workspace: cargo, and what verifies a new lock file.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use maint_core::child::{Child, CommandSpec, Line, Stdin};
use maint_core::failure::Failure;
use tokio::io::AsyncWriteExt as _;

use crate::work::Work;

/// Cargo may have to fetch an index and crates.
pub(crate) const UPDATE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// A workspace may be large, and its tests slow.
pub(crate) const VERIFY_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Between asking to end and killing.
const GRACE: Duration = Duration::from_secs(5);

/// How many lines of what a program said are kept for messages.
const TAIL: usize = 12;

/// Waits in the workspace's directory until it is told to go on, and is the program from then on. Cargo reads its
/// configuration from the working directory, and must not start before its number is noted.
const GATE: &str = r#"cd "$1" && read -r _ && shift && exec "$@""#;

/// How a program ended.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    /// It was ended because the run was.
    pub(crate) cancelled: bool,
    /// The last lines of what it said on stderr, or what became of it.
    pub(crate) tail: String,
}

/// Runs a program in a directory to its end. `on_start` is handed its process id before the program itself starts.
///
/// # Errors
/// It could not be run.
pub(crate) fn run(
    work: &Work<'_>,
    directory: &Path,
    command: &[OsString],
    limit: Duration,
    on_start: impl FnOnce(i32) -> Result<(), Failure>,
) -> Result<Said, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::critical(error.to_string());
    let mut args: Vec<OsString> = vec!["-c".into(), GATE.into(), "gate".into(), directory.into()];
    args.extend_from_slice(command);
    let mut spec = CommandSpec::new("sh", args);
    spec.stdin = Stdin::Piped;
    let mut tail: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let ended = work.block_on(async {
        let mut child = Child::spawn(spec, Some(limit), GRACE).map_err(|error| failed(&error))?;
        on_start(child.id())?;
        if let Some(mut stdin) = child.take_stdin() {
            stdin.write_all(b"go\n").await.map_err(|error| failed(&error))?;
        }
        let cancel = async {
            work.cancel.cancelled().await;
        };
        let on_line = |line| {
            let (Line::Stdout(line) | Line::Stderr(line)) = line;
            tracing::debug!("{line}");
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        };
        child.run(cancel, on_line).await.map_err(|error| failed(&error))
    })?;
    let mut tail: String = Vec::from(tail).join("\n").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if ended.timed_out {
        tail = format!("it did not end within {} s\n{tail}", limit.as_secs());
    }
    Ok(Said { ok: ended.code == Some(0) && !ended.cancelled && !ended.timed_out, cancelled: ended.cancelled, tail })
}

/// `cargo` with arguments; called as `cargo dep-audit`, the very cargo that called us.
pub(crate) fn cargo(args: &[&str]) -> Vec<OsString> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    std::iter::once(program).chain(args.iter().map(OsString::from)).collect()
}
