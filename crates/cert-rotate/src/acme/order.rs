//! One order, from placing it to the chain (RFC 8555, 7.4).
//!
//! The order's address is on disk before anything else happens to it. A run that was killed, or that the authority kept
//! waiting, is gone on with by the next one, which does not order again: the certificate may be issued already.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use instant_acme::{Account, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy};
use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::fault;
use maint_core::status::Exit;
use serde::{Deserialize, Serialize};

use super::client::{Client, explain, patient};
use super::{ari, chain};
use crate::certificate::{Certificate, hex, sha256};
use crate::due;
use crate::issue::Request;
use crate::work::Work;

/// The note in `pending` that holds the order.
const NOTE: &str = "order";

/// How often and how long an order is asked about. The authority's `Retry-After` goes before.
pub(super) const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(50)).backoff(1.5).timeout(Duration::from_secs(180));

/// An order that was placed, as the next run needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    directory: String,
    account: String,
    url: String,
    names: BTreeSet<String>,
    profile: Option<String>,
    /// SHA-256 of the public key that it certifies: an order is of no use for another one.
    key: String,
}

/// The parts of an order that the library does not hand out.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    identifiers: Vec<Identifier>,
}

/// Why an order came to nothing, and whether that may be tried again at once.
pub(super) struct Setback {
    pub(super) failure: Failure,
    pub(super) burned: bool,
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Setback { failure, burned: false }
    }
}

/// One order's surroundings.
pub(super) struct Ordering<'a, 'b> {
    pub(super) client: &'a Client<'a>,
    pub(super) account: Account,
    pub(super) request: &'a Request<'a>,
    pub(super) work: &'a Work<'b>,
}

impl Ordering<'_, '_> {
    /// The chain, by the order that is under way or by a new one.
    pub(super) async fn run(&self) -> Result<Vec<Certificate>, Failure> {
        let names = wanted(&self.request.spec.names)?;
        let profile = self.profile().await?;
        if let Some(order) = self.resume(&names).await? {
            tracing::info!("{}: going on with the order {}", self.request.name, order.url());
            let chain = self.settle(order, &names).await?;
            if self.is_of_use(&chain) {
                return Ok(chain);
            }
            tracing::info!("{}: what that order brought is of no use any more", self.request.name);
            self.forget()?;
        }
        let order = self.place(&names, profile).await?;
        self.settle(order, &names).await
    }

    /// A chain that waited for so long that it would be renewed at once is not deployed.
    fn is_of_use(&self, chain: &[Certificate]) -> bool {
        let now = Timestamp::now();
        chain
            .first()
            .is_some_and(|leaf| due::due(leaf, Some(self.request.spec), None).is_ok_and(|due| !due.is_due(now)))
    }

    async fn profile(&self) -> Result<Option<&str>, Failure> {
        let Some(profile) = self.client.spec.profile.as_deref() else { return Ok(None) };
        let offered = self.client.directory().await?.meta.profiles;
        if offered.contains_key(profile) {
            return Ok(Some(profile));
        }
        let names: Vec<&str> = offered.keys().map(String::as_str).collect();
        let offers = if names.is_empty() { "no profiles".to_owned() } else { names.join(", ") };
        Err(Failure::usage(format!("{}: there is no profile `{profile}`; it offers {offers}", self.client.issuer))
            .hint("correct or remove `profile` of the issuer"))
    }

    /// The order that an earlier run placed, if it can still become this certificate.
    async fn resume(&self, names: &BTreeSet<String>) -> Result<Option<Order>, Failure> {
        let Some(placed) = self.request.pending.read::<Option<Placed>>(NOTE).flatten() else { return Ok(None) };
        if placed != self.placed(placed.url.clone(), names) {
            tracing::info!("{}: the order {} was for something else", self.request.name, placed.url);
            return Ok(None);
        }
        match patient(async || self.account.order(placed.url.clone()).await).await {
            Ok(mut order) => {
                if order.state().status == OrderStatus::Invalid {
                    return Ok(None);
                }
                self.check_identifiers(names)?;
                Ok(Some(order))
            }
            // The authority has forgotten it, as they do after a while.
            Err(Error::Api(problem)) if matches!(self.client.wire.said().status, 403 | 404) => {
                tracing::info!("{}: the order {} is gone: {}", self.request.name, placed.url, explain(&problem));
                Ok(None)
            }
            Err(error) => Err(self.client.refused(&format!("go on with the order {}", placed.url), error)),
        }
    }

    fn placed(&self, url: String, names: &BTreeSet<String>) -> Placed {
        Placed {
            directory: self.client.spec.directory.clone(),
            account: self.account.id().to_owned(),
            url,
            names: names.clone(),
            profile: self.client.spec.profile.clone(),
            key: hex(&sha256(&self.request.key.public())),
        }
    }

    /// What is under way will never be of use: the next run orders anew.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        self.request.pending.note(NOTE, &None::<Placed>)
    }

    /// Places a new order and keeps its address.
    async fn place(&self, names: &BTreeSet<String>, profile: Option<&str>) -> Result<Order, Failure> {
        let identifiers: Vec<Identifier> = names.iter().map(|name| identifier(name)).collect();
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            new = new.profile(profile);
        }
        let plain = async || {
            let mut new = NewOrder::new(&identifiers);
            if let Some(profile) = profile {
                new = new.profile(profile);
            }
            patient(async || self.account.new_order(&new).await).await
        };
        let placed = match self.replaces(names).await? {
            None => plain().await,
            Some(id) => {
                let new = new.replaces(id);
                match patient(async || self.account.new_order(&new).await).await {
                    Ok(order) => Ok(order),
                    Err(error) => {
                        // What of `replaces` an authority does not like is told in many ways, if at all. An order is worth
                        // more than the mention of what it replaces.
                        let (said, name) = (self.client.wire.said(), self.request.name);
                        match (&said.location, said.status) {
                            // It took the order and did not repeat the field; the library hands out no such order.
                            (Some(url), 200..300) => {
                                tracing::info!("{name}: the authority took the order without a word on `replaces`");
                                patient(async || self.account.order(url.clone()).await).await
                            }
                            (_, 400..500) if said.status != 429 => {
                                tracing::info!("{name}: ordering again without `replaces`: {error}");
                                plain().await
                            }
                            _ => Err(error),
                        }
                    }
                }
            }
        };
        let order = placed.map_err(|error| self.client.refused("place an order", error))?;
        self.request.pending.note(NOTE, &Some(self.placed(order.url().to_owned(), names)))?;
        fault::point("acme-order-placed");
        self.check_identifiers(names)?;
        Ok(order)
    }

    /// The identifier of the certificate that the order replaces (RFC 9773, 5), where the authority can make use of it:
    /// it gives renewal information, issued that one to this account, and the names have something in common.
    async fn replaces(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<Option<instant_acme::CertificateIdentifier<'static>>, Failure> {
        let Some(leaf) = self.request.replaces else { return Ok(None) };
        if self.client.directory().await?.renewal_info.is_none() {
            return Ok(None);
        }
        let issued = self.client.state.read().issued.remove(&leaf.fingerprint());
        let ours = issued.is_some_and(|issued| issued.account == self.account.id());
        let shares = leaf.names.iter().any(|name| names.contains(&name.to_string()));
        Ok(if ours && shares { ari::identifier(leaf) } else { None })
    }

    /// The order that was just told must be for what was asked for.
    fn check_identifiers(&self, names: &BTreeSet<String>) -> Result<(), Failure> {
        let body: Option<Body> = serde_json::from_slice(&self.client.wire.said().body).ok();
        let told: BTreeSet<String> = body.map(|body| body.identifiers).unwrap_or_default().iter().map(text).collect();
        if told == *names {
            return Ok(());
        }
        self.forget()?;
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(Failure::critical(format!(
            "{}: the authority's order is for {}, asked for was {}",
            self.client.issuer,
            list(&told),
            list(names)
        )))
    }

    /// Brings an order to its end; a failure that costs at the authority is followed by a pause.
    async fn settle(&self, mut order: Order, names: &BTreeSet<String>) -> Result<Vec<Certificate>, Failure> {
        let setback = match self.bring_home(&mut order, names).await {
            Ok(chain) => return Ok(chain),
            Err(setback) => setback,
        };
        if !setback.burned {
            return Err(setback.failure);
        }
        self.forget()?;
        let Failure { exit, message, hint } = setback.failure;
        let now = Timestamp::now();
        let again = self.client.state.change(|state| state.failed(self.request.name, &message, now))?;
        let hint = hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
        Err(Failure::new(exit, format!("{message}; it is not tried again before {again}")).hint(format!(
            "{hint}when the cause is gone, letsencrypt-renewal --force {} tries at once",
            self.request.name
        )))
    }

    async fn bring_home(&self, order: &mut Order, names: &BTreeSet<String>) -> Result<Vec<Certificate>, Setback> {
        if order.state().status == OrderStatus::Pending {
            self.prove(order, names).await?;
        }
        if order.state().status == OrderStatus::Ready {
            self.finalize(order, names).await?;
        }
        let pem = patient(async || order.poll_certificate(&POLL).await).await;
        let pem = pem.map_err(|error| self.burned("fetch the certificate", error))?;
        Ok(chain::choose(self, &pem, names).await?)
    }

    /// A refusal, which costs when the authority has looked at the order and said no. Its own failures (status 5xx) are
    /// not ours.
    pub(super) fn burned(&self, doing: &str, error: Error) -> Setback {
        let told = matches!(error, Error::Api(_)) && self.client.wire.said().status < 500;
        let failure = self.client.refused(doing, error);
        Setback { burned: told && failure.exit == Exit::Critical, failure }
    }

    async fn finalize(&self, order: &mut Order, names: &BTreeSet<String>) -> Result<(), Setback> {
        let csr = request_of(self.request, names)?;
        let finalized = patient(async || order.finalize_csr(&csr).await).await;
        finalized.map_err(|error| self.burned("have the request signed", error))?;
        fault::point("acme-finalized");
        Ok(())
    }
}

/// The names of a certificate as the protocol has them: in lower case, each once.
fn wanted(names: &[String]) -> Result<BTreeSet<String>, Failure> {
    let plain = |name: &String| {
        if name.is_ascii() {
            return Ok(text(&identifier(&name.to_ascii_lowercase())));
        }
        Err(Failure::usage(format!("names: {name} has letters outside of ASCII")).hint("write it as xn--... (IDNA)"))
    };
    names.iter().map(plain).collect()
}

fn identifier(name: &str) -> Identifier {
    name.parse::<IpAddr>().map_or_else(|_| Identifier::Dns(name.to_owned()), Identifier::Ip)
}

fn text(identifier: &Identifier) -> String {
    identifier.authorized(false).to_string().to_ascii_lowercase()
}

/// The request for a certificate (PKCS #10), in DER.
fn request_of(request: &Request<'_>, names: &BTreeSet<String>) -> Result<Vec<u8>, Failure> {
    let failed = |error: rcgen::Error| Failure::critical(format!("{}: cannot make the request: {error}", request.name));
    let mut params = rcgen::CertificateParams::new(names.iter().cloned().collect::<Vec<_>>()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(request.key.pair()).map_err(failed)?;
    Ok(csr.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_once_and_addresses_in_their_short_form() {
        let given = ["B.test", "b.test", "*.A.test", "2001:DB8:0::1"].map(str::to_owned);
        let names: Vec<String> = wanted(&given).unwrap().into_iter().collect();
        assert_eq!(names, ["*.a.test", "2001:db8::1", "b.test"]);
        assert!(wanted(&["müller.test".to_owned()]).unwrap_err().hint.unwrap().contains("xn--"));
    }
}
