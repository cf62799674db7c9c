//! What is there of one certificate: in the directory, under way, and on the wire. Nothing is changed.

use jiff::Timestamp;
use maint_core::failure::Failure;
use serde::{Deserialize, Serialize};

use super::plan::Seen;
use crate::acme::Advisor;
use crate::certificate::Certificate;
use crate::config::{CertSpec, IssuerSpec};
use crate::deploy::Deployment;
use crate::deploy::gate::{is_of_type, lacking};
use crate::deploy::prove::look_at_all;
use crate::due;
use crate::key::{KeyType, PrivateKey};
use crate::live::{Generation, State};
use crate::pending::Pending;
use crate::work::Work;

/// What was asked for when what is under way began. What is under way for something else is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    names: Vec<String>,
    issuer: String,
    key_type: KeyType,
    /// It was asked for by name, so it may end before the one it replaces.
    pub forced: bool,
}

impl Asked {
    /// What the configuration asks for now.
    pub fn by(spec: &CertSpec, forced: bool) -> Self {
        Asked { names: spec.names.clone(), issuer: spec.issuer.clone(), key_type: spec.key_type, forced }
    }

    /// What is under way, if it is for what the configuration asks for now.
    pub fn under_way(pending: &Pending, spec: &CertSpec) -> Option<Self> {
        let asked: Asked = pending.read("asked")?;
        (asked == Asked::by(spec, asked.forced)).then_some(asked)
    }
}

/// A chain that was issued and is not live yet, with its key.
#[derive(Debug)]
pub struct Issued {
    /// Leaf first.
    pub chain: Vec<Certificate>,
    /// Its key.
    pub key: PrivateKey,
}

impl Issued {
    /// Reads it, whatever it is; `None` when there is none.
    pub fn read(pending: &Pending) -> Option<Self> {
        let chain = Certificate::all_from_pem(&pending.get("chain.pem")?).ok()?;
        let key = PrivateKey::from_pem(&zeroize::Zeroizing::new(pending.get("privkey.pem")?)).ok()?;
        Some(Issued { chain, key })
    }

    /// Reads it, if it is still of use to a later run than the one that it was issued to.
    pub fn of_use(pending: &Pending, spec: &CertSpec, now: Timestamp) -> Option<Self> {
        Asked::under_way(pending, spec)?;
        Issued::read(pending).filter(|issued| {
            issued.chain.first().is_some_and(|leaf| {
                issued.key.is_of(leaf)
                    && now <= leaf.not_after
                    && lacking(leaf, &spec.names).is_empty()
                    && is_of_type(&leaf.key, spec.key_type)
            })
        })
    }
}

/// Looks.
///
/// # Errors
/// What is live cannot be read, or the configuration of when it is due does not hold.
pub fn inspect<'a>(
    work: &Work<'_>,
    deployment: &Deployment<'a>,
    issuer: Option<&'a IssuerSpec>,
    advisor: &mut Advisor<'a>,
) -> Result<Seen, Failure> {
    let Deployment { name, spec, live, .. } = *deployment;
    let current = live.current(name)?;
    let leaf = current.as_ref().and_then(Generation::leaf);
    let advice = match (leaf, issuer) {
        (Some(leaf), Some(IssuerSpec::Acme(acme))) => advisor.advice(leaf, &spec.issuer, acme, work),
        _ => None,
    };
    let due = leaf.map(|leaf| due::due(leaf, Some(spec), advice)).transpose()?;
    let under_way = Asked::under_way(&deployment.pending, spec).is_some();
    let issued = Issued::of_use(&deployment.pending, spec, work.now).and_then(|issued| issued.chain.into_iter().next());
    let shown = match leaf {
        Some(leaf) => work.block_on(look_at_all(&spec.consumers, Some(leaf))),
        None => Vec::new(),
    };
    let deployed = issued.as_ref().is_some_and(|issued| leaf.is_some_and(|leaf| leaf.sha256() == issued.sha256()));
    let current = current.map(|current| {
        let meta = live.meta(name, current.number);
        (current, meta)
    });
    // A run was killed after it had proven it and before it had forgotten that it was under way.
    let done = deployed && current.as_ref().is_some_and(|(_, meta)| meta.state == State::Live);
    let waiting = issued.filter(|_| !deployed);
    Ok(Seen { current, due, under_way: under_way && !done, waiting, done, shown })
}
