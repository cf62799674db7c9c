//! `revoke`: take a certificate back at its authority.

use instant_acme::{Error, RevocationReason, RevocationRequest};
use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::account::issuer;
use crate::acme::{Client, kind, patient, warn_of_skew};
use crate::certificate::Certificate;
use crate::cli::RevokeArgs;
use crate::live::Generation;
use crate::work::Work;

/// Reasons by their names in RFC 5280, 5.3.1; those that only an authority itself may give are left out.
const REASONS: [(&str, RevocationReason); 5] = [
    ("unspecified", RevocationReason::Unspecified),
    ("key-compromise", RevocationReason::KeyCompromise),
    ("affiliation-changed", RevocationReason::AffiliationChanged),
    ("superseded", RevocationReason::Superseded),
    ("cessation-of-operation", RevocationReason::CessationOfOperation),
];

/// Revokes a generation's certificate, and asks a second time to hear that it is revoked.
///
/// # Errors
/// There is no such certificate or generation, nobody agreed, or the authority refuses.
pub fn run(args: &RevokeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    args.name.clone_into(&mut work.subject);
    let reason = REASONS.iter().find(|(name, _)| *name == args.reason).map(|(_, reason)| reason.clone());
    let reason = reason.ok_or_else(|| {
        let all: Vec<&str> = REASONS.iter().map(|(name, _)| *name).collect();
        Failure::usage(format!("`{}` is no reason: it is one of {}", args.reason, all.join(", ")))
    })?;
    let (wanted, live) = (work.wanted()?, work.live()?);
    let spec = wanted.certs.get(&args.name).ok_or_else(|| {
        let nearest = maint_core::config::nearest(&args.name, wanted.certs.keys().map(String::as_str));
        Failure::usage(format!("there is no [certs.{}]{nearest}", args.name))
    })?;
    let generation = match args.generation {
        Some(number) => Some(live.generation(&args.name, number)?),
        None => live.current(&args.name)?,
    };
    let leaf = generation.as_ref().and_then(Generation::leaf);
    let leaf = leaf.ok_or_else(|| Failure::usage(format!("{}: nothing was issued yet", args.name)))?;
    let client = Client::new(&spec.issuer, issuer(&wanted, &spec.issuer)?, &live)?;
    let record = |kind, status, message: String| {
        Record::new(kind, &args.name, status, message)
            .field("generation", generation.as_ref().map(|generation| generation.number))
            .field("serial", &leaf.serial)
            .field("not_after", leaf.not_after)
            .field("reason", &args.reason)
    };
    if args.change.dry_run {
        let message = format!("would be revoked at {}", client.issuer);
        work.run.emit(&record(Kind::Plan, Status::Planned, message));
        return Ok(());
    }
    let what = format!("revoke the certificate {} of {} for ever", leaf.serial, args.name);
    confirm(&what, args.change.yes).map_err(|error| Failure::usage(error.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    client.may_ask(jiff::Timestamp::now())?;
    let before = work.block_on(revoke(&client, leaf, &reason))?;
    let after = work.block_on(revoke(&client, leaf, &reason));
    warn_of_skew(&client, work);
    let (status, message) = match (before, after) {
        (Answer::Already, _) => (Status::Ok, "nothing to do: it was revoked already".to_owned()),
        (Answer::Done, Ok(Answer::Already)) => (Status::Ok, "it is revoked, and the authority says so".to_owned()),
        // Some authorities revoke it a second time without a word.
        (Answer::Done, Ok(Answer::Done)) => (Status::Ok, "the authority has taken the revocation".to_owned()),
        (Answer::Done, Err(failure)) => {
            (Status::Ineffective, format!("the authority has taken the revocation, but does not show it: {failure}"))
        }
    };
    work.run.emit(&record(Kind::Step, status, message));
    let served = live.current(&args.name)?;
    if served.as_ref().and_then(Generation::leaf).is_some_and(|served| served == leaf) {
        let message = format!("what is live is revoked now; run `cert-rotate rotate --force {}`", args.name);
        work.run.emit(&record(Kind::Finding, Status::Warning, message).field("code", "live-revoked"));
    }
    Ok(())
}

enum Answer {
    Done,
    Already,
}

async fn revoke(client: &Client<'_>, leaf: &Certificate, reason: &RevocationReason) -> Result<Answer, Failure> {
    let account = client.require_account().await?;
    let request = RevocationRequest { certificate: leaf.der(), reason: Some(reason.clone()) };
    match patient(async || account.revoke(&request).await).await {
        Ok(()) => Ok(Answer::Done),
        Err(Error::Api(problem)) if kind(&problem) == "alreadyRevoked" => Ok(Answer::Already),
        Err(error) => Err(client.refused("revoke the certificate", error)),
    }
}
