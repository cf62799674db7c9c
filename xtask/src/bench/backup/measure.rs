//! What a run of a program costs: wall time, and memory at its largest.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maint_core::failure::Failure;

/// Between two looks at the memory. The kernel keeps the maximum, so only what happens between the last look and the end is
/// missed.
const LOOK: Duration = Duration::from_millis(10);

/// What one run cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Wall time in seconds.
    pub(super) seconds: f64,
    /// The largest resident set of any one of its processes, in bytes, as time(1) tells it. A program of several
    /// processes needs more than that in all.
    pub(super) peak_bytes: f64,
    /// Bytes that it added to its repository.
    pub(super) stored_bytes: f64,
}

/// Runs a command to its end. One that fails measured nothing.
pub(super) fn cost(command: &mut Command) -> Result<Cost, Failure> {
    let what = words(command);
    let broken = |error: testbed::Error| Failure::critical(format!("{what}: {error}"));
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let running = testbed::start(command).map_err(broken)?;
    let pid = running.pid();
    let (output, seconds, peak) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(largest(pid));
                thread::sleep(LOOK);
            }
            peak
        });
        let output = running.finish(testbed::RUN_LIMIT);
        let seconds = begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (output, seconds, watcher.join().unwrap_or(0))
    });
    let output = output.map_err(broken)?;
    if output.code != 0 {
        let said = output.stderr.lines().chain(output.stdout.lines()).filter(|line| !line.trim().is_empty());
        let said = said.take(3).collect::<Vec<_>>().join(" / ");
        return Err(Failure::critical(format!("{what} ended with {}: {said}", output.code)));
    }
    Ok(Cost { seconds, peak_bytes: peak as f64, stored_bytes: 0.0 })
}

/// Program and first argument that is no path or option, as an error names them.
fn words(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    let plain = args.filter(|arg| !arg.starts_with('-') && !arg.contains(['/', ' ', '='])).take(2);
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name).chain(plain).collect::<Vec<_>>().join(" ")
}

/// The largest `VmHWM` among a process and its descendants, in bytes (proc(5)).
fn largest(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let below = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .map(largest)
        .max();
    own.map_or(0, |kilobytes: u64| kilobytes * 1024).max(below.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_of_a_child_of_the_child_are_seen() {
        // dd holds a buffer of that size and takes a moment to fill it.
        let mut command = Command::new("sh");
        command.args(["-c", "dd if=/dev/zero of=/dev/null bs=64M count=20 2>/dev/null; sleep 0.2; true"]);
        let cost = cost(&mut command).unwrap();
        assert!(cost.seconds > 0.15, "{cost:?}");
        assert!(cost.peak_bytes > 60e6 && cost.peak_bytes < 200e6, "{cost:?}");
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_words() {
        let error = cost(Command::new("sh").args(["-c", "echo no luck >&2; exit 4"])).unwrap_err();
        assert!(error.to_string().contains("sh ended with 4: no luck"), "{error}");
    }
}
