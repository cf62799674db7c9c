//! Ending a run early: SIGINT, SIGTERM and SIGHUP ask it to stop, finish cleaning up, and say what was left.
//!
//! A second signal while the clean-up is under way ends the process at once: whoever presses ctrl-C twice means it.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::status::Exit;

/// A handle to the question "were we asked to stop?". Clones ask the same question.
#[derive(Debug, Clone)]
pub struct Cancel {
    asked: watch::Receiver<Option<Exit>>,
    // Keeps the channel open where no signal handler holds the sender (tests, and handles made by `never`).
    sender: Arc<watch::Sender<Option<Exit>>>,
}

impl Cancel {
    /// Listens for signals from now on. Call it once, inside the runtime.
    ///
    /// # Errors
    /// The handlers could not be installed.
    pub fn on_signals() -> Result<Self, Failure> {
        let cancel = Cancel::never();
        let sender = Arc::clone(&cancel.sender);
        let failed = |error| Failure::critical(format!("cannot listen for signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    _ = interrupt.recv() => Exit::Interrupted,
                    _ = terminate.recv() => Exit::Terminated,
                    _ = hangup.recv() => Exit::Terminated,
                };
                if sender.send_replace(Some(exit)).is_some() {
                    std::process::exit(exit.code().into());
                }
            }
        });
        Ok(cancel)
    }

    /// A handle that nobody asks through.
    pub fn never() -> Self {
        let (sender, asked) = watch::channel(None);
        Cancel { asked, sender: Arc::new(sender) }
    }

    /// Asks every holder of a clone to stop, as a signal would.
    pub fn cancel(&self, exit: Exit) {
        self.sender.send_replace(Some(exit));
    }

    /// How the run must end, when it was asked to stop.
    pub fn exit(&self) -> Option<Exit> {
        *self.asked.borrow()
    }

    /// Whether the run was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.exit().is_some()
    }

    /// Waits until the run is asked to stop.
    pub async fn cancelled(&self) -> Exit {
        let mut asked = self.asked.clone();
        loop {
            if let Some(exit) = *asked.borrow_and_update() {
                return exit;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_it() {
        let cancel = Cancel::never();
        let other = cancel.clone();
        assert!(!other.is_cancelled());
        cancel.cancel(Exit::Interrupted);
        assert_eq!(other.cancelled().await, Exit::Interrupted);
    }
}
