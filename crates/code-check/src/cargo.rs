//! Running cargo so that what it says is about the workspace and not about the caller's shell.
//!
//! `RUSTFLAGS=-Awarnings` in the environment would make every workspace free of warnings, so what steers the compiler is
//! taken out of it; where cargo finds its home and its registries stays. What the configuration files of cargo say is part
//! of the workspace's own build and holds.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use maint_core::child::{Child, ChildError, CommandSpec, Line};
use maint_core::failure::Failure;
use maint_core::units::HumanDuration;

use crate::cli::SECTION;
use crate::work::{Work, interrupted};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How many lines of stderr are kept for a message.
const KEPT: usize = 200;

/// What a program said that ran to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, line by line.
    pub stdout: Vec<String>,
    /// The end of standard error, line by line.
    pub stderr: Vec<String>,
    /// It did not end in time and was made to.
    pub timed_out: bool,
}

impl Answer {
    /// What went wrong, in few words: the lines of stderr that begin with `error`, or its last ones.
    pub fn complaint(&self) -> String {
        let errors: Vec<&str> =
            self.stderr.iter().map(|line| line.trim()).filter(|line| line.starts_with("error")).take(3).collect();
        if !errors.is_empty() {
            return errors.join("; ");
        }
        let said: Vec<&str> = self.stderr.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        let last = said.iter().skip(said.len().saturating_sub(3)).copied().collect::<Vec<_>>().join("; ");
        if last.is_empty() { format!("it said nothing and ended with {}", self.ended()) } else { last }
    }

    /// How it ended, in words.
    pub fn ended(&self) -> String {
        match self.code {
            Some(code) => format!("exit code {code}"),
            None => "a signal".to_owned(),
        }
    }
}

/// A program, its arguments and surroundings.
pub struct Call {
    /// What to run.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where.
    pub directory: PathBuf,
    /// Variables on top of the cleaned environment.
    pub env: Vec<(OsString, OsString)>,
    /// How long it may take.
    pub limit: Duration,
}

/// Runs cargo in `directory`.
///
/// # Errors
/// There is no cargo, it did not end in time (both: could not tell), or we were asked to stop.
pub fn cargo(
    work: &Work<'_>,
    directory: &Path,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
) -> Result<Answer, Failure> {
    let limit = work.settings.get::<HumanDuration>(&SECTION, "timeout")?;
    let what = format!("cargo {}", args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default());
    let call = Call { program: program(), args, directory: directory.to_owned(), env, limit: limit.0 };
    let answer = call.run(work)?;
    if answer.timed_out {
        return Err(Failure::usage(format!("{what} did not end within {limit}"))
            .hint("find out what it waits for, or raise --timeout"));
    }
    Ok(answer)
}

/// The cargo that called us (`cargo code-check`), or the one in `PATH`.
fn program() -> OsString {
    std::env::var_os("CARGO").filter(|path| !path.is_empty()).unwrap_or_else(|| OsString::from("cargo"))
}

impl Call {
    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started or followed, or we were asked to stop.
    pub fn run(self, work: &Work<'_>) -> Result<Answer, Failure> {
        let mut answer = Answer { code: None, stdout: Vec::new(), stderr: Vec::new(), timed_out: false };
        let mut spec = CommandSpec::new(&self.program, self.args);
        spec.directory = Some(self.directory);
        spec.env = self.env;
        spec.without = std::env::vars_os().map(|(name, _)| name).filter(|name| steers(name)).collect();
        let ended = work.block_on(async {
            let child = Child::spawn(spec, Some(self.limit), GRACE)?;
            let cancelled = async {
                work.cancel.cancelled().await;
            };
            child
                .run(cancelled, |line| match line {
                    Line::Stdout(line) => answer.stdout.push(line),
                    Line::Stderr(line) => {
                        tracing::info!("{line}");
                        if answer.stderr.len() >= KEPT {
                            answer.stderr.remove(0);
                        }
                        answer.stderr.push(line);
                    }
                })
                .await
        });
        work.go_on()?;
        match ended {
            Ok(ended) if ended.cancelled => Err(interrupted(maint_core::status::Exit::Interrupted)),
            Ok(ended) => Ok(Answer { code: ended.code, timed_out: ended.timed_out, ..answer }),
            Err(error @ ChildError::NotFound { .. }) => Err(Failure::usage(error.to_string())),
            Err(error) => Err(Failure::usage(format!("{error}"))),
        }
    }
}

/// Whether a variable changes what the compiler says.
fn steers(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let kept = ["CARGO_TARGET_DIR", "CARGO_HOME"];
    let exact = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC", "RUSTDOC", "RUSTFMT", "CLIPPY_ARGS", "CLIPPY_CONF_DIR"];
    let begins = [
        "RUSTC_",
        "RUSTDOC_",
        "CARGO_BUILD_",
        "CARGO_TARGET_",
        "CARGO_ENCODED_",
        "CARGO_PROFILE_",
        "CARGO_TERM_",
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_CFG_",
        "CARGO_UNSTABLE_",
    ];
    !kept.contains(&name.as_ref())
        && (exact.contains(&name.as_ref()) || begins.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_silences_the_compiler_is_taken_out_and_where_cargo_lives_stays() {
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTFLAGS", "CLIPPY_ARGS"] {
            assert!(steers(OsStr::new(name)), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "PATH", "CARGO_NET_OFFLINE"] {
            assert!(!steers(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_complaint_is_what_begins_with_error() {
        let answer = |stderr: &[&str]| Answer {
            code: Some(101),
            stdout: Vec::new(),
            stderr: stderr.iter().map(|line| (*line).to_owned()).collect(),
            timed_out: false,
        };
        assert_eq!(
            answer(&["  Compiling x", "error: no such command: `clippy`", ""]).complaint(),
            "error: no such command: `clippy`"
        );
        assert_eq!(answer(&["a", "b", "c", "d"]).complaint(), "b; c; d");
        assert_eq!(answer(&[]).complaint(), "it said nothing and ended with exit code 101");
    }
}
