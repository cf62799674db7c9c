//! What every command has at hand.

use std::path::PathBuf;

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::failure::Failure;
use maint_core::run::Run;
use tokio::runtime::Handle;

use crate::config::{SECTION, Wanted};
use crate::live::Live;

/// One run of one command. Commands block; what talks to a server goes through [`Work::block_on`].
pub struct Work<'a> {
    /// Where records go.
    pub run: &'a Run,
    /// The effective configuration.
    pub settings: Settings,
    /// The file of certificates that was named.
    pub certs: Option<PathBuf>,
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
    /// Runs a future to its end. Only for threads that may block, as all of a command's are.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The certificates and issuers that are described.
    ///
    /// # Errors
    /// The description does not hold.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        Wanted::load(&self.settings, self.certs.as_deref())
    }

    /// The tool's directory.
    ///
    /// # Errors
    /// The setting does not hold.
    pub fn live(&self) -> Result<Live, Failure> {
        Ok(Live::at(self.settings.get::<PathBuf>(&SECTION, "directory")?))
    }
}
