//! Whether a server runs in a data directory.

use std::fs;
use std::path::Path;

/// The process of the server that runs in a data directory, as far as can be told.
///
/// The file that names it stays behind when a server is killed, and its number may be another program's by then. A server's
/// working directory is its data directory, so a process that is visibly elsewhere is no such server. Process 1 is taken
/// at its word: it is the server of a container, which is not to be seen from here.
pub fn running_in(data: &Path) -> Option<i32> {
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    // A server that is started on its own, without the postmaster, writes its number with a minus.
    let pid = file.lines().next()?.trim().parse::<i32>().ok()?.checked_abs().filter(|pid| *pid > 0)?;
    (pid == 1 || is_in(pid, data)).then_some(pid)
}

/// Whether a process is there, and its working directory is this one or cannot be seen.
fn is_in(pid: i32, directory: &Path) -> bool {
    let process = format!("/proc/{pid}");
    if !fs::exists(&process).unwrap_or(true) {
        return false;
    }
    match (fs::read_link(format!("{process}/cwd")), fs::canonicalize(directory)) {
        (Ok(there), Ok(here)) => there == here,
        // A process that has ended and only waits to be noticed has none, and none is shown of other users' ones.
        _ => !has_ended(&process),
    }
}

fn has_ended(process: &str) -> bool {
    let stat = fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn write(data: &Path, pid: i64) {
        fs::write(data.join("postmaster.pid"), format!("{pid}\n{}\n", data.display())).unwrap();
    }

    #[test]
    fn a_process_counts_only_in_its_own_directory() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(running_in(data.path()), None);
        write(data.path(), std::process::id().into());
        assert_eq!(running_in(data.path()), None, "this process works elsewhere");
        let mut server = Command::new("sleep").arg("60").current_dir(data.path()).spawn().unwrap();
        for sign in [1, -1] {
            write(data.path(), sign * i64::from(server.id()));
            assert_eq!(running_in(data.path()), i32::try_from(server.id()).ok());
        }
        server.kill().unwrap();
        // Ended, and not waited for yet.
        while !has_ended(&format!("/proc/{}", server.id())) {}
        assert_eq!(running_in(data.path()), None);
        server.wait().unwrap();
        assert_eq!(running_in(data.path()), None);
    }

    #[test]
    fn the_first_process_is_taken_at_its_word_and_nonsense_is_none() {
        let data = tempfile::tempdir().unwrap();
        write(data.path(), 1);
        assert_eq!(running_in(data.path()), Some(1));
        for pid in [0, i64::from(i32::MIN), i64::MAX] {
            write(data.path(), pid);
            assert_eq!(running_in(data.path()), None, "{pid}");
        }
    }
}
