//! What is wrong with a chain as it is shown, and what a path validator's "no issuer" means in practice.
//!
//! A validator puts certificates in order by itself and passes over what it does not need. Clients differ in how far they
//! do so; and what was sent needlessly, or is missing and happens to be known to one client, tells of a mistake.

use std::collections::BTreeSet;

use jiff::Timestamp;
use maint_core::status::Status;

use super::{Finding, Rules, Subject};
use crate::certificate::Certificate;
use crate::lint::Role;
use crate::path::Problem;

/// Whether the first may have issued the second, going by names and key identifiers.
pub(super) fn issues(issuer: &Certificate, of: &Certificate) -> bool {
    let keys = issuer.subject_key_id.as_ref().zip(of.authority_key_id.as_ref());
    issuer.subject == of.issuer && keys.is_none_or(|(own, wanted)| own == wanted)
}

/// The chain from the leaf up: the good path, or as far as what is shown goes.
pub(super) fn of(subject: &Subject, path: Option<&[Certificate]>) -> Vec<Certificate> {
    if let Some(path) = path {
        return path.to_vec();
    }
    let mut chain = vec![subject.leaf.clone()];
    while let Some(last) = chain.last().filter(|last| !last.self_issued) {
        let mut all = subject.shown.iter().chain(&subject.beside);
        let Some(next) = all.find(|one| issues(one, last) && !chain.contains(one)) else { break };
        chain.push(next.clone());
    }
    chain
}

/// A problem of path validation, in the words of whoever has to mend the chain.
pub(super) fn explain(problem: &Problem, subject: &Subject, rules: &Rules<'_>) -> Finding {
    match problem.code {
        "unknown-issuer" => without_issuer(subject, rules),
        "untrusted-root" if problem.depth == 0 => without_issuer(subject, rules),
        // What could not be looked up is not known to be bad.
        "revocation-unknown" => Finding::new(problem.code, Status::Unknown, &problem.message, problem.depth),
        code => Finding::new(code, Status::Critical, &problem.message, problem.depth),
    }
}

/// The chain leads nowhere: a certificate is missing, or what it ends at is not trusted.
pub(super) fn without_issuer(subject: &Subject, rules: &Rules<'_>) -> Finding {
    let chain = of(subject, None);
    let depth = chain.len().saturating_sub(1);
    let Some(last) = chain.last() else { return Finding::new("unknown-issuer", Status::Critical, "no chain", 0) };
    let (title, issuer) = (last.title(), &last.issuer);
    let critical = |code, message: String| Finding::new(code, Status::Critical, message, depth);
    if last.self_issued && depth == 0 && subject.role == Role::Subscriber {
        critical("self-signed", format!("{title} is signed by itself, and nobody trusts it but who is told to"))
    } else if last.self_issued {
        critical("untrusted-root", format!("the chain ends at {title}, which is not among the roots that are trusted"))
    } else if rules.trust.roots.iter().any(|root| root.subject == *issuer) {
        critical("unknown-issuer", format!("the root of the name {issuer} that is trusted did not sign {title}"))
    } else {
        let message = format!(
            "{title} was issued by {issuer}, which is neither in the chain nor among the roots that are trusted: the chain \
             lacks that intermediate, or its root is another"
        );
        critical("missing-intermediate", message)
    }
}

/// What is wrong with what is shown, apart from whether a path can be found in it.
pub(super) fn diagnose(subject: &Subject, path: Option<&[Certificate]>, at: Timestamp) -> Vec<Finding> {
    let shown = &subject.shown;
    let mut findings = Vec::new();
    let mut say = |code, status, message: String| findings.push(Finding::new(code, status, message, 0));
    if subject.ordered
        && let Some(first) = shown.first()
        && *first != subject.leaf
    {
        let message = format!(
            "{} comes before {}: a server would show the former as its own, so turn the order round",
            first.title(),
            subject.leaf.title()
        );
        say("reversed", Status::Critical, message);
    } else if subject.ordered
        && let Some(path) = path
        && !is_in_order(shown, path)
    {
        let message =
            "the intermediates are not in the order of the chain, which clients older than TLS 1.3 may refuse";
        say("out-of-order", Status::Warning, message.to_owned());
    }
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> =
        shown.iter().filter(|one| !seen.insert(one.sha256())).map(Certificate::title).collect();
    for title in twice {
        say("duplicate", Status::Warning, format!("{title} is there more than once"));
    }
    let related = related(subject);
    for (number, one) in shown.iter().enumerate() {
        let again = shown.iter().take(number).any(|before| before == one);
        if again || *one == subject.leaf {
            continue;
        }
        if !related.contains(&one.sha256()) {
            let message = format!("{} has nothing to do with {}", one.title(), subject.leaf.title());
            say("unrelated", Status::Warning, message);
        } else if !one.is_valid_at(at) && path.is_some_and(|path| !path.contains(one)) {
            let message = format!(
                "{} is not valid (it ended at {}), and the chain is good by another way that not every client finds: take \
                 it out",
                one.title(),
                one.not_after
            );
            say("expired-intermediate-but-alternate-path", Status::Warning, message);
        } else if one.self_issued {
            say("extra-root", Status::Ok, format!("the root {} need not be sent: who trusts it has it", one.title()));
        }
    }
    if let Some(path) = path {
        let lent = path.iter().find(|one| !shown.contains(one) && subject.beside.contains(one));
        if let Some(lent) = lent.filter(|lent| path.last() != Some(lent)) {
            let message = format!("{} is needed, and stands in another file of the directory", lent.title());
            say("chain-in-another-file", Status::Ok, message);
        }
    }
    findings
}

/// Those of the shown that are on the path come in its order.
fn is_in_order(shown: &[Certificate], path: &[Certificate]) -> bool {
    let places: Vec<usize> = shown.iter().filter_map(|one| path.iter().position(|other| other == one)).collect();
    places.is_sorted()
}

/// The fingerprints of the leaf and of all that may be above it, by whatever way.
fn related(subject: &Subject) -> BTreeSet<[u8; 32]> {
    let mut related = BTreeSet::from([subject.leaf.sha256()]);
    let mut open = vec![&subject.leaf];
    while let Some(below) = open.pop() {
        for one in subject.shown.iter().filter(|one| issues(one, below)) {
            if related.insert(one.sha256()) {
                open.push(one);
            }
        }
    }
    related
}
