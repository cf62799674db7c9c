//! Signals: to the process of a pid file, or to processes by their name.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Signals that servers take as a word, by name. SIGKILL and SIGSTOP are no word.
const SIGNALS: [(&str, Signal); 7] = [
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
];

/// `/proc/PID/comm` holds so many bytes of a name.
const COMM: usize = 15;

/// A signal could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// Not one of ours.
    #[error("`{0}` is no signal that makes a server reload: it is one of HUP, USR1, USR2, WINCH, INT, QUIT, TERM")]
    Unknown(String),
    /// The pid file cannot be read.
    #[error("cannot read the pid file {}: {source}; does the server run?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("there is no process number in the pid file {}", .0.display())]
    NoNumber(PathBuf),
    /// There is nobody to signal.
    #[error("no process of the name {0} runs")]
    NoProcess(String),
    /// The system refused.
    #[error("cannot signal process {pid}: {source}")]
    Refused {
        /// The process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
}

/// A signal by name, with or without `SIG`; `HUP` when none is given.
///
/// # Errors
/// There is none of this name that a server would take as a word.
pub fn named(text: Option<&str>) -> Result<(&'static str, Signal), SignalError> {
    let text = text.unwrap_or("HUP");
    let upper = text.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = SIGNALS.into_iter().find(|(name, _)| *name == plain);
    known.ok_or_else(|| SignalError::Unknown(text.to_owned()))
}

/// To the process whose number is on the first line of a file.
pub(super) fn pid_file(path: &Path, signal: Option<&str>) -> Result<(), SignalError> {
    let (_, signal) = named(signal)?;
    let text =
        std::fs::read_to_string(path).map_err(|source| SignalError::Unreadable { path: super::shown(path), source })?;
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid: &i32| *pid > 1);
    let pid = pid.and_then(Pid::from_raw).ok_or_else(|| SignalError::NoNumber(path.to_owned()))?;
    send(pid, signal)
}

/// To every process of a name whose parent has another one: to masters, not to their workers.
pub(super) fn by_name(name: &str, signal: Option<&str>) -> Result<(), SignalError> {
    let (_, signal) = named(signal)?;
    let wanted = name.get(..COMM).unwrap_or(name);
    let comm =
        |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|comm| comm.trim_end().to_owned());
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut told = 0;
    for pid in pids.filter(|pid| comm(*pid).as_deref() == Some(wanted)) {
        if parent(pid).and_then(comm).as_deref() == Some(wanted) {
            continue;
        }
        let Some(process) = Pid::from_raw(pid) else { continue };
        send(process, signal)?;
        told += 1;
    }
    if told == 0 { Err(SignalError::NoProcess(name.to_owned())) } else { Ok(()) }
}

/// proc(5): the fourth field of `stat`; the second, the name in brackets, may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn send(pid: Pid, signal: Signal) -> Result<(), SignalError> {
    kill_process(pid, signal)
        .map_err(|error| SignalError::Refused { pid: pid.as_raw_nonzero().get(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn only_words_for_servers_are_signals() {
        assert_eq!(named(None).unwrap().0, "HUP");
        assert_eq!(named(Some("sigusr1")).unwrap().0, "USR1");
        assert!(matches!(named(Some("KILL")), Err(SignalError::Unknown(_))));
    }

    #[test]
    fn the_process_of_a_pid_file_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(matches!(pid_file(&path, None), Err(SignalError::Unreadable { .. })));
        std::fs::write(&path, "0\n").unwrap();
        assert!(matches!(pid_file(&path, None), Err(SignalError::NoNumber(_))));
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        std::fs::write(&path, format!("{}\n", child.id())).unwrap();
        pid_file(&path, Some("USR1")).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::USR1.as_raw()));
    }

    #[test]
    fn processes_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        // A name of its own: other tests start sleeps too.
        let program = dir.path().join("maint-sleeper-of-this-test");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("60").stdin(Stdio::null()).spawn().unwrap();
        by_name("maint-sleeper-of-this-test", Some("TERM")).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert!(matches!(by_name("maint-sleeper-of-this-test", None), Err(SignalError::NoProcess(_))));
    }
}
