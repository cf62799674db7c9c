//! dns-01: records are set and cleared by a command of the operator's.

use std::time::Duration;

use maint_core::cancel::Cancel;
use maint_core::child::{Child, CommandSpec, Line};
use maint_core::failure::Failure;

/// How long one call may take; providers' interfaces are slow.
const PATIENCE: Duration = Duration::from_mins(2);

const GRACE: Duration = Duration::from_secs(5);

/// Calls the hook with `set` or `clear`, a name and a value behind its own arguments.
///
/// # Errors
/// There is no hook, it cannot be started, took too long, or failed; its last words are in the message.
pub(super) async fn call(
    hook: &[String],
    action: &str,
    name: &str,
    value: &str,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let Some((program, arguments)) = hook.split_first() else {
        return Err(Failure::usage("the dns-01 challenge has an empty `hook`").hint("name a program and its arguments"));
    };
    let what = format!("the hook {program} {action} {name}");
    let arguments = arguments.iter().map(String::as_str).chain([action, name, value]);
    let child = Child::spawn(CommandSpec::new(program, arguments), Some(PATIENCE), GRACE)
        .map_err(|error| Failure::critical(format!("{what}: {error}")))?;
    let mut last = String::new();
    let interrupted = async {
        cancel.cancelled().await;
    };
    let ended = child
        .run(interrupted, |line| {
            let (Line::Stdout(text) | Line::Stderr(text)) = line;
            tracing::debug!("{program}: {text}");
            if !text.trim().is_empty() {
                last = text;
            }
        })
        .await
        .map_err(|error| Failure::critical(format!("{what}: {error}")))?;
    if let (true, Some(exit)) = (ended.cancelled, cancel.exit()) {
        return Err(Failure::new(exit, format!("{what}: interrupted")));
    }
    let how = match (ended.code, ended.signal) {
        (Some(0), _) if !ended.timed_out => return Ok(()),
        _ if ended.timed_out => format!("did not end within {} seconds", PATIENCE.as_secs()),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    };
    let words = if last.is_empty() { String::new() } else { format!("; its last words: {last}") };
    Err(Failure::critical(format!("{what} {how}{words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script, "hook"].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn arguments_arrive_whole_and_failures_are_told() {
        let never = Cancel::never();
        let good = sh("[ \"$*\" = \"set _acme-challenge.a.test some value\" ]");
        call(&good, "set", "_acme-challenge.a.test", "some value", &never).await.unwrap();
        let failure = call(&sh("echo no such zone >&2; exit 4"), "set", "a", "b", &never).await.unwrap_err();
        assert!(failure.message.contains("exit code 4; its last words: no such zone"), "{failure}");
        let failure = call(&["/nowhere/hook".to_owned()], "set", "a", "b", &never).await.unwrap_err();
        assert!(failure.message.contains("/nowhere/hook"), "{failure}");
        assert!(call(&[], "set", "a", "b", &never).await.unwrap_err().message.contains("empty"));
    }
}
