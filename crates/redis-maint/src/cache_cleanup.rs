//! `cache-cleanup`: which keys a policy wants to be gone. Pure: from a key as it was seen to a step or the reason why not.

use jiff::Timestamp;
use maint_core::units::{format_bytes, format_seconds};

use crate::entry::{Entry, Expiry};
use crate::policy::{Action, Policy, Rule};
use crate::scan::Attribute;
use crate::step::{self, Step};

/// What a policy says about a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It stays.
    Keep,
    /// It is to go (or to expire), by the rule of this index.
    Take(usize, Box<Step>),
    /// The rule of this index cannot be judged: this was not to be known.
    Unknown(usize, Attribute),
}

/// Decides about a key.
pub fn decide(policy: &Policy, entry: &Entry, seen: Timestamp) -> Decision {
    let Some((index, rule)) = policy.rule_for(&entry.key).and_then(|index| Some((index, policy.rules.get(index)?)))
    else {
        return Decision::Keep;
    };
    if rule.action != Action::Delete {
        return Decision::Keep;
    }
    match reasons(rule, entry, seen) {
        Ok(None) => Decision::Keep,
        Ok(Some(reason)) => {
            let mut step = Step::on(entry, step::Action::Delete, &rule.name, seen, reason);
            step.min_idle_seconds = rule.idle_seconds;
            Decision::Take(index, Box::new(step))
        }
        Err(attribute) => Decision::Unknown(index, attribute),
    }
}

/// Why the rule takes the key; none when a condition does not hold, which is known even when another is not.
fn reasons(rule: &Rule, entry: &Entry, seen: Timestamp) -> Result<Option<String>, Attribute> {
    let mut reasons = vec![format!("matches {}", rule.name)];
    let mut unknown = None;
    let mut holds = |known: Option<bool>, attribute: Attribute| {
        if known.is_none() {
            unknown = unknown.or(Some(attribute));
        }
        known != Some(false)
    };
    if let Some(kind) = &rule.kind {
        if !holds(entry.kind.as_ref().map(|seen| seen == kind), Attribute::Type) {
            return Ok(None);
        }
        reasons.push(format!("is a {kind}"));
    }
    if let Some(least) = rule.idle_seconds {
        if !holds(entry.idle_seconds.map(|idle| idle >= least), Attribute::Idle) {
            return Ok(None);
        }
        let idle = entry.idle_seconds.unwrap_or_default();
        reasons.push(format!("idle for {}", format_seconds(idle as f64)));
    }
    if let Some(most) = rule.larger_bytes {
        if !holds(entry.bytes.map(|bytes| bytes > most), Attribute::Bytes) {
            return Ok(None);
        }
        reasons.push(format!("takes {}", format_bytes(entry.bytes.unwrap_or_default())));
    }
    if rule.no_ttl {
        if !holds(entry.expiry.map(|expiry| expiry == Expiry::Never), Attribute::Expiry) {
            return Ok(None);
        }
        reasons.push("never expires".to_owned());
    }
    if let Some(most) = rule.left_at_most_ms {
        let left = entry.expiry.map(|expiry| match expiry {
            Expiry::Never => None,
            Expiry::At(moment) => Some(moment.duration_since(seen).as_millis().max(0)),
        });
        if !holds(left.map(|left| left.is_some_and(|left| left <= i128::from(most))), Attribute::Expiry) {
            return Ok(None);
        }
        let left = left.flatten().unwrap_or_default();
        reasons.push(format!("{} of its lifetime are left", format_seconds(left as f64 / 1000.0)));
    }
    unknown.map_or_else(|| Ok(Some(reasons.join(", "))), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::KeyType;

    fn policy(conditions: &str) -> Policy {
        Policy::parse(&format!("[[rule]]\nname = \"r\"\nmatch = \"cache:*\"\n{conditions}"), "p").unwrap()
    }

    fn entry() -> Entry {
        Entry {
            kind: Some(KeyType::Hash),
            bytes: Some(2048),
            expiry: Some(Expiry::Never),
            idle_seconds: Some(86_400),
            ..Entry::named(0, b"cache:1".to_vec())
        }
    }

    fn seen() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn takes(conditions: &str, entry: &Entry) -> bool {
        matches!(decide(&policy(conditions), entry, seen()), Decision::Take(0, _))
    }

    #[test]
    fn every_condition_has_to_hold() {
        let key = entry();
        assert!(takes("type = \"hash\"\nidle = \"1d\"\nlarger = \"2047B\"\nno_ttl = true", &key));
        assert!(!takes("type = \"set\"", &key));
        assert!(!takes("idle = \"25h\"", &key));
        // Larger means larger: a key of exactly that size stays.
        assert!(!takes("larger = \"2KiB\"", &key));
        assert!(!takes("no_ttl = true", &Entry { expiry: Some(Expiry::At(seen())), ..entry() }));
        assert!(!takes("larger = \"1B\"", &Entry { key: b"session:1".to_vec(), ..entry() }));
    }

    #[test]
    fn what_is_not_known_is_never_taken() {
        let blind = Entry { idle_seconds: None, ..entry() };
        assert_eq!(decide(&policy("idle = \"1d\""), &blind, seen()), Decision::Unknown(0, Attribute::Idle));
        // Where another condition fails already, nothing is unknown about the outcome.
        assert_eq!(decide(&policy("idle = \"1d\"\ntype = \"set\""), &blind, seen()), Decision::Keep);
        assert_eq!(decide(&policy("idle = \"1d\"\nlarger = \"1GiB\""), &blind, seen()), Decision::Keep);
    }

    #[test]
    fn an_old_key_is_one_with_little_of_its_lifetime_left() {
        let conditions = "age = \"6d\"\nlifetime = \"7d\"";
        let left = |hours: i64| Entry {
            expiry: Some(Expiry::At(seen() + jiff::SignedDuration::from_hours(hours))),
            ..entry()
        };
        assert!(takes(conditions, &left(23)));
        assert!(!takes(conditions, &left(25)));
        assert!(!takes(conditions, &entry()), "a key that never expires has no age");
    }

    #[test]
    fn a_key_that_another_rule_keeps_stays() {
        let text = "[[rule]]\nmatch = \"cache:1\"\naction = \"keep\"\n[[rule]]\nmatch = \"cache:*\"";
        let policy = Policy::parse(text, "p").unwrap();
        assert_eq!(decide(&policy, &entry(), seen()), Decision::Keep);
        let other = Entry { key: b"cache:2".to_vec(), ..entry() };
        assert!(matches!(decide(&policy, &other, seen()), Decision::Take(1, _)));
    }
}
