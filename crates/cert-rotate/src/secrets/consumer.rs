//! The programs that use a secret: told that it changed, and asked whether they are well.
//!
//! Commands are lists of arguments and never go through a shell. They are not given the secret: they find it where it was
//! put. What they print may well have it, so it goes to no log, and into a message only without it.

use std::time::Duration;

use maint_core::child::{Child, CommandSpec, Ended, Line};
use maint_core::failure::Failure;
use maint_core::units::format_seconds;

use super::spec::SecretSpec;
use super::value::Value;
use crate::work::Work;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Who uses a secret.
pub struct Consumer<'a> {
    name: &'a str,
    secret: &'a SecretSpec,
    work: &'a Work<'a>,
}

impl<'a> Consumer<'a> {
    /// Of a secret.
    pub fn of(name: &'a str, secret: &'a SecretSpec, work: &'a Work<'a>) -> Self {
        Consumer { name, secret, work }
    }

    /// Tells it that the secret changed, if it wants to be told.
    ///
    /// # Errors
    /// The command failed.
    pub fn reload(&self, hide: &[&Value]) -> Result<(), Failure> {
        self.secret.reload.as_ref().map_or(Ok(()), |command| self.run("reload", command, hide))
    }

    /// Whether anything says how it is.
    pub fn can_tell(&self) -> bool {
        self.secret.verify.is_some()
    }

    /// Asks whether it is well, if there is a way to.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, hide: &[&Value]) -> Result<(), Failure> {
        self.secret.verify.as_ref().map_or(Ok(()), |command| self.run("verify", command, hide))
    }

    fn run(&self, what: &str, command: &[String], hide: &[&Value]) -> Result<(), Failure> {
        let Some((program, arguments)) = command.split_first() else { return Ok(()) };
        let mut spec = CommandSpec::new(program, arguments);
        spec.env.push(("SECRET_NAME".into(), self.name.into()));
        let mut last = String::new();
        let ended = self.work.block_on(async {
            Child::spawn(spec, Some(LIMIT), GRACE)?
                .run(std::future::pending(), |line| {
                    let (Line::Stdout(text) | Line::Stderr(text)) = line;
                    if !text.trim().is_empty() {
                        last = text;
                    }
                })
                .await
        });
        let output = if last.is_empty() { last } else { format!(": {}", without(&last, hide)) };
        let how = match ended.map_err(|error| Failure::critical(format!("{what}: {error}")))? {
            Ended { timed_out: true, .. } => format!("did not end within {}", format_seconds(LIMIT.as_secs_f64())),
            Ended { code: Some(0), .. } => return Ok(()),
            Ended { code: Some(code), .. } => format!("ended with exit code {code}"),
            Ended { signal, .. } => format!("was ended by signal {}", signal.unwrap_or_default()),
        };
        Err(Failure::critical(format!("{what}: `{program}` {how}{output}")))
    }
}

/// The text without secrets. One that is there in another form (in base64, say) cannot be found, so a line that is long
/// enough to have one is cut.
fn without(text: &str, hide: &[&Value]) -> String {
    let mut text = text.to_owned();
    for value in hide {
        if let Ok(secret) = std::str::from_utf8(value.expose()) {
            for part in secret.lines().filter(|part| part.len() >= 4) {
                text = text.replace(part, "[redacted]");
            }
        }
    }
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_has_no_secret() {
        let value = Value::of(b"hunter2hunter2\nsecond line");
        let said = without("cannot log in with hunter2hunter2: refused; second line", &[&value]);
        assert_eq!(said, "cannot log in with [redacted]: refused; [redacted]");
        assert!(without(&"x".repeat(1000), &[]).len() < 210);
    }
}
