//! Is a certificate good, as it stands there or is served: one judgement from everything that is known about it.
//!
//! There are two verdicts side by side. `strict` is that of our own path validator ([`path`]): what RFC 5280
//! says. `webpki` is what clients that use rustls do, which is less, and is what decides whether they connect. They differ
//! for a reason whenever they do, and whoever has to act wants to know both.
//!
//! Everything here is a function of what was read; asking (`fetch`, `ocsp`) happens around it.

mod chain;
mod client;
mod fetch;
mod http;
mod ocsp;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::status::Status;
use rustls::pki_types::TrustAnchor;

use crate::certificate::Certificate;
use crate::cli::Purpose;
use crate::lint::{Level, Role, Source, lint};
use crate::path::{self, Crl, Question, Revocation, covers};
use crate::roots::Roots;

pub use fetch::{Fetched, Lists};
pub use ocsp::revocation as ask_responders;

/// Something that is wrong with a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for programs.
    pub code: &'static str,
    /// How bad.
    pub status: Status,
    /// What, for people.
    pub message: String,
    /// Which certificate: 0 is the leaf, 1 its issuer, and so on.
    pub depth: usize,
}

impl Finding {
    /// One.
    pub fn new(code: &'static str, status: Status, message: impl Into<String>, depth: usize) -> Self {
        Finding { code, status, message: message.into(), depth }
    }
}

/// A certificate with everything that was found with it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where it is, for records.
    pub source: String,
    /// The certificate that is judged.
    pub leaf: Certificate,
    /// As what.
    pub role: Role,
    /// What a client is shown: the leaf and everything that stands with it, in its order.
    pub shown: Vec<Certificate>,
    /// The order of `shown` matters, since a server shows it as it is.
    pub ordered: bool,
    /// Other certificates that may help to build the chain.
    pub beside: Vec<Certificate>,
    /// Names that it must be for.
    pub names: Vec<String>,
    /// The OCSP response that the server stapled.
    pub staple: Option<Vec<u8>>,
    /// It was shown by a server.
    pub served: bool,
    /// What was found wrong before it came here: its key, its file.
    pub findings: Vec<Finding>,
}

/// What is trusted.
#[derive(Debug)]
pub struct Trust {
    /// The roots as certificates; none when they come as names and keys only.
    pub roots: Vec<Certificate>,
    /// The roots as names and keys.
    pub anchors: Vec<TrustAnchor<'static>>,
}

impl Trust {
    /// Loads them.
    ///
    /// # Errors
    /// They cannot be read, or there is none.
    pub fn load(roots: &Roots) -> Result<Self, Failure> {
        if *roots == Roots::Mozilla {
            return Ok(Trust { roots: Vec::new(), anchors: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        }
        let roots = roots.load()?;
        let anchors = roots
            .iter()
            .filter_map(|root| Some(webpki::anchor_from_trusted_cert(root.der()).ok()?.to_owned()))
            .collect();
        Ok(Trust { roots, anchors })
    }

    /// Whether a strict verdict can be had.
    pub fn is_whole(&self) -> bool {
        !self.roots.is_empty()
    }
}

/// What is asked of every subject.
#[derive(Debug)]
pub struct Rules<'a> {
    /// What is trusted.
    pub trust: &'a Trust,
    /// Revocation lists.
    pub crls: &'a [Crl],
    /// Lists must speak of every certificate of the chain.
    pub revocation: bool,
    /// The time to judge by.
    pub at: Timestamp,
    /// What it is used for.
    pub purpose: Purpose,
    /// Findings of form are failures.
    pub strict: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// `ok`, the first thing wrong, or `not-asked` with the roots of which there are no certificates.
    pub strict: String,
    /// `ok`, the error as rustls's validator calls it, or `not-asked` of an authority.
    pub webpki: String,
    /// The chain, from the leaf up: to a root when there is a good one.
    pub chain: Vec<Certificate>,
    /// Everything that is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Adds what was found later.
    pub fn add(&mut self, more: impl IntoIterator<Item = Finding>) {
        self.findings.extend(more);
        self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.status.severity()), finding.depth));
    }
}

const OK: &str = "ok";
const NOT_ASKED: &str = "not-asked";

/// Judges one subject.
pub fn judge(subject: &Subject, rules: &Rules<'_>) -> Verdict {
    let helpers: Vec<Certificate> =
        subject.shown.iter().chain(&subject.beside).filter(|other| **other != subject.leaf).cloned().collect();
    // An authority is judged as such: whether it is for servers is asked of what it signs.
    let purpose = if subject.role == Role::Authority { Purpose::Any } else { rules.purpose };
    let question = Question {
        leaf: &subject.leaf,
        intermediates: &helpers,
        roots: &rules.trust.roots,
        crls: rules.crls,
        at: rules.at,
        purpose,
        revocation: if rules.revocation { Revocation::Require } else { Revocation::Ignore },
    };
    let strict = rules.trust.is_whole().then(|| path::judge(&question));
    let webpki = (subject.role == Role::Subscriber).then(|| client::judge(subject, &helpers, rules));

    let mut findings = subject.findings.clone();
    let path = match &strict {
        Some(Ok(path)) => Some(path.as_slice()),
        _ => None,
    };
    if let Some(Err(problems)) = &strict {
        findings.extend(problems.iter().map(|problem| chain::explain(problem, subject, rules)));
    }
    findings.extend(period(&subject.leaf, rules.at, &findings));
    let chain = chain::of(subject, path);
    findings.extend(chain::diagnose(subject, path, rules.at));
    if subject.role == Role::Subscriber {
        findings.extend(subject.names.iter().filter(|name| !covers(&subject.leaf, name)).map(|name| {
            Finding::new("wrong-name", Status::Critical, format!("{} is not for {name}", subject.leaf.title()), 0)
        }));
    }
    if let Some(Err(error)) = &webpki {
        findings.extend(client::explain(error, strict.is_some(), &findings, subject, rules));
    }
    findings.extend(form(subject, &chain, path, rules));
    let mut verdict = Verdict {
        strict: match &strict {
            None => NOT_ASKED.to_owned(),
            Some(Ok(_)) => OK.to_owned(),
            Some(Err(problems)) => problems.first().map_or("failed", |problem| problem.code).to_owned(),
        },
        webpki: match &webpki {
            None => NOT_ASKED.to_owned(),
            Some(Ok(())) => OK.to_owned(),
            Some(Err(error)) => client::name(error),
        },
        chain,
        findings: Vec::new(),
    };
    verdict.add(findings);
    verdict
}

/// That it is not valid now, when nobody has said so yet: the search for a path may have stopped before.
fn period(leaf: &Certificate, at: Timestamp, known: &[Finding]) -> Option<Finding> {
    let has = |code| known.iter().any(|finding| finding.depth == 0 && finding.code == code);
    if at < leaf.not_before {
        let message = format!("{} is valid from {} on only", leaf.title(), leaf.not_before);
        (!has("not-yet-valid")).then(|| Finding::new("not-yet-valid", Status::Critical, message, 0))
    } else if leaf.is_valid_at(at) {
        None
    } else {
        let message = format!("{} expired at {}", leaf.title(), leaf.not_after);
        (!has("expired")).then(|| Finding::new("expired", Status::Critical, message, 0))
    }
}

/// Lints of the chain's certificates, but not of a root above the leaf: nobody can do anything about it.
fn form(subject: &Subject, chain: &[Certificate], path: Option<&[Certificate]>, rules: &Rules<'_>) -> Vec<Finding> {
    let is_public = path.and_then(<[Certificate]>::last).is_some_and(is_public_root);
    let count = if path.is_some() { chain.len().saturating_sub(1).max(1) } else { chain.len() };
    let mut findings = Vec::new();
    for (depth, certificate) in chain.iter().take(count).enumerate() {
        let role = if depth == 0 { subject.role } else { Role::Authority };
        for found in lint(certificate, role) {
            // Rules of the browsers' authorities bind no others.
            let level = if found.source == Source::Baseline && !is_public { Level::Notice } else { found.level };
            // What is worth knowing of other people's intermediates is worth knowing to them.
            if depth > 0 && level == Level::Notice {
                continue;
            }
            let status = match level {
                Level::Error => Status::Critical,
                Level::Warning if rules.strict => Status::Critical,
                Level::Warning => Status::Warning,
                Level::Notice => Status::Ok,
            };
            findings.push(Finding::new(
                found.code,
                status,
                format!("{}: {}", certificate.title(), found.message),
                depth,
            ));
        }
    }
    findings
}

/// Whether browsers trust this root.
fn is_public_root(root: &Certificate) -> bool {
    let Ok(anchor) = webpki::anchor_from_trusted_cert(root.der()) else { return false };
    webpki_roots::TLS_SERVER_ROOTS.iter().any(|known| known.subject_public_key_info == anchor.subject_public_key_info)
}

#[cfg(test)]
mod tests;
