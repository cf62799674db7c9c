//! What is wrong with a certificate's form, and with how strong it is.
//!
//! A certificate can be valid and still be refused by the next client, or tomorrow by the same one. The rules are those of
//! RFC 5280, section 4, and of the Baseline Requirements of the CA/Browser Forum (BR), section 6 and 7.1, as far as they
//! can be told from the certificate alone; messages say where a rule stands. Every rule has a code, and codes do not
//! change.
//!
//! - `form`: version, serial number, times, subject, extensions as such; `lifetime`: how long;
//! - `names`: what it is for; `usage`: what its key may do; `identifiers`: whom and what it refers to;
//! - `strength`: keys and signatures.

mod facts;
mod form;
mod identifiers;
mod lifetime;
mod names;
mod strength;
#[cfg(test)]
mod tests;
mod usage;

use crate::certificate::Certificate;

use facts::Facts;

/// What a certificate is looked at as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It speaks for a server, a client or somebody else who signs no certificates.
    Subscriber,
    /// It signs certificates.
    Authority,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Notice,
    /// A rule is broken, and most clients look away.
    Warning,
    /// Clients refuse it, or differ in what they believe.
    Error,
}

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The standard's: for everybody.
    Rfc,
    /// The Baseline Requirements: for authorities that browsers trust. Nobody's private authority need care.
    Baseline,
    /// What clients do, or cryptography: for everybody.
    Practice,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Which rule, for programs.
    pub code: &'static str,
    /// What, for people.
    pub message: String,
    /// How bad.
    pub level: Level,
    /// Whose rule.
    pub source: Source,
}

/// Everything that is not as it should be about one certificate.
pub fn lint(certificate: &Certificate, role: Role) -> Vec<Lint> {
    let Some(parsed) = certificate.parsed() else { return Vec::new() };
    let facts = Facts::of(certificate, &parsed, role);
    [form::lints, lifetime::lints, names::lints, usage::lints, identifiers::lints, strength::lints]
        .iter()
        .flat_map(|part| part(&facts))
        .collect()
}

/// Collects what is said when a condition holds.
macro_rules! lints {
    ($($when:expr => $code:literal, $level:ident, $source:ident, $what:expr;)*) => {{
        let mut all: Vec<$crate::lint::Lint> = Vec::new();
        $(if $when {
            all.push($crate::lint::Lint {
                code: $code,
                message: $what.to_string(),
                level: $crate::lint::Level::$level,
                source: $crate::lint::Source::$source,
            });
        })*
        all
    }};
}
use lints;
