//! How a run ends early: one type at the edge, made from the typed errors of the libraries.

use crate::status::Exit;

/// Why a run could not go on: what failed, on what and why in `message`; what to do next in `hint`; and how the
/// program ends.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that ends the program with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), hint: None }
    }

    /// Bad usage or bad configuration: exit 3, nothing was changed.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Exit::Unknown, message)
    }

    /// The target is down or broken: exit 2.
    pub fn critical(message: impl Into<String>) -> Self {
        Failure::new(Exit::Critical, message)
    }

    /// Not now; trying later may work: exit 75.
    pub fn not_now(message: impl Into<String>) -> Self {
        Failure::new(Exit::NotNow, message)
    }

    /// Adds what the operator can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
