//! `expire-keys`: which keys a policy wants to expire, and when. Pure, as [`crate::cache_cleanup`].

use jiff::Timestamp;
use maint_core::units::format_seconds;

use crate::cache_cleanup::Decision;
use crate::entry::{Entry, Expiry};
use crate::policy::{Action, Mode, Policy, Rule};
use crate::scan::Attribute;
use crate::step::{self, Step};

/// A time to live beyond this was hardly meant: seconds were taken for milliseconds, say. In milliseconds: ten years.
pub const ABSURD_TTL_MS: i128 = 10 * 365 * 86_400_000;

/// Decides about a key.
pub fn decide(policy: &Policy, entry: &Entry, seen: Timestamp) -> Decision {
    let Some((index, rule)) = policy.rule_for(&entry.key).and_then(|index| Some((index, policy.rules.get(index)?)))
    else {
        return Decision::Keep;
    };
    if rule.action != Action::Expire {
        return Decision::Keep;
    }
    if let Some(kind) = &rule.kind {
        match &entry.kind {
            None => return Decision::Unknown(index, Attribute::Type),
            Some(seen) if seen != kind => return Decision::Keep,
            Some(_) => {}
        }
    }
    let Some(expiry) = entry.expiry else { return Decision::Unknown(index, Attribute::Expiry) };
    let reason = match (expiry, rule.mode) {
        (Expiry::Never, _) => "has no time to live".to_owned(),
        (Expiry::At(moment), Mode::Cap) if left_ms(moment, seen) > i128::from(rule.ttl_ms) => {
            format!("would live for {} more", shown(left_ms(moment, seen)))
        }
        _ => return Decision::Keep,
    };
    let ttl_ms = ttl_of(rule, &entry.key);
    let reason = format!("{reason}; gets {} by {}", shown(i128::from(ttl_ms)), rule.name);
    let mut step = Step::on(entry, step::Action::Expire, &rule.name, seen, reason);
    step.ttl_ms = Some(ttl_ms);
    Decision::Take(index, Box::new(step))
}

/// Milliseconds that the key has left; negative when it is past.
pub fn left_ms(moment: Timestamp, seen: Timestamp) -> i128 {
    moment.duration_since(seen).as_millis()
}

fn shown(ms: i128) -> String {
    format_seconds(ms as f64 / 1000.0)
}

/// The time to live for a key, in milliseconds: the rule's, shortened by a part of its jitter that depends on the name
/// alone. So a second run gives every key the same, and none outlives the rule.
fn ttl_of(rule: &Rule, key: &[u8]) -> u64 {
    // The multiplication spreads what a checksum of similar names leaves close together (Knuth's multiplicative hash).
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let share = (sum >> 11) as f64 / (1u64 << 53) as f64;
    let ttl = rule.ttl_ms as f64 * (1.0 - rule.jitter * share);
    (ttl as u64).clamp(1, rule.ttl_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn policy(more: &str) -> Policy {
        Policy::parse(&format!("[[rule]]\nmatch = \"session:*\"\nttl = \"24h\"\n{more}"), "p").unwrap()
    }

    fn seen() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn entry(hours: Option<i64>) -> Entry {
        let expiry = hours.map_or(Expiry::Never, |hours| Expiry::At(seen() + SignedDuration::from_hours(hours)));
        Entry { expiry: Some(expiry), ..Entry::named(0, b"session:1".to_vec()) }
    }

    fn ttl(decision: &Decision) -> Option<u64> {
        match decision {
            Decision::Take(_, step) => step.ttl_ms,
            _ => None,
        }
    }

    #[test]
    fn only_what_has_no_time_to_live_gets_one() {
        assert_eq!(ttl(&decide(&policy(""), &entry(None), seen())), Some(86_400_000));
        assert_eq!(decide(&policy(""), &entry(Some(1000)), seen()), Decision::Keep);
        assert_eq!(decide(&policy(""), &Entry { key: b"other".to_vec(), ..entry(None) }, seen()), Decision::Keep);
    }

    #[test]
    fn a_cap_shortens_what_is_longer_and_nothing_else() {
        let policy = policy("mode = \"cap\"");
        assert!(ttl(&decide(&policy, &entry(Some(25)), seen())).is_some());
        assert_eq!(decide(&policy, &entry(Some(24)), seen()), Decision::Keep);
        assert!(ttl(&decide(&policy, &entry(None), seen())).is_some());
    }

    #[test]
    fn jitter_spreads_but_gives_the_same_key_the_same() {
        let policy = policy("jitter = \"10%\"");
        let all: Vec<u64> = (0..200)
            .map(|number| {
                let key = Entry { key: format!("session:{number}").into_bytes(), ..entry(None) };
                let first = ttl(&decide(&policy, &key, seen())).unwrap();
                assert_eq!(ttl(&decide(&policy, &key, seen())), Some(first));
                first
            })
            .collect();
        assert!(all.iter().all(|ttl| (77_760_000..=86_400_000).contains(ttl)));
        let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!(most - least > 7_000_000, "{least} {most}");
    }

    #[test]
    fn a_key_whose_time_to_live_is_not_known_is_left_alone() {
        let blind = Entry { expiry: None, ..entry(None) };
        assert_eq!(decide(&policy(""), &blind, seen()), Decision::Unknown(0, Attribute::Expiry));
    }
}
