//! What every command has at hand.

use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;
use tokio::runtime::Handle;

/// One run of one command. Commands block; what waits for something goes through [`Work::block_on`].
pub struct Work<'a> {
    /// Where records go.
    pub run: &'a Run,
    /// The effective configuration.
    pub settings: Settings,
    /// Whether we were asked to stop.
    pub cancel: Cancel,
    /// The runtime of this process.
    pub runtime: Handle,
    /// What the run's summary is about; a command may sharpen it.
    pub subject: String,
}

impl Work<'_> {
    /// Runs a future to its end. Only for threads that may block, as all of a command's are.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Goes on, unless we were asked to stop.
    ///
    /// # Errors
    /// We were.
    pub fn go_on(&self) -> Result<(), Failure> {
        match self.cancel.exit() {
            Some(exit) => Err(interrupted(exit)),
            None => Ok(()),
        }
    }
}

/// The failure of a command that was asked to stop.
pub fn interrupted(exit: Exit) -> Failure {
    Failure::new(exit, "interrupted")
}
