//! A directory with processes in it that go when their starter goes.
//!
//! Tests are killed: by a time limit, by Ctrl-C, by the machine running out of memory. Destructors do not run then, and
//! forgotten servers hold memory, ports and disk. So each sandbox has a watcher, a few lines of `sh` in a session of
//! their own that read from a pipe whose other end only this process holds. However this process ends, the kernel closes
//! the pipe; then the watcher stops what runs in the sandbox and removes the directory. An ordinary drop takes the very
//! same way, so the path that matters most is walked by every test.
//!
//! The processes of a sandbox are known by their working directory, which PostgreSQL's backends share with their
//! postmaster. That finds all of them, also one that was started a moment ago and wrote no pid file yet, and never one
//! whose pid was merely reused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::account::{self, Account};
use crate::error::{Doing, Result};
use crate::wait_until;

/// The first signal is the sandbox's own; CONT wakes what was frozen so that it can obey. After ten seconds KILL. A killed
/// postmaster leaves its System V segment, whose id is in line 7 of its pid file.
const WATCHER: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
n=0
while p=$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$TESTBED_DIR/data" 2>/dev/null | cut -d/ -f3) && [ -n "$p" ]; do
    if [ $n -eq 0 ]; then kill -$TESTBED_SIGNAL $p; kill -CONT $p; fi
    if [ $n -ge 200 ]; then kill -KILL $p; fi
    n=$((n + 1))
    sleep 0.05
done
if [ -f "$TESTBED_DIR/data/postmaster.pid" ]; then
    set -- $(sed -n 7p "$TESTBED_DIR/data/postmaster.pid")
    [ -n "$2" ] && ipcrm -m "$2"
fi
cut -d' ' -f2 /proc/mounts | grep "^$TESTBED_DIR/" | while read -r m; do umount -l "$m"; done
rm -rf "$TESTBED_DIR"
"#;

/// A temporary directory and the watcher that cleans it up.
#[derive(Debug)]
pub(crate) struct Sandbox {
    dir: PathBuf,
    data: PathBuf,
    watcher: Mutex<Option<(ChildStdin, Child)>>,
}

impl Sandbox {
    /// Makes the directory and starts its watcher, which ends the processes with `signal`: QUIT is PostgreSQL's immediate
    /// shutdown and ends PgBouncer at once; Redis, which leaves nothing behind, gets KILL. The directory can be entered by
    /// everybody; `data` inside it is the account's own.
    pub(crate) fn new(account: Option<Account>, signal: Signal) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("testbed-")
            .tempdir_in(base(account))
            .doing(|| "make a temporary directory".into())?;
        let path = dir.path().canonicalize().doing(|| format!("find {}", dir.path().display()))?;
        let (stdin, child) = watch(&path, signal)?;
        // From here the watcher removes it.
        let _ = dir.keep();
        let data = path.join("data");
        let sandbox = Self { dir: path, data, watcher: Mutex::new(Some((stdin, child))) };
        fs::set_permissions(&sandbox.dir, fs::Permissions::from_mode(0o755))
            .doing(|| format!("open {} to others", sandbox.dir.display()))?;
        sandbox.make_dir("data", account)?;
        Ok(sandbox)
    }

    /// The sandbox's own directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that its processes work in.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Makes a directory of the account's own, closed to others.
    pub(crate) fn make_dir(&self, name: &str, account: Option<Account>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
            .doing(|| format!("make {}", path.display()))?;
        account::give(&path, account)?;
        Ok(path)
    }

    /// The ids of the living processes that work in the data directory.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
                if cwd == self.data { Pid::from_raw(pid) } else { None }
            })
            .collect()
    }

    /// Sends a signal to each of them; one that is gone by then needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills all of them and waits until the last is gone; a fork that slipped through is killed in the next round.
    pub(crate) fn kill_all(&self) -> Result<()> {
        wait_until("killed processes end", Duration::from_secs(10), || {
            self.signal(Signal::KILL);
            self.processes().is_empty()
        })
    }

    /// Stops all of them and waits until each has stopped: a signal is only a request until the kernel acts on it, and a
    /// fork that slipped through is stopped in the next round.
    pub(crate) fn freeze(&self) -> Result<()> {
        wait_until("stopped processes stop", Duration::from_secs(10), || {
            let awake: Vec<_> = self.processes().into_iter().filter(|pid| !is_stopped(*pid)).collect();
            for pid in &awake {
                let _ = kill_process(*pid, Signal::STOP);
            }
            awake.is_empty()
        })
    }

    /// Ends what runs here and removes the directory, by closing the watcher's pipe and waiting for it.
    pub(crate) fn remove(&self) {
        let watcher = self.watcher.lock().ok().and_then(|mut w| w.take());
        if let Some((stdin, mut child)) = watcher {
            drop(stdin);
            let _ = child.wait();
            // Only when somebody killed the watcher is there anything left to do.
            if self.dir.exists() {
                let _ = self.kill_all();
                let _ = fs::remove_dir_all(&self.dir);
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.remove();
    }
}

/// proc_pid_stat(5): the state is the letter after the name, which is in parentheses and may contain some itself.
fn is_stopped(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
}

fn watch(dir: &Path, signal: Signal) -> Result<(ChildStdin, Child)> {
    let mut child = Command::new("setsid")
        .args(["sh", "-c", WATCHER])
        .env("TESTBED_DIR", dir)
        .env("TESTBED_SIGNAL", signal.as_raw().to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "start setsid (of the package util-linux) for the watcher".into())?;
    let stdin = child.stdin.take();
    stdin
        .map(|s| (s, child))
        .ok_or_else(|| std::io::Error::other("the child has no pipe"))
        .doing(|| "hold the watcher's pipe".into())
}

/// The usual place for temporary files if servers can get there, else `/var/tmp`.
fn base(account: Option<Account>) -> PathBuf {
    let usual = std::env::temp_dir();
    // A Unix socket's path has room for 107 bytes; ours adds about 40.
    let fits = usual.as_os_str().len() <= 60;
    if fits && account::can_enter(&usual, account) { usual } else { PathBuf::from("/var/tmp") }
}
