//! `letsencrypt-renewal`: renew what is due at ACME authorities.

use maint_core::failure::Failure;

use crate::cli::LetsencryptRenewalArgs;
use crate::config::{IssuerSpec, Wanted};
use crate::rotate;
use crate::work::Work;

/// Renews and deploys, as `rotate` does, what ACME authorities sign.
///
/// # Errors
/// As of `rotate`; or a named certificate is of another kind of issuer.
pub fn run(args: &LetsencryptRenewalArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let wanted = only_acme(work.wanted()?, &args.names, args.directory.as_deref())?;
    rotate::rotate(work, &wanted, &args.names, args.force, &args.change)
}

/// What is left of the configuration: certificates of ACME authorities, at the directory that was given.
fn only_acme(mut wanted: Wanted, names: &[String], directory: Option<&str>) -> Result<Wanted, Failure> {
    let acme = |wanted: &Wanted, issuer: &str| matches!(wanted.issuers.get(issuer), Some(IssuerSpec::Acme(_)));
    for name in names {
        if let Some(spec) = wanted.certs.get(name)
            && !acme(&wanted, &spec.issuer)
        {
            return Err(Failure::usage(format!("{name} is signed by {}, which does not speak ACME", spec.issuer))
                .hint("use `cert-rotate rotate`"));
        }
    }
    let mut certs = std::mem::take(&mut wanted.certs);
    certs.retain(|_, spec| acme(&wanted, &spec.issuer));
    wanted.certs = certs;
    if wanted.certs.is_empty() {
        return Err(Failure::usage("no certificate is signed by an ACME authority")
            .hint("describe one as [certs.NAME] with an issuer of kind acme"));
    }
    if let Some(directory) = directory {
        for issuer in wanted.issuers.values_mut() {
            if let IssuerSpec::Acme(spec) = issuer {
                directory.clone_into(&mut spec.directory);
            }
        }
    }
    Ok(wanted)
}
