//! `account`: the account at an ACME authority.

use instant_acme::Account;
use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::acme::{Client, warn_of_skew};
use crate::cli::AccountAction;
use crate::config::{AcmeSpec, IssuerSpec, Wanted};
use crate::work::Work;

/// Shows or changes the account.
///
/// # Errors
/// There is no such issuer, the authority cannot be reached or refuses, or nobody agreed to close the account.
pub fn run(action: &AccountAction, work: &mut Work<'_>) -> Result<(), Failure> {
    let wanted = work.wanted()?;
    match action {
        AccountAction::Show { issuer } => show(&wanted, issuer, work),
        AccountAction::Register { issuer, change } => {
            changing(&wanted, issuer, change, work, "register an account, and agree to the authority's terms", register)
        }
        AccountAction::Rollover { issuer, change } => {
            changing(&wanted, issuer, change, work, "give the account a new key", rollover)
        }
        AccountAction::Deactivate { issuer, change } => {
            if !change.dry_run {
                let what = format!("close the account at {issuer} for ever");
                confirm(&what, change.yes).map_err(|error| Failure::usage(error.to_string()))?;
            }
            changing(&wanted, issuer, change, work, "close the account for ever", deactivate)
        }
    }
}

/// The ACME issuer of that name.
///
/// # Errors
/// There is none, or it is of another kind.
pub(crate) fn issuer<'a>(wanted: &'a Wanted, name: &str) -> Result<&'a AcmeSpec, Failure> {
    match wanted.issuers.get(name) {
        Some(IssuerSpec::Acme(spec)) => Ok(spec),
        Some(_) => Err(Failure::usage(format!("[issuers.{name}] does not speak ACME")).hint("name one with kind acme")),
        None => {
            let nearest = maint_core::config::nearest(name, wanted.issuers.keys().map(String::as_str));
            Err(Failure::usage(format!("there is no [issuers.{name}]{nearest}")))
        }
    }
}

fn about(client: &Client<'_>, account: &Account, status: Status, message: String) -> Record {
    Record::new(Kind::Step, client.issuer, status, message)
        .field("account", account.id())
        .field("directory", &client.spec.directory)
        .field("key_thumbprint", account.key_thumbprint())
}

fn show(wanted: &Wanted, name: &str, work: &mut Work<'_>) -> Result<(), Failure> {
    name.clone_into(&mut work.subject);
    let client = Client::new(name, issuer(wanted, name)?, &work.live()?)?;
    let (account, told) = work.block_on(async {
        let account = client.require_account().await?;
        let told = client.account_status(&account).await?;
        Ok::<_, Failure>((account, told))
    })?;
    warn_of_skew(&client, work);
    let (status, message) = match told.as_deref() {
        Some("valid") => (Status::Ok, "the account is open".to_owned()),
        Some(other) => (Status::Critical, format!("the authority does not accept the account: {other}")),
        None => (Status::Unknown, "the authority does not say how the account is".to_owned()),
    };
    let state = client.state.read();
    let record = Record { kind: Kind::Check, ..about(&client, &account, status, message) };
    let failures: Vec<&String> = state.failures.keys().collect();
    work.run.emit(
        &record.field("contact", &client.spec.contact).field("come_back", state.come_back).field("failures", failures),
    );
    Ok(())
}

type Change = fn(&Client<'_>, &Work<'_>) -> Result<Record, Failure>;

fn changing(
    wanted: &Wanted,
    name: &str,
    change: &ChangeArgs,
    work: &mut Work<'_>,
    what: &str,
    apply: Change,
) -> Result<(), Failure> {
    open_guard(change, &mut work.settings, &work.cancel)?;
    name.clone_into(&mut work.subject);
    let client = Client::new(name, issuer(wanted, name)?, &work.live()?)?;
    if change.dry_run {
        work.run.emit(&Record::new(Kind::Plan, name, Status::Planned, what).field("directory", &client.spec.directory));
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    client.may_ask(jiff::Timestamp::now())?;
    let record = apply(&client, work)?;
    warn_of_skew(&client, work);
    work.run.emit(&record);
    Ok(())
}

fn register(client: &Client<'_>, work: &Work<'_>) -> Result<Record, Failure> {
    let (account, told) = work.block_on(async {
        let account = client.open_account().await?;
        let told = client.account_status(&account).await?;
        Ok::<_, Failure>((account, told))
    })?;
    Ok(match told.as_deref() {
        Some("valid") | None => about(client, &account, Status::Ok, "the account is registered".to_owned()),
        Some(other) => {
            let message = format!("the authority does not accept the account that is there: {other}");
            about(client, &account, Status::Failed, message)
        }
    })
}

fn rollover(client: &Client<'_>, work: &Work<'_>) -> Result<Record, Failure> {
    let _lock = client.lock_account()?;
    let account = work.block_on(client.rollover())?;
    Ok(about(client, &account, Status::Ok, "the account has a new key, and the authority accepts it".to_owned()))
}

fn deactivate(client: &Client<'_>, work: &Work<'_>) -> Result<Record, Failure> {
    let _lock = client.lock_account()?;
    work.block_on(client.deactivate())?;
    let message = "the account is closed, and its key is forgotten";
    Ok(Record::new(Kind::Step, client.issuer, Status::Ok, message).field("directory", &client.spec.directory))
}
