//! When a certificate has to be renewed: a pure question about its lifetime, what the operator wants, and what its
//! authority advises.
//!
//! Lifetimes go from 45 seconds in a test to years inside a company, so no rule counts days alone: `min(30d,33%)` warns
//! thirty days before the end of a year's certificate and two days before the end of one of six days.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use maint_core::units::{HumanDuration, HumanRatio};

use crate::certificate::Certificate;
use crate::config::CertSpec;

/// Up to this lifetime a certificate is renewed at half of it, because a third would leave too few runs to try again.
const SHORT_LIVED: SignedDuration = SignedDuration::from_hours(10 * 24);

/// This share of the lifetime (one part in so many) is left when no advice can postpone any more.
const EMERGENCY: i32 = 20;

/// Text that is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not how long before the end: {reason}; write for example 30d, 33% or min(30d,33%)")]
pub struct RuleError {
    text: String,
    reason: String,
}

/// How long before its end something happens to a certificate: a duration, a share of its lifetime, or the shorter of
/// both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    duration: Option<Duration>,
    share: Option<f64>,
}

impl Rule {
    /// How long before the end, for a certificate of that lifetime.
    pub fn before(&self, lifetime: SignedDuration) -> SignedDuration {
        let fixed = self.duration.map(|duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX));
        let share = self.share.map(|share| {
            SignedDuration::try_from_secs_f64(lifetime.as_secs_f64() * share).unwrap_or(SignedDuration::MAX)
        });
        fixed.into_iter().chain(share).min().unwrap_or(SignedDuration::ZERO)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fail = |reason: String| RuleError { text: text.to_owned(), reason };
        let trimmed = text.trim();
        let parts = trimmed.strip_prefix("min(").map(|rest| rest.strip_suffix(')').ok_or("`)` is missing"));
        let parts: Vec<&str> = match parts {
            None => vec![trimmed],
            Some(Ok(inside)) => inside.split(',').map(str::trim).collect(),
            Some(Err(reason)) => return Err(fail(reason.to_owned())),
        };
        let mut rule = Rule { duration: None, share: None };
        for part in parts {
            let taken = if part.ends_with('%') {
                let share: HumanRatio = part.parse().map_err(|error| fail(format!("{error}")))?;
                if share.0 > 1.0 {
                    return Err(fail(format!("{part} is more than the whole lifetime")));
                }
                rule.share.replace(share.0).is_some()
            } else {
                let duration: HumanDuration = part.parse().map_err(|error| fail(format!("{error}")))?;
                rule.duration.replace(duration.0).is_some()
            };
            if taken {
                return Err(fail("it has one duration and one share at most".to_owned()));
            }
        }
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.duration, self.share) {
            (Some(duration), Some(share)) => write!(f, "min({},{})", HumanDuration(duration), HumanRatio(share)),
            (Some(duration), None) => write!(f, "{}", HumanDuration(duration)),
            (None, share) => write!(f, "{}", HumanRatio(share.unwrap_or_default())),
        }
    }
}

/// When a certificate has to be renewed, and why then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// From this moment on.
    pub renew_at: Timestamp,
    /// `lifetime`, `configured` (`renew_before`), `advice` (of the authority, RFC 9773), or `emergency` (it cannot be
    /// postponed further).
    pub reason: &'static str,
}

impl Due {
    /// Whether that moment has come.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renew_at
    }
}

/// The moment after the last second in which the certificate is valid (RFC 5280, 4.1.2.5: the last one belongs to it).
pub fn end(leaf: &Certificate) -> Timestamp {
    after(leaf.not_after)
}

/// As [`end`], from the last second.
pub fn after(not_after: Timestamp) -> Timestamp {
    not_after.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

/// Decides when a certificate has to be renewed. `advice` is the time that was picked in the window its authority
/// suggests.
///
/// - By its lifetime: when a third of it is left, half of it for lifetimes of ten days or less.
/// - What the operator configured takes the place of that. A duration that is longer than the lifetime would make
///   every new certificate due at once; then half of the lifetime counts.
/// - Advice takes the place of the lifetime's third, later or earlier, but never beyond the moment when a twentieth of
///   the lifetime is left. It can only bring forward what the operator configured.
///
/// # Errors
/// `renew_before` is no rule.
pub fn due(leaf: &Certificate, spec: Option<&CertSpec>, advice: Option<Timestamp>) -> Result<Due, Failure> {
    let configured = spec.and_then(|spec| spec.renew_before.as_deref());
    due_within(leaf.not_before, leaf.not_after, configured, advice)
}

/// As [`due`], from nothing but the first and the last second in which a certificate is valid.
///
/// # Errors
/// As [`due`].
pub fn due_within(
    not_before: Timestamp,
    not_after: Timestamp,
    configured: Option<&str>,
    advice: Option<Timestamp>,
) -> Result<Due, Failure> {
    let end = after(not_after);
    let lifetime = end.duration_since(not_before);
    // Certificates know whole seconds only, and so do the moments that follow from them.
    let ahead_of_end = |ahead: SignedDuration| {
        end.saturating_sub(SignedDuration::from_secs(ahead.as_secs())).unwrap_or(Timestamp::MIN)
    };
    let planned = if let Some(text) = configured {
        let rule: Rule = text.parse().map_err(|error| Failure::usage(format!("renew_before: {error}")))?;
        let before = rule.before(lifetime);
        let before = if before >= lifetime { lifetime / 2 } else { before };
        Due { renew_at: ahead_of_end(before), reason: "configured" }
    } else {
        let before = if lifetime <= SHORT_LIVED { lifetime / 2 } else { lifetime / 3 };
        Due { renew_at: ahead_of_end(before), reason: "lifetime" }
    };
    let Some(advice) = advice else { return Ok(planned) };
    let emergency = Due { renew_at: ahead_of_end(lifetime / EMERGENCY), reason: "emergency" };
    let advised = Due { renew_at: advice, reason: "advice" };
    let advised = if emergency.renew_at < advice { emergency } else { advised };
    Ok(if configured.is_some() && planned.renew_at <= advised.renew_at { planned } else { advised })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// A certificate that was valid from 2026-01-01 for so many seconds.
    fn lasting(seconds: i64) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let start = std::time::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        params.not_before = start.into();
        // The last second belongs to it.
        params.not_after = (start + Duration::from_secs(u64::try_from(seconds).unwrap() - 1)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn configured(rule: &str) -> CertSpec {
        CertSpec {
            names: vec!["a.test".to_owned()],
            issuer: "x".to_owned(),
            key_type: crate::key::KeyType::P256,
            reuse_key: false,
            renew_before: Some(rule.to_owned()),
            roots: None,
            key_mode: None,
            owner: None,
            group: None,
            install: Vec::new(),
            consumers: Vec::new(),
        }
    }

    /// How long after the start it is renewed, and why.
    fn after_start(leaf: &Certificate, spec: Option<&CertSpec>, advice: Option<i64>) -> (i64, &'static str) {
        let advice = advice.map(|seconds| leaf.not_before + SignedDuration::from_secs(seconds));
        let due = due(leaf, spec, advice).unwrap();
        (due.renew_at.duration_since(leaf.not_before).as_secs(), due.reason)
    }

    #[test]
    fn two_thirds_of_the_lifetime_pass_or_half_of_a_short_one() {
        assert_eq!(after_start(&lasting(90 * DAY), None, None), (60 * DAY, "lifetime"));
        assert_eq!(after_start(&lasting(45 * DAY), None, None), (30 * DAY, "lifetime"));
        assert_eq!(after_start(&lasting(10 * DAY), None, None), (5 * DAY, "lifetime"));
        assert_eq!(after_start(&lasting(6 * DAY), None, None), (3 * DAY, "lifetime"));
        assert_eq!(after_start(&lasting(46), None, None), (23, "lifetime"));
    }

    #[test]
    fn advice_brings_forward_and_postpones_but_not_beyond_the_emergency() {
        let leaf = lasting(100 * DAY);
        assert_eq!(after_start(&leaf, None, Some(2 * DAY)), (2 * DAY, "advice"));
        assert_eq!(after_start(&leaf, None, Some(90 * DAY)), (90 * DAY, "advice"));
        assert_eq!(after_start(&leaf, None, Some(95 * DAY)), (95 * DAY, "advice"));
        assert_eq!(after_start(&leaf, None, Some(95 * DAY + 1)), (95 * DAY, "emergency"));
        assert_eq!(after_start(&leaf, None, Some(500 * DAY)), (95 * DAY, "emergency"));
    }

    #[test]
    fn a_window_in_the_past_means_now() {
        let leaf = lasting(90 * DAY);
        let due = due(&leaf, None, Some(leaf.not_before - SignedDuration::from_hours(1))).unwrap();
        assert!(due.is_due(leaf.not_before) && due.reason == "advice");
    }

    #[test]
    fn what_is_configured_counts_and_only_earlier_advice_beats_it() {
        let leaf = lasting(90 * DAY);
        assert_eq!(after_start(&leaf, Some(&configured("10d")), None), (80 * DAY, "configured"));
        assert_eq!(after_start(&leaf, Some(&configured("min(30d,10%)")), None), (81 * DAY, "configured"));
        assert_eq!(after_start(&leaf, Some(&configured("50%")), Some(60 * DAY)), (45 * DAY, "configured"));
        assert_eq!(after_start(&leaf, Some(&configured("50%")), Some(40 * DAY)), (40 * DAY, "advice"));
    }

    #[test]
    fn a_new_certificate_is_never_due_by_its_age() {
        for rule in ["30d", "6d", "100%", "min(30d,100%)"] {
            assert_eq!(
                after_start(&lasting(6 * DAY), Some(&configured(rule)), None),
                (3 * DAY, "configured"),
                "{rule}"
            );
        }
    }

    #[test]
    fn the_moment_itself_is_due() {
        let due = Due { renew_at: Timestamp::UNIX_EPOCH, reason: "lifetime" };
        assert!(due.is_due(Timestamp::UNIX_EPOCH));
        assert!(!due.is_due(Timestamp::UNIX_EPOCH - SignedDuration::from_nanos(1)));
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in ["30d", "33%", "min(30d,33%)", "1h30m", "0%"] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let rule: Rule = "min( 7d , 10% )".parse().unwrap();
        assert_eq!(rule.before(SignedDuration::from_secs(90 * DAY)).as_secs(), 7 * DAY);
        assert_eq!(rule.before(SignedDuration::from_secs(10 * DAY)).as_secs(), DAY);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("30", "no unit"),
            ("min(30d,33%", "`)` is missing"),
            ("min(30d,1d)", "at most"),
            ("150%", "whole lifetime"),
            ("", "empty"),
            ("-5%", "not a ratio"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let spec = configured("soon");
        assert!(due(&lasting(DAY), Some(&spec), None).unwrap_err().message.contains("renew_before: `soon`"));
    }
}
