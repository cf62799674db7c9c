//! What every command has at hand.

use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::run::Run;

/// One run of one command.
pub struct Work<'a> {
    /// Where records go.
    pub run: &'a Run,
    /// The effective configuration.
    pub settings: Settings,
    /// Whether we were asked to stop.
    pub cancel: Cancel,
    /// What the run's summary is about; a command may sharpen it.
    pub subject: String,
}
