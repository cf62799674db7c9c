//! Revocation lists that certificates name (cRLDistributionPoints, RFC 5280, 4.2.1.13), each fetched once in a run.

use std::collections::BTreeMap;
use std::time::Duration;

use maint_core::status::Status;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};

use super::{Finding, Subject, http};
use crate::certificate::Certificate;
use crate::path::Crl;
use crate::read::MAX_BYTES;
use crate::work::Work;

/// What came of one address.
pub type Fetched = Result<Vec<Crl>, String>;

/// The lists of a run, by address.
#[derive(Debug, Default)]
pub struct Lists {
    by_address: BTreeMap<String, Fetched>,
}

impl Lists {
    /// Fetches those that the subject's certificates name and that are not here yet; adds to `crls` what is new. What
    /// cannot be had is a finding: nothing is known of who may stand on it.
    pub fn fetch(
        &mut self,
        subject: &Subject,
        crls: &mut Vec<Crl>,
        timeout: Duration,
        work: &Work<'_>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let all = std::iter::once(&subject.leaf).chain(&subject.shown).chain(&subject.beside);
        let mut asked = std::collections::BTreeSet::new();
        for address in all.flat_map(addresses).filter(|address| asked.insert(address.clone())) {
            let fetched = self.by_address.entry(address.clone()).or_insert_with(|| {
                let fetched = work.block_on(fetch(&address, timeout));
                if let Ok(lists) = &fetched {
                    crls.extend(lists.iter().cloned());
                }
                fetched
            });
            if let Err(why) = fetched {
                let message = format!("the revocation list {address} cannot be had: {why}");
                findings.push(Finding::new("list-unreachable", Status::Unknown, message, 0));
            }
        }
        findings
    }
}

async fn fetch(address: &str, timeout: Duration) -> Fetched {
    let body = http::ask(address, None, MAX_BYTES as usize, timeout).await?;
    Crl::all(&body).map_err(|error| error.to_string())
}

/// Where a certificate's lists are; of other schemes than http (LDAP, in old companies) none can be asked.
fn addresses(certificate: &Certificate) -> Vec<String> {
    let Some(parsed) = certificate.parsed() else { return Vec::new() };
    let mut found = Vec::new();
    for extension in parsed.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in &points.points {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
            // The addresses of one point are of the same list: the first that can be asked is enough.
            found.extend(names.iter().find_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with("http://") => Some((*uri).to_owned()),
                _ => None,
            }));
        }
    }
    found
}
