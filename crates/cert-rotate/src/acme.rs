//! Authorities that speak ACME (RFC 8555), as Let's Encrypt does.
//!
//! instant-acme speaks the protocol; what is here is what an operator needs around it.
//!
//! - `wire` carries the requests and keeps what the library drops. `client` is one authority, and what its refusals
//!   mean. `account` is our account with it.
//! - `order` gets a certificate; `prove` and `challenge` prove the names, `chain` looks at what came.
//! - `ari` learns when the authority advises to renew.
//! - `state` is what must not be forgotten between runs: when not to ask, and what was picked.

mod account;
mod ari;
mod chain;
mod challenge;
mod client;
mod order;
mod prove;
mod state;
mod wire;

use std::collections::BTreeMap;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::certificate::Certificate;
use crate::config::AcmeSpec;
use crate::issue::{Answer, Request};
use crate::live::Live;
use crate::work::Work;

pub(crate) use client::{Client, kind, patient};

/// Orders the certificate, or goes on with the order that is under way.
///
/// # Errors
/// - exit 75: the authority asked not to come back yet, or a failed proof is not old enough; the time is in the message.
/// - exit 2: it cannot be reached, refused, or answered with something else than was ordered.
/// - exit 3: what is configured for it does not hold.
pub fn obtain(request: &Request<'_>, issuer: &AcmeSpec, work: &Work<'_>) -> Result<Answer, Failure> {
    let client = Client::new(request.issuer, issuer, &work.live()?)?;
    let now = Timestamp::now();
    client.may_ask(now)?;
    if let Some(before) = client.state.read().failures.get(request.name)
        && now < before.come_back
    {
        return Err(Failure::not_now(format!(
            "{}: it failed {} times in a row and is not tried again before {}: {}",
            request.name, before.count, before.come_back, before.message
        ))
        .hint(format!("when the cause is gone, letsencrypt-renewal --force {} tries at once", request.name)));
    }
    let chain = work.block_on(async {
        let account = client.open_account().await?;
        warn_of_skew(&client, work);
        let ordering = order::Ordering { client: &client, account, request, work };
        let chain = ordering.run().await?;
        Ok::<_, Failure>((ordering.account.id().to_owned(), chain))
    });
    let (account, chain) = chain?;
    client.state.change(|state| {
        state.failures.remove(request.name);
        if let Some(leaf) = chain.first() {
            let issued = state::Issued { account, until: leaf.not_after };
            state.issued.insert(leaf.fingerprint(), issued);
        }
    })?;
    Ok(Answer::Issued(chain))
}

/// Lets a certificate be tried again at once, after an operator said so. What the authority itself asked for stays.
///
/// # Errors
/// The note cannot be written.
pub fn forgive(name: &str, issuer: &str, spec: &AcmeSpec, live: &Live) -> Result<(), Failure> {
    let client = Client::new(issuer, spec, live)?;
    if client.state.read().failures.contains_key(name) {
        client.state.change(|state| state.failures.remove(name))?;
    }
    Ok(())
}

/// What authorities advise on many certificates, with one connection to each.
pub struct Advisor<'a> {
    live: Live,
    clients: BTreeMap<&'a str, Client<'a>>,
}

impl<'a> Advisor<'a> {
    /// Nobody is asked yet.
    pub fn new(live: Live) -> Self {
        Advisor { live, clients: BTreeMap::new() }
    }

    /// The moment picked in the window that the issuer suggests for this certificate; `None` when it suggests none, or
    /// cannot be asked and never was.
    pub fn advice(
        &mut self,
        leaf: &Certificate,
        issuer: &'a str,
        spec: &'a AcmeSpec,
        work: &Work<'_>,
    ) -> Option<Timestamp> {
        if !self.clients.contains_key(issuer) {
            match Client::new(issuer, spec, &self.live) {
                Ok(client) => self.clients.insert(issuer, client),
                Err(failure) => {
                    tracing::warn!("no advice from {issuer}: {failure}");
                    return None;
                }
            };
        }
        let client = self.clients.get(issuer)?;
        work.block_on(ari::advice(client, leaf))
    }
}

/// A wrong clock is told once, where somebody reads it.
pub(crate) fn warn_of_skew(client: &Client<'_>, work: &Work<'_>) {
    if let Some(ahead) = client.skew() {
        let way = if ahead.is_negative() { "behind" } else { "ahead of" };
        let seconds = ahead.abs().as_secs();
        let message = format!("the authority's clock is {seconds} s {way} ours: one of the two is wrong");
        finding(work, client.issuer, "clock-skew", message);
    }
}

fn finding(work: &Work<'_>, subject: &str, code: &'static str, message: String) {
    work.run.emit(&Record::new(Kind::Finding, subject, Status::Warning, message).field("code", code));
}
