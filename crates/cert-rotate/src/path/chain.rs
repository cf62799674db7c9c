//! One path from the leaf to a root, checked as RFC 5280, 6.1 has it. All that is wrong is told, not only the first.
//!
//! A root is a certificate here, and is held to what it says: its time, that it is an authority, its path length and name
//! constraints. RFC 5280 leaves that to the application (6.1.1, d); whoever renews a root wants to know when it has expired.

use super::constraint::{Outside, Space};
use super::extension::{DIGITAL_SIGNATURE, KEY_AGREEMENT, KEY_CERT_SIGN, KEY_ENCIPHERMENT};
use super::facts::Facts;
use super::policy::{Policies, Refused};
use super::revocation;
use super::search::{Effort, Known, Rule};
use super::{Problem, Purpose, Revocation};

const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const NO_POLICY: &str = "no-valid-policy";
const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// What is wrong with a path of numbers, the leaf first; signatures and issuers' names hold already.
pub(super) fn check(known: &Known<'_>, path: &[usize], rule: &Rule, effort: &mut Effort) -> Vec<Problem> {
    let facts: Vec<&Facts<'_>> = path.iter().filter_map(|&number| known.facts.get(number)).collect();
    let mut problems = Vec::new();
    let mut walk = Walk {
        space: Space::default(),
        // The root is no part of the path (6.1), unless it is all there is.
        policies: Policies::new(facts.len().saturating_sub(1).max(1)),
        allowance: u32::MAX,
        problems: &mut problems,
    };
    for (depth, one) in facts.iter().enumerate().rev() {
        let is_root = depth + 1 == facts.len();
        walk.alone(one, depth, known);
        if !is_root || depth == 0 {
            walk.enter(one, depth, effort);
        }
        if depth > 0 {
            walk.leave(one, depth, is_root);
            if !is_root {
                walk.purpose_of_authority(one, depth, rule.purpose);
            }
        } else {
            walk.leaf(one, rule.purpose);
        }
    }
    if rule.revocation != Revocation::Ignore {
        let root = path.last().copied().unwrap_or_default();
        for (depth, pair) in path.windows(2).enumerate() {
            let [subject, issuer] = pair else { continue };
            match revocation::status(known, *subject, *issuer, root, rule, effort) {
                revocation::Status::Revoked(why) => problems.push(Problem::new("revoked", why, depth)),
                revocation::Status::Unknown(why) if rule.revocation == Revocation::Require => {
                    problems.push(Problem::new("revocation-unknown", why, depth));
                }
                revocation::Status::Good | revocation::Status::Unknown(_) => {}
            }
        }
    }
    // What was left out could have been wrong.
    if effort.exhausted && problems.is_empty() {
        problems.push(Problem::new("too-much-work", "there is more to check than can be checked", 0));
    }
    problems
}

/// The state of RFC 5280, 6.1.2.
struct Walk<'w, 'a> {
    space: Space<'a>,
    policies: Policies<'a>,
    /// max_path_length.
    allowance: u32,
    problems: &'w mut Vec<Problem>,
}

impl<'a> Walk<'_, 'a> {
    fn tell(&mut self, code: &'static str, depth: usize, facts: &Facts<'_>, what: impl std::fmt::Display) {
        self.problems.push(Problem::new(code, format!("{}: {what}", facts.certificate.title()), depth));
    }

    /// What a certificate is by itself.
    fn alone(&mut self, facts: &Facts<'_>, depth: usize, known: &Known<'_>) {
        let (at, certificate) = (known.question.at, facts.certificate);
        if at < certificate.not_before {
            self.tell("not-yet-valid", depth, facts, format_args!("valid only from {} on", certificate.not_before));
        } else if !certificate.is_valid_at(at) {
            self.tell("expired", depth, facts, format_args!("expired at {}", certificate.not_after));
        }
        for oid in &facts.extensions.unknown {
            let what = format_args!("has the critical extension {oid}, which nobody here knows");
            self.tell("unknown-critical-extension", depth, facts, what);
        }
    }

    /// Takes one in (6.1.3).
    fn enter(&mut self, facts: &Facts<'a>, depth: usize, effort: &mut Effort) {
        let (self_issued, last) = (facts.is_self_issued(), depth == 0);
        if !self_issued || last {
            match self.space.admit(facts, &mut effort.comparisons) {
                Ok(()) => {}
                Err(Outside::Forbidden(why)) => self.tell("name-forbidden", depth, facts, why),
                Err(Outside::Unclear(why)) => self.tell("name-constraint-unclear", depth, facts, why),
                Err(Outside::TooMuch) => {
                    effort.exhausted = true;
                    self.tell("too-much-work", depth, facts, "too many names for too many constraints");
                }
            }
        }
        let entered = self.policies.enter(&facts.extensions, self_issued, last);
        self.policies_held(entered, facts, depth);
    }

    /// Prepares for what it issued (6.1.4).
    fn leave(&mut self, facts: &Facts<'a>, depth: usize, is_root: bool) {
        let self_issued = facts.is_self_issued();
        if !facts.is_ca() {
            self.tell("not-an-authority", depth, facts, "is no authority (basicConstraints), and may issue nothing");
        }
        if !facts.may(KEY_CERT_SIGN) {
            self.tell("may-not-sign", depth, facts, "may not sign certificates (keyUsage)");
        }
        if !is_root {
            if !self_issued {
                match self.allowance.checked_sub(1) {
                    Some(left) => self.allowance = left,
                    None => self.tell("path-too-long", depth, facts, "an authority above allows no further one here"),
                }
            }
            let left = self.policies.leave(&facts.extensions, self_issued);
            self.policies_held(left, facts, depth);
        }
        if let Some(limit) = facts.extensions.basic.and_then(|basic| basic.path_length) {
            self.allowance = self.allowance.min(limit);
        }
        if let Some(constraints) = &facts.extensions.constraints {
            self.space.narrow(constraints);
        }
    }

    fn policies_held(&mut self, held: Result<(), Refused>, facts: &Facts<'_>, depth: usize) {
        match held {
            // Once none is left, none comes back.
            Err(Refused::NoneLeft) if self.problems.iter().any(|problem| problem.code == NO_POLICY) => {}
            Ok(()) => {}
            Err(Refused::NoneLeft) => {
                self.tell(NO_POLICY, depth, facts, "a policy is required, and none is valid down to here");
            }
            Err(Refused::AnyMapped) => {
                self.tell("any-policy-mapped", depth, facts, "maps anyPolicy, which nobody may");
            }
        }
    }

    fn purpose_of_authority(&mut self, facts: &Facts<'_>, depth: usize, purpose: Purpose) {
        if !serves(facts, purpose) {
            self.tell("wrong-purpose", depth, facts, "may issue only for other purposes (extended key usage)");
        }
    }

    /// The end of the path (6.1.5), and what the leaf is for.
    fn leaf(&mut self, facts: &Facts<'a>, purpose: Purpose) {
        let ended = self.policies.end(&facts.extensions);
        self.policies_held(ended, facts, 0);
        if !serves(facts, purpose) {
            self.tell("wrong-purpose", 0, facts, "is for other purposes (extended key usage)");
        }
        let needed = match purpose {
            Purpose::Server => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | KEY_AGREEMENT,
            Purpose::Client => DIGITAL_SIGNATURE | KEY_AGREEMENT,
            Purpose::Any => return,
        };
        if !facts.may(needed) {
            self.tell("wrong-key-usage", 0, facts, "its key may not be used in TLS (keyUsage)");
        }
    }
}

fn serves(facts: &Facts<'_>, purpose: Purpose) -> bool {
    let wanted = match purpose {
        Purpose::Server => SERVER,
        Purpose::Client => CLIENT,
        Purpose::Any => return true,
    };
    facts.extensions.purposes.as_ref().is_none_or(|all| all.contains(&wanted) || all.contains(&ANY_PURPOSE))
}
