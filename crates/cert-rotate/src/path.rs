//! Certification path validation (RFC 5280, 6): whether a certificate can be trusted, and if not, why.
//!
//! rustls asks less than the standard does, which is right for a handshake and not enough for an inspector: it knows no
//! policies, no constraints on distinguished names, no indirect or delta lists. So this is a validator of its own, small and
//! strict, beside that of rustls. What it reads may be hostile: it never panics, and its work is bounded.
//!
//! - `der`, `name`, `extension`, `facts` and `crl` read certificates and lists, strictly;
//! - `search` looks for paths, `chain` checks one, with `policy`, `constraint` and `revocation`; `signature` verifies;
//! - `host` compares names, [`form`] looks at what path validation does not.
//!
//! # Codes of problems
//! `malformed`, `duplicate-extension`, `not-yet-valid`, `expired`, `unknown-critical-extension`, `not-an-authority`,
//! `may-not-sign`, `path-too-long`, `name-forbidden`, `name-constraint-unclear`, `no-valid-policy`, `any-policy-mapped`,
//! `wrong-purpose`, `wrong-key-usage`, `bad-signature`, `unsupported-signature`, `unknown-issuer`, `untrusted-root`,
//! `revoked`, `revocation-unknown`, `too-much-work`. They do not change.

mod chain;
mod constraint;
mod crl;
mod der;
mod extension;
mod facts;
pub mod form;
mod host;
mod name;
mod policy;
mod revocation;
mod search;
mod signature;
#[doc(hidden)]
pub mod stream;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use crate::certificate::Certificate;

pub use crate::cli::Purpose;
pub use crl::{Crl, CrlError};
pub use host::covers;

use der::Malformed;
use search::{Effort, Known, Rule};

/// What is asked of revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: they are not read.
    Ignore,
    /// A certificate that a list has is not good; one of which no list speaks is.
    IfKnown,
    /// Lists that are in force must speak of every certificate below the root.
    Require,
}

/// Can this certificate be trusted?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The certificate in question.
    pub leaf: &'a Certificate,
    /// Certificates that may stand between, in any order; some may have nothing to do with it.
    pub intermediates: &'a [Certificate],
    /// Those that are trusted.
    pub roots: &'a [Certificate],
    /// Revocation lists, of any issuer.
    pub crls: &'a [Crl],
    /// The time to judge by.
    pub at: Timestamp,
    /// What it is used for.
    pub purpose: Purpose,
    /// What is asked of the lists.
    pub revocation: Revocation,
}

/// Something that is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What, for programs: one of the codes that the module lists.
    pub code: &'static str,
    /// What, for people.
    pub message: String,
    /// Which certificate: 0 is the leaf, 1 its issuer, and so on.
    pub depth: usize,
}

impl Problem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, depth: usize) -> Self {
        Problem { code, message: message.into(), depth }
    }
}

/// A good path, the leaf first and the root last. A leaf that is itself a root is a path of one.
///
/// # Errors
/// There is none: what is wrong with the one that came furthest, never empty.
pub fn judge(question: &Question<'_>) -> Result<Vec<Certificate>, Vec<Problem>> {
    let known = Known::read(question).map_err(|Malformed(why)| {
        let code = if why.ends_with(facts::TWICE) { "duplicate-extension" } else { "malformed" };
        vec![Problem::new(code, format!("{}: {why}", question.leaf.title()), 0)]
    })?;
    let rule = Rule { purpose: question.purpose, revocation: question.revocation, root: None, open: Vec::new() };
    let path = known.find(0, &rule, &mut Effort::new())?;
    Ok(path.iter().filter_map(|&number| known.facts.get(number)).map(|facts| facts.certificate.clone()).collect())
}
