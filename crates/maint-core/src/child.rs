//! Other programs, run so that none of them outlives its purpose.
//!
//! A child gets a process group of its own, because what hangs is as a rule not the shell that was started but
//! something it started. At the deadline, or when the run is cancelled, the whole group is asked to end (SIGTERM), and
//! killed when the grace period is over. Output is handed over line by line while it comes: a dump that takes an hour
//! is watched, not waited for. A child that ends by itself leaves its background processes alone.

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zeroize::Zeroizing;

/// A longer line is handed over in pieces; a program that never ends its line must not fill the memory.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How often a group without its leader is looked at; nothing announces the end of a grandchild.
const POLL: Duration = Duration::from_millis(20);

/// What to run. The environment is inherited, less what is named here; what is set here comes on top.
///
/// Arguments can be read by every user of the host: a secret goes to `env` or `stdin`.
pub struct CommandSpec {
    /// A path, or a name looked up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// Variables of our own environment that it must not see.
    pub without: Vec<OsString>,
    /// Where it works; in our own working directory when not set.
    pub directory: Option<PathBuf>,
    /// What it reads.
    pub stdin: Stdin,
}

/// What a child reads on standard input.
pub enum Stdin {
    /// Nothing: the end of input at once.
    None,
    /// These bytes, then the end of input.
    Bytes(Zeroizing<Vec<u8>>),
    /// What the caller writes to [`Child::take_stdin`].
    Piped,
}

impl CommandSpec {
    /// A program with arguments, without input and with the inherited environment.
    pub fn new(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self {
            program: program.as_ref().to_owned(),
            args,
            env: Vec::new(),
            without: Vec::new(),
            directory: None,
            stdin: Stdin::None,
        }
    }
}

/// One line of output, without its end; bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// From standard output.
    Stdout(String),
    /// From standard error.
    Stderr(String),
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The deadline passed and it was made to end.
    pub timed_out: bool,
    /// The run was cancelled and it was made to end.
    pub cancelled: bool,
    /// From its start to its end.
    pub duration: Duration,
}

/// A child could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is no such program.
    #[error("{program} was not found (or the interpreter it names was not); install it or correct PATH")]
    NotFound {
        /// The program as it was named.
        program: String,
    },
    /// It could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program as it was named.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be waited for, or its output not be read.
    #[error("cannot follow {program}: {source}")]
    Follow {
        /// The program as it was named.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not even SIGKILL ended it, as happens when a disk or network file system hangs.
    #[error("{program} (process {pid}) does not end even when killed; most likely it waits for a disk or a network")]
    Unkillable {
        /// The program as it was named.
        program: String,
        /// Its process id.
        pid: i32,
    },
}

/// A running child. Dropping it kills its process group, unless it ended before.
pub struct Child {
    program: String,
    inner: tokio::process::Child,
    group: Pid,
    started: Instant,
    deadline: Option<Instant>,
    grace: Duration,
    status: Option<ExitStatus>,
    stdout: Lines,
    stderr: Lines,
    stdin: Option<ChildStdin>,
    feeder: Option<tokio::task::JoinHandle<()>>,
}

impl Child {
    /// Starts the program. `deadline` counts from now; `grace` is the time between SIGTERM and SIGKILL. Needs a
    /// runtime.
    pub fn spawn(spec: CommandSpec, deadline: Option<Duration>, grace: Duration) -> Result<Self, ChildError> {
        let program = spec.program.to_string_lossy().into_owned();
        let stdin = if matches!(spec.stdin, Stdin::None) { Stdio::null() } else { Stdio::piped() };
        let mut command = Command::new(&spec.program);
        for name in &spec.without {
            command.env_remove(name);
        }
        if let Some(directory) = &spec.directory {
            command.current_dir(directory);
        }
        command.args(&spec.args).envs(spec.env).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = command.process_group(0).spawn();
        let mut inner = match spawned {
            Ok(inner) => inner,
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_nowhere(&spec.program) => {
                return Err(ChildError::NotFound { program });
            }
            Err(source) => return Err(ChildError::Start { program, source }),
        };
        let group = inner.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else {
            let source = io::Error::other("it has no process id");
            return Err(ChildError::Start { program, source });
        };
        let mut stdin = inner.stdin.take();
        let feeder = match spec.stdin {
            Stdin::Bytes(bytes) => stdin.take().map(|mut pipe| {
                tokio::spawn(async move {
                    // A child that does not read all of it says so by its exit code, if it minds.
                    let _ = pipe.write_all(&bytes).await;
                })
            }),
            Stdin::None | Stdin::Piped => None,
        };
        let started = Instant::now();
        Ok(Self {
            program,
            group,
            started,
            // A deadline beyond what a clock can tell is none.
            deadline: deadline.and_then(|deadline| started.checked_add(deadline)),
            grace,
            status: None,
            stdout: Lines::new(inner.stdout.take()),
            stderr: Lines::new(inner.stderr.take()),
            stdin,
            feeder,
            inner,
        })
    }

    /// The process id, which is the id of its process group as well.
    pub fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// The writing end of standard input, once, where the command has it [`Stdin::Piped`]. Dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Follows the child to its end and gives every line to `on_line` as it comes.
    ///
    /// When the deadline passes or `cancel` completes, the group is made to end. The order of lines is kept within each
    /// of the two streams, not between them.
    pub async fn run(
        mut self,
        cancel: impl Future<Output = ()>,
        mut on_line: impl FnMut(Line),
    ) -> Result<Ended, ChildError> {
        let result = self.follow(cancel, &mut on_line).await;
        self.stdout.flush(&mut |line| on_line(Line::Stdout(line)));
        self.stderr.flush(&mut |line| on_line(Line::Stderr(line)));
        result
    }

    async fn follow(
        &mut self,
        cancel: impl Future<Output = ()>,
        on_line: &mut impl FnMut(Line),
    ) -> Result<Ended, ChildError> {
        let mut timed_out = false;
        let mut cancelled = false;
        let deadline = self.deadline;
        let expiry = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = self.pump(on_line, |child| child.status.is_some()) => result?,
            () = pin!(cancel) => cancelled = true,
            () = expiry => timed_out = true,
        }
        if timed_out || cancelled {
            self.stop(on_line).await?;
        }
        let duration = self.started.elapsed();
        // What the child had written is still in the pipes. A background process may hold them open for ever.
        if let Ok(result) = timeout(self.grace.max(POLL), self.pump(on_line, Self::is_drained)).await {
            result?;
        }
        let Some(status) = self.status else {
            return Err(ChildError::Unkillable { program: self.program.clone(), pid: self.id() });
        };
        Ok(Ended { code: status.code(), signal: status.signal(), timed_out, cancelled, duration })
    }

    async fn stop(&mut self, on_line: &mut impl FnMut(Line)) -> Result<(), ChildError> {
        let gone = |child: &Self| child.status.is_some() && !child.group_exists();
        let _ = kill_process_group(self.group, Signal::TERM);
        if let Ok(result) = timeout(self.grace, self.pump(on_line, gone)).await {
            return result;
        }
        if self.group_exists() {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        let reaped = |child: &Self| child.status.is_some();
        timeout(self.grace.max(Duration::from_secs(5)), self.pump(on_line, reaped)).await.unwrap_or(Ok(()))
    }

    /// Reads output and waits for the end until `done`. Loses nothing when it is dropped half-way.
    async fn pump(&mut self, on_line: &mut impl FnMut(Line), done: impl Fn(&Self) -> bool) -> Result<(), ChildError> {
        while !done(self) {
            let step = tokio::select! {
                read = self.stdout.read(), if self.stdout.open => {
                    read.map(|()| self.stdout.take_lines(&mut |line| on_line(Line::Stdout(line))))
                }
                read = self.stderr.read(), if self.stderr.open => {
                    read.map(|()| self.stderr.take_lines(&mut |line| on_line(Line::Stderr(line))))
                }
                ended = self.inner.wait(), if self.status.is_none() => ended.map(|status| self.status = Some(status)),
                () = sleep(POLL), if self.status.is_some() => Ok(()),
            };
            step.map_err(|source| ChildError::Follow { program: self.program.clone(), source })?;
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        self.status.is_some() && !self.stdout.open && !self.stderr.open
    }

    fn group_exists(&self) -> bool {
        test_kill_process_group(self.group).is_ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

/// Whether a bare name is in no directory of `PATH` that we can see. A directory that we may not enter makes the system
/// report "permission denied" instead.
fn is_nowhere(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    !program.as_encoded_bytes().contains(&b'/')
        && !std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// One stream of output being cut into lines.
struct Lines {
    pipe: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pending: Vec<u8>,
    /// Where in `pending` the search for a line end goes on.
    searched: usize,
    open: bool,
}

impl Lines {
    fn new<P: AsyncRead + Send + Unpin + 'static>(pipe: Option<P>) -> Self {
        let pipe = pipe.map(|pipe| Box::new(pipe) as Box<dyn AsyncRead + Send + Unpin>);
        Self { open: pipe.is_some(), pipe, pending: Vec::new(), searched: 0 }
    }

    async fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        self.pending.reserve(16 << 10);
        self.open = pipe.read_buf(&mut self.pending).await? > 0;
        Ok(())
    }

    fn take_lines(&mut self, on_line: &mut impl FnMut(String)) {
        while let Some(length) = self.pending.iter().skip(self.searched).position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=self.searched + length).collect();
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            self.searched = 0;
            on_line(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned());
        }
        self.searched = self.pending.len();
        if !self.open || self.searched >= MAX_LINE_BYTES {
            self.flush(on_line);
        }
    }

    fn flush(&mut self, on_line: &mut impl FnMut(String)) {
        if !self.pending.is_empty() {
            on_line(String::from_utf8_lossy(&self.pending).into_owned());
            self.pending.clear();
            self.searched = 0;
        }
    }
}

#[cfg(test)]
mod tests;
