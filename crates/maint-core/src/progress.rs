//! How far a run is, on stderr, for whoever watches it.
//!
//! A terminal gets a bar. Everything else (a log, cron's mail) gets one whole line per finished item, since a bar there
//! is unreadable. Progress is never worth a failure: a stderr that is closed or full is ignored.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about many small items.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The progress of one run over a known number of items.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    done: AtomicU64,
    said: Mutex<Instant>,
    show: Show,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// Starts at none of `total` items; with `enabled` false (`--quiet`) nothing is ever shown.
    pub fn new(total: u64, enabled: bool) -> Self {
        let show = match (enabled, io::stderr().is_terminal()) {
            (false, _) => Show::Nothing,
            (true, false) => Show::Lines,
            (true, true) => Show::Bar(bar(total)),
        };
        Self { total, done: AtomicU64::new(0), said: Mutex::new(Instant::now()), show }
    }

    /// Counts one item as finished, with what became of it: `public.orders: done`.
    pub fn item(&self, message: &str) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.show {
            Show::Nothing => {}
            Show::Lines => {
                // One write, so that lines of two processes on one stream do not mix.
                let line = format!("[{done}/{}] {message}\n", self.total);
                let _ = io::stderr().write_all(line.as_bytes());
            }
            Show::Bar(bar) => {
                bar.set_message(message.to_owned());
                bar.set_position(done);
            }
        }
    }

    /// Counts `count` small items of which there may be millions: where there is no terminal, one line in ten seconds.
    pub fn many(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        match &self.show {
            Show::Nothing => {}
            Show::Lines => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.elapsed() >= BETWEEN_LINES {
                    *said = Instant::now();
                    let _ = io::stderr().write_all(format!("[{done}/{}]\n", self.total).as_bytes());
                }
            }
            Show::Bar(bar) => bar.set_position(done),
        }
    }

    /// Takes the bar off the screen; lines stay.
    pub fn finish(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // A template that does not parse would only look plainer.
    match ProgressStyle::with_template("[{pos}/{len}] {wide_bar} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    #[ignore = "is the other process of the tests below"]
    fn report_in_another_process() {
        let progress = Progress::new(2, std::env::var_os("MAINT_TEST_QUIET").is_none());
        progress.item("public.orders: done");
        progress.item("public.users: skipped");
        progress.finish();
        println!("\nstill here");
    }

    fn reporter() -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "progress::tests::report_in_another_process", "--nocapture"]);
        command
    }

    #[test]
    fn without_a_terminal_each_finished_item_is_a_line() {
        let output = reporter().output().unwrap();
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "[1/2] public.orders: done\n[2/2] public.users: skipped\n"
        );
        let quiet = reporter().env("MAINT_TEST_QUIET", "1").output().unwrap();
        assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
    }

    #[test]
    fn a_stderr_nobody_reads_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = reporter().stderr(writer).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("still here"));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(reporter().stderr(full).stdout(Stdio::null()).status().unwrap().success());
    }

    #[test]
    fn a_bar_counts_what_is_finished() {
        let progress =
            Progress { total: 3, done: AtomicU64::new(0), said: Mutex::new(Instant::now()), show: Show::Bar(bar(3)) };
        progress.item("one");
        progress.item("two");
        let Show::Bar(bar) = &progress.show else { panic!("no bar") };
        assert_eq!((bar.position(), bar.message().as_str()), (2, "two"));
        progress.finish();
        assert!(bar.is_finished());
    }
}
