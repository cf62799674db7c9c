//! Running programs as a user would: the built tools, with a clean environment and a bound on time.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Doing, Error, Result};

/// After this long a program that a test runs is taken to hang, and is killed.
pub const RUN_LIMIT: Duration = Duration::from_mins(2);

/// What a finished program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + N for a program ended by signal N, as a shell has it.
    pub code: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A program that was started and is still to be waited for. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

/// The built program `name`, ready for arguments: `target/PROFILE/name` beside the running test or program. Nothing of
/// the caller's settings reaches it (`PG*`, `REDIS*`, `DATABASE_URL`, `MAINT_*`, `RUST_LOG`); it works in `state_dir`,
/// keeps its state there, and uses no colour.
pub fn tool(name: &str, state_dir: &Path) -> Result<Command> {
    let path = profile_dir()?.join(name);
    if !path.is_file() {
        return Err(Error::NotBuilt { name: name.to_owned(), path });
    }
    let mut command = Command::new(path);
    clean(&mut command);
    command.env("NO_COLOR", "1").env("MAINT_STATE_DIR", state_dir).current_dir(state_dir).stdin(Stdio::null());
    Ok(command)
}

/// Runs `command` to its end, within [`RUN_LIMIT`].
pub fn run(command: &mut Command) -> Result<Output> {
    start(command)?.finish(RUN_LIMIT)
}

/// Runs `command` with `input` on its standard input.
pub fn run_fed(command: &mut Command, input: &str) -> Result<Output> {
    bounded(command, input, RUN_LIMIT)
}

/// As [`run_fed`] with another bound.
pub(crate) fn bounded(command: &mut Command, input: &str, limit: Duration) -> Result<Output> {
    command.stdin(Stdio::piped());
    let mut running = start(command)?;
    if let Some(mut stdin) = running.child.stdin.take() {
        let input = input.to_owned();
        // In a thread, as a program may fill its output before it has read its input. That it may leave without reading
        // is its right; its exit code tells.
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    running.finish(limit)
}

/// Starts `command` with its output collected, for tests that do something to it meanwhile.
pub fn start(command: &mut Command) -> Result<Running> {
    let what = command.get_program().to_string_lossy().into_owned();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().doing(|| format!("start {what}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    Ok(Running { what, child, stdout, stderr })
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; that it has ended already is an error only [`Running::finish`] can explain.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end; after `limit` it is killed and the answer is [`Error::TimedOut`].
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().doing(|| format!("wait for {}", self.what))? {
                break status;
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut { what: format!("{} ends", self.what), after: limit });
            }
            thread::sleep(Duration::from_millis(5));
        };
        // A grandchild may keep the pipe open after the program is gone: what came until now is the output then.
        let text = |pipe: &Receiver<Vec<u8>>| {
            let mut bytes = Vec::new();
            while let Ok(part) = pipe.recv_timeout(Duration::from_secs(5)) {
                bytes.extend(part);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Output { code: code(status), stdout: text(&self.stdout), stderr: text(&self.stderr) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON records of an ndjson output, one a line.
pub fn records(stdout: &str) -> Result<Vec<serde_json::Value>> {
    stdout
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(i, text)| {
            serde_json::from_str(text).map_err(|source| Error::Record { line: i + 1, text: text.to_owned(), source })
        })
        .collect()
}

/// Takes the settings of whoever runs the tests out of a child's environment.
pub(crate) fn clean(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let theirs = ["PG", "REDIS", "MAINT_"].iter().any(|p| name.starts_with(p))
            || name == "DATABASE_URL"
            || name == "RUST_LOG";
        if theirs {
            command.env_remove(&key);
        }
    }
}

/// `target/PROFILE`, from where the running test (`deps/NAME-HASH`) or program lies.
pub(crate) fn profile_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().doing(|| "find the running program".into())?;
    let exe = fs::canonicalize(&exe).unwrap_or(exe);
    let dir = exe.parent().unwrap_or(Path::new("/"));
    let inner = dir.file_name().is_some_and(|n| n == "deps" || n == "examples");
    Ok(if inner { dir.parent().unwrap_or(dir) } else { dir }.to_path_buf())
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                let Some(part) = buffer.get(..n) else { break };
                if sender.send(part.to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut c = Command::new("sh");
        c.args(["-c", script]);
        c
    }

    #[test]
    fn output_code_and_both_streams_are_told() {
        let out = run(&mut sh("echo out; echo err >&2; exit 7")).unwrap();
        assert_eq!(out, Output { code: 7, stdout: "out\n".into(), stderr: "err\n".into() });
    }

    #[test]
    fn a_signal_is_told_as_a_shell_tells_it() {
        assert_eq!(run(&mut sh("kill -TERM $$")).unwrap().code, 143);
    }

    #[test]
    fn input_larger_than_a_pipe_passes() {
        let input = "x".repeat(1 << 20);
        assert_eq!(run_fed(&mut sh("cat"), &input).unwrap().stdout, input);
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_named() {
        let e = start(&mut sh("exec sleep 60")).unwrap().finish(Duration::from_millis(50)).unwrap_err();
        assert!(matches!(e, Error::TimedOut { .. }), "{e}");
    }

    #[test]
    fn a_line_that_is_no_record_is_told_by_number() {
        let e = records("{\"a\":1}\n\nnot json\n").unwrap_err();
        assert!(e.to_string().starts_with("line 3 "), "{e}");
        assert_eq!(records("{\"a\":1}\n").unwrap().len(), 1);
    }

    #[test]
    fn a_tool_that_is_not_built_is_told_with_the_command_that_builds_it() {
        let e = tool("no-such-tool", Path::new("/")).unwrap_err();
        assert!(e.to_string().contains("cargo build -p no-such-tool"), "{e}");
    }
}
