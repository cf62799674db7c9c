//! What a finding means for the run.

use std::str::FromStr;

use maint_core::status::Status;

use crate::advisory::Severity;
use crate::finding::{Finding, FindingKind, Tier};

/// What is critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOn {
    /// Vulnerabilities that are built by default on this platform, or of which nobody looked whether they are.
    Active,
    /// Every finding.
    Any,
    /// Every finding that does not stand in the baseline.
    New,
    /// Vulnerabilities of that severity and above, however far they are used.
    Severity(Severity),
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "active" => FailOn::Active,
            "any" => FailOn::Any,
            "new" => FailOn::New,
            "low" => FailOn::Severity(Severity::Low),
            "medium" => FailOn::Severity(Severity::Medium),
            "high" => FailOn::Severity(Severity::High),
            "critical" => FailOn::Severity(Severity::Critical),
            _ => return Err(format!("`{text}` is none of active, any, new, low, medium, high, critical")),
        })
    }
}

/// The status of a finding.
pub fn status(finding: &Finding, fail_on: FailOn) -> Status {
    if finding.is_excepted() {
        return Status::Ok;
    }
    let is_used = finding.tier.is_none_or(|tier| tier == Tier::Active);
    let is_vulnerability = matches!(finding.kind, FindingKind::Vulnerability | FindingKind::Toolchain);
    let is_critical = match fail_on {
        FailOn::Any => true,
        FailOn::New => !finding.known,
        FailOn::Active => is_vulnerability && is_used,
        // One without a score is as bad as any: nobody has said that it is not.
        FailOn::Severity(least) => is_vulnerability && finding.severity >= least,
    };
    if is_critical { Status::Critical } else { Status::Warning }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Excepted;

    fn finding(kind: FindingKind, severity: Severity, tier: Option<Tier>) -> Finding {
        Finding {
            kind,
            id: "A-1".into(),
            aliases: Vec::new(),
            title: String::new(),
            url: None,
            package: "x".into(),
            version: "1.0.0".into(),
            lockfile: "Cargo.lock".into(),
            line: 1,
            tier,
            severity,
            patched: Vec::new(),
            members: Vec::new(),
            excepted: None,
            known: false,
        }
    }

    #[test]
    fn one_without_a_score_passes_every_threshold() {
        for (severity, critical) in [(Severity::Unknown, true), (Severity::High, true), (Severity::Medium, false)] {
            let found = status(&finding(FindingKind::Vulnerability, severity, None), "high".parse().unwrap());
            assert_eq!(found == Status::Critical, critical, "{severity:?}");
        }
    }

    #[test]
    fn what_is_not_built_is_no_emergency_and_not_silent_either() {
        let of = |tier| status(&finding(FindingKind::Vulnerability, Severity::High, tier), FailOn::Active);
        assert_eq!(of(Some(Tier::Active)), Status::Critical);
        assert_eq!(of(None), Status::Critical, "nobody looked");
        assert_eq!(of(Some(Tier::Gated)), Status::Warning);
        assert_eq!(of(Some(Tier::LockOnly)), Status::Warning);
        let old = finding(FindingKind::Unmaintained, Severity::Unknown, Some(Tier::Active));
        assert_eq!(status(&old, FailOn::Active), Status::Warning);
        assert_eq!(status(&old, FailOn::Any), Status::Critical);
    }

    #[test]
    fn what_nobody_looked_at_is_not_ok() {
        let elsewhere = finding(FindingKind::Unscanned, Severity::Unknown, None);
        assert_eq!(status(&elsewhere, FailOn::Active), Status::Warning);
    }

    #[test]
    fn what_somebody_lets_pass_is_ok_until_the_last_day() {
        let mut found = finding(FindingKind::Vulnerability, Severity::High, None);
        let until = jiff::civil::date(2026, 6, 1);
        let mut by = Excepted { reason: "x".into(), owner: "y".into(), until, expired: false };
        found.excepted = Some(by.clone());
        assert_eq!(status(&found, FailOn::Any), Status::Ok);
        by.expired = true;
        found.excepted = Some(by);
        assert_eq!(status(&found, FailOn::Active), Status::Critical);
    }

    #[test]
    fn a_word_that_is_no_policy_is_refused() {
        assert!("hight".parse::<FailOn>().unwrap_err().contains("high"));
    }
}
