//! Places at which a test ends the program as if it was killed.
//!
//! What a program leaves when it is killed between two system calls is found by killing it there, each time, not by hoping
//! that a random moment hits. A release build has no such places.

/// Ends the process with SIGKILL when the environment asks for it here: `MAINT_KILL_AT=name`, or `name:3` for the third
/// time that the place is passed.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("MAINT_KILL_AT") else { return };
    let (place, which) = wanted.rsplit_once(':').unwrap_or((&wanted, "1"));
    if place == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == which.parse().unwrap_or(1) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &str) {}
