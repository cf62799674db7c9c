//! Asking an issuer for a certificate.

use maint_core::failure::Failure;

use crate::certificate::Certificate;
use crate::config::{CertSpec, IssuerSpec};
use crate::key::PrivateKey;
use crate::pending::Pending;
use crate::work::Work;

/// What is asked for. Whoever answers keeps in `pending` what a later run needs to go on.
#[derive(Debug)]
pub struct Request<'a> {
    /// The certificate's name in the configuration.
    pub name: &'a str,
    /// What it must be.
    pub spec: &'a CertSpec,
    /// The issuer's name in the configuration.
    pub issuer: &'a str,
    /// The key to certify; it is on disk.
    pub key: &'a PrivateKey,
    /// What is under way.
    pub pending: &'a Pending,
    /// What it takes the place of.
    pub replaces: Option<&'a Certificate>,
}

/// What an issuer answered.
#[derive(Debug)]
pub enum Answer {
    /// The chain, leaf first.
    Issued(Vec<Certificate>),
    /// Somebody has to act first (a request was written and waits to be signed); what, and where.
    Waiting(String),
}

/// Asks the issuer that the certificate's description names.
///
/// # Errors
/// It refused, cannot be reached (exit 75 when it asks to come back later), or answered with something else than was
/// asked for.
pub fn obtain(request: &Request<'_>, issuer: &IssuerSpec, work: &Work<'_>) -> Result<Answer, Failure> {
    match issuer {
        IssuerSpec::Acme(issuer) => crate::acme::obtain(request, issuer, work),
        IssuerSpec::Csr { directory, .. } => crate::csr::obtain(request, directory, work),
        IssuerSpec::Ca { directory, authority, profile, lifetime } => {
            let lifetime = lifetime.map(|lifetime| lifetime.0);
            crate::ca::obtain(request, directory, authority, *profile, lifetime, work)
        }
    }
}
