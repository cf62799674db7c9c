//! Whether a certificate is revoked, by the lists at hand (RFC 5280, 6.3).
//!
//! A list that is out of date still proves a revocation that it has, but never that there is none.

use super::Purpose;
use super::crl::{List, REMOVED};
use super::extension::{ALL_REASONS, CRL_SIGN, Point};
use super::facts::Facts;
use super::name::GeneralName;
use super::search::{Effort, Known, Rule, Thing};

/// Lists that say who may sign lists that say who may sign lists: no authority needs more.
const NESTED: usize = 3;

/// What the lists say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Lists for every reason were read, and it is on none.
    Good,
    /// It is on one.
    Revoked(String),
    /// Not all is known, and why.
    Unknown(String),
}

/// What the lists say of `subject`, issued by `issuer`, in a path that ends at `root`.
pub(super) fn status(
    known: &Known<'_>,
    subject: usize,
    issuer: usize,
    root: usize,
    rule: &Rule,
    effort: &mut Effort,
) -> Status {
    let Some(facts) = known.facts.get(subject) else { return Status::Unknown(String::new()) };
    let title = facts.certificate.title();
    let mut why = "there is no revocation list for it".to_owned();
    // Every list of the issuer's is a place too, whether the certificate names it or not.
    let everywhere =
        Point { names: vec![GeneralName::Directory(facts.issuer.clone())], reasons: ALL_REASONS, issuers: Vec::new() };
    let mut reasons = 0;
    for point in facts.extensions.points.iter().chain([&everywhere]) {
        for (number, list) in known.lists.iter().enumerate() {
            if !effort.look(list.size() + point.size(list)) {
                return Status::Unknown(format!("{title}: there are more and larger lists than can be looked at"));
            }
            let Some(covered) = covered(list, point, facts).filter(|covered| covered & !reasons != 0) else { continue };
            if let Some(unusable) = &list.unusable {
                why = format!("the revocation list cannot be used: {unusable}");
                continue;
            }
            if list.this_update > known.question.at {
                why = format!("the revocation list is of the future, {}", list.this_update);
                continue;
            }
            // An authority may have the signer of its lists report on itself; it then says so in that certificate.
            let reports_itself = !point.issuers.is_empty();
            let asked = Asked { subject, issuer, root, reports_itself };
            let Some(signer) = signer(known, number, list, asked, rule, effort) else {
                why = String::from("nobody at hand who may do so has signed the revocation list");
                continue;
            };
            let delta = delta(known, list, signer, effort);
            let latest = delta.and_then(|delta| delta.entry(&facts.issuer, facts.serial));
            let entry = latest.or_else(|| list.entry(&facts.issuer, facts.serial));
            if let Some(entry) = entry.filter(|entry| entry.reason != REMOVED) {
                return Status::Revoked(format!("{title} is revoked: {}", reason(entry.reason)));
            }
            if delta.is_none() && list.next_update < known.question.at {
                why = format!("the revocation list is out of date since {}", list.next_update);
                continue;
            }
            reasons |= covered;
        }
    }
    match reasons {
        ALL_REASONS => Status::Good,
        0 => Status::Unknown(format!("{title}: whether it is revoked is not known: {why}")),
        _ => Status::Unknown(format!("{title}: whether it is revoked is known for some reasons only")),
    }
}

/// For which reasons the list speaks of this certificate at this place; `None` when it does not.
fn covered(list: &List<'_>, point: &Point<'_>, facts: &Facts<'_>) -> Option<u16> {
    if list.base.is_some() {
        return None;
    }
    let scope = list.scope.as_ref();
    if point.issuers.is_empty() {
        if list.issuer != facts.issuer {
            return None;
        }
    } else if !point.issuers.contains(&list.issuer) || !scope.is_some_and(|scope| scope.indirect) {
        return None;
    }
    let Some(scope) = scope else { return Some(point.reasons) };
    let is_named = |name: &GeneralName<'_>| {
        if point.names.is_empty() {
            name.directory().is_some_and(|name| point.issuers.contains(name))
        } else {
            point.names.contains(name)
        }
    };
    let in_place = scope.names.is_empty() || scope.names.iter().any(is_named);
    let is_kind =
        !(scope.only_attributes || (scope.only_users && facts.is_ca()) || (scope.only_authorities && !facts.is_ca()));
    (in_place && is_kind).then_some(point.reasons & scope.reasons)
}

/// Whose status it is, in which path.
#[derive(Debug, Clone, Copy)]
struct Asked {
    subject: usize,
    issuer: usize,
    root: usize,
    reports_itself: bool,
}

/// The certificate whose key signed the list and may do so: the issuer's own, or another of that name below the same root.
fn signer(
    known: &Known<'_>,
    number: usize,
    list: &List<'_>,
    asked: Asked,
    rule: &Rule,
    effort: &mut Effort,
) -> Option<usize> {
    let mut candidates = known.named(&list.issuer, list.authority_key);
    if !effort.look(candidates.len()) {
        return None;
    }
    candidates.sort_by_key(|&candidate| candidate != asked.issuer);
    candidates.into_iter().find(|&candidate| {
        let may = known.facts.get(candidate).is_some_and(|facts| facts.may(CRL_SIGN));
        if !may || known.is_signed(Thing::List(number), candidate, effort).is_err() {
            return false;
        }
        if candidate == asked.issuer || candidate == asked.root {
            return true;
        }
        if candidate == asked.subject {
            return asked.reports_itself;
        }
        if rule.open.contains(&candidate) || rule.open.len() >= NESTED {
            return false;
        }
        let mut open = rule.open.clone();
        open.push(asked.subject);
        let inner = Rule { purpose: Purpose::Any, revocation: rule.revocation, root: Some(asked.root), open };
        known.find(candidate, &inner, effort).is_ok()
    })
}

/// The newest delta list that goes on from this one, by the same key and in force.
fn delta<'k, 'a>(known: &'k Known<'a>, list: &List<'a>, signer: usize, effort: &mut Effort) -> Option<&'k List<'a>> {
    let at = known.question.at;
    let mut best: Option<&List<'a>> = None;
    if !effort.look(known.lists.len()) {
        return None;
    }
    for (number, delta) in known.lists.iter().enumerate() {
        let in_force = delta.unusable.is_none() && delta.this_update <= at && at <= delta.next_update;
        if in_force
            && delta.goes_on_from(list)
            && best.is_none_or(|best| best.this_update < delta.this_update)
            && known.is_signed(Thing::List(number), signer, effort).is_ok()
        {
            best = Some(delta);
        }
    }
    best
}

/// CRLReason (RFC 5280, 5.3.1).
fn reason(code: u32) -> &'static str {
    match code {
        1 => "its key is compromised",
        2 => "its authority is compromised",
        3 => "its owner's affiliation changed",
        4 => "it was superseded",
        5 => "it is no longer in operation",
        6 => "it is on hold",
        9 => "its privileges were withdrawn",
        10 => "the attribute authority is compromised",
        _ => "no reason is given",
    }
}
