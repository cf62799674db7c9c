//! What every command has at hand.

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::cli::state_directory;
use maint_core::config::Settings;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::output::Format;
use maint_core::run::Run;
use tokio::runtime::Handle;

/// One run of one command. Commands block; what waits for something goes through [`Work::block_on`].
pub struct Work<'a> {
    /// Where records go.
    pub run: &'a Run,
    /// How it is written; [`Format::Document`] for the forms that only some commands have.
    pub format: Format,
    /// The effective configuration.
    pub settings: Settings,
    /// The time to judge by.
    pub now: Timestamp,
    /// Whether we were asked to stop.
    pub cancel: Cancel,
    /// The runtime of this process.
    pub runtime: Handle,
    /// What the run's summary is about; a command may sharpen it.
    pub subject: String,
}

impl Work<'_> {
    /// Makes this run the only one at something, until the lock is dropped.
    ///
    /// # Errors
    /// Another run is at it (exit 75), or the state directory cannot be written.
    pub fn alone(&self, at: &str) -> Result<RunLock, Failure> {
        RunLock::acquire(&state_directory()?, &format!("dep-audit {at}")).map_err(Failure::from)
    }

    /// Runs a future to its end. Only for threads that may block, as all of a command's are.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}
