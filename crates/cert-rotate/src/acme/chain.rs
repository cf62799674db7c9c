//! What came back: whether it is what was ordered, and which of several chains to take.

use std::collections::BTreeSet;

use maint_core::failure::Failure;
use x509_parser::prelude::X509Name;

use super::finding;
use super::order::Ordering;
use crate::certificate::Certificate;

/// Reads the chain and holds it against the order; takes the alternate that ends at the preferred root, if there is one.
pub(super) async fn choose(
    ordering: &Ordering<'_, '_>,
    pem: &str,
    names: &BTreeSet<String>,
) -> Result<Vec<Certificate>, Failure> {
    // Before anything else is asked: it is of the last answer.
    let alternates = ordering.client.wire.said().alternates;
    let usual = believed(ordering, pem.as_bytes(), names)?;
    let Some(preferred) = &ordering.client.spec.preferred_chain else { return Ok(usual) };
    let mut offered = vec![root_name(&usual)];
    if offered.iter().any(|name| name == preferred) {
        return Ok(usual);
    }
    for url in alternates {
        let said = ordering.client.fetch(&ordering.account, &url).await?;
        if said.status != 200 {
            tracing::info!("the alternate chain {url} cannot be had: HTTP status {}", said.status);
            continue;
        }
        let chain = believed(ordering, &said.body, names)?;
        let name = root_name(&chain);
        if name == *preferred {
            return Ok(chain);
        }
        offered.push(name);
    }
    let message = format!(
        "no chain ends at `{preferred}`; offered are {}, and the first is taken",
        offered.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    finding(ordering.work, ordering.request.name, "preferred-chain-missing", message);
    Ok(usual)
}

/// As [`read`]; an order that ended in something else is not gone on with.
fn believed(ordering: &Ordering<'_, '_>, pem: &[u8], names: &BTreeSet<String>) -> Result<Vec<Certificate>, Failure> {
    let chain = read(ordering, pem, names);
    if chain.is_err() {
        ordering.forget()?;
    }
    chain
}

fn read(ordering: &Ordering<'_, '_>, pem: &[u8], names: &BTreeSet<String>) -> Result<Vec<Certificate>, Failure> {
    let issuer = ordering.client.issuer;
    let chain = Certificate::all_from_pem(pem)
        .map_err(|error| Failure::critical(format!("{issuer}: the authority's answer cannot be read: {error}")))?;
    let Some(leaf) = chain.first() else {
        return Err(Failure::critical(format!("{issuer}: the authority's answer holds no certificate")));
    };
    if !ordering.request.key.is_of(leaf) {
        return Err(Failure::critical(format!("{issuer}: the authority certified a key that is not ours")));
    }
    let certified: BTreeSet<String> = leaf.names.iter().map(ToString::to_string).collect();
    if certified != *names {
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(Failure::critical(format!(
            "{issuer}: the authority certified {}, ordered was {}",
            list(&certified),
            list(names)
        )));
    }
    Ok(chain)
}

/// The common name of the root that a chain ends at; the root itself is as a rule not in it. A name without one is shown
/// whole.
fn root_name(chain: &[Certificate]) -> String {
    let Some(last) = chain.last() else { return String::new() };
    let common_name =
        |name: &X509Name<'_>| name.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    last.parsed().and_then(|parsed| common_name(parsed.issuer())).unwrap_or_else(|| last.issuer.clone())
}
