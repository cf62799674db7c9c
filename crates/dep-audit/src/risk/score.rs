//! The parts of the score, and what each is worth. They are an order of worth, not a probability.

use crate::advisory::Severity;
use crate::finding::{Finding, FindingKind, Tier};
use crate::graph::Traits;

/// No score is higher.
const MOST: u32 = 100;

const DAY: i64 = 86_400;
const YEAR: i64 = 31_557_600;

/// What is known of a package. `None` is what nobody knows.
pub(super) struct Facts<'a> {
    /// Open findings.
    pub(super) findings: Vec<&'a Finding>,
    /// How long ago the locked version was published.
    pub(super) age_seconds: Option<i64>,
    /// How long ago the newest version was.
    pub(super) silence_seconds: Option<i64>,
    /// What its manifest says.
    pub(super) traits: Option<&'a Traits>,
    /// Its version is 0.x.
    pub(super) is_before_one: bool,
    /// So many versions of the crate are locked.
    pub(super) versions: usize,
    /// So many packages need it.
    pub(super) dependants: usize,
    /// It needs so many.
    pub(super) needs: usize,
}

/// A part of the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name in records.
    pub(super) name: &'static str,
    /// What it adds; `None` where it is not known.
    pub(super) points: Option<u32>,
    /// For people.
    pub(super) why: String,
}

/// The sum, 100 at most; what is not known adds nothing, and is named beside it.
pub(super) fn total(parts: &[Part]) -> u32 {
    parts.iter().filter_map(|part| part.points).sum::<u32>().min(MOST)
}

/// All parts, in a fixed order.
pub(super) fn parts(facts: &Facts<'_>) -> Vec<Part> {
    let part = |name, points: Option<u32>, why: &str| Part { name, points, why: why.to_owned() };
    let has = |kind: FindingKind| facts.findings.iter().any(|finding| finding.kind == kind);
    let yes = |is: bool, points: u32| Some(if is { points } else { 0 });
    let of_trait =
        |is: fn(&Traits) -> bool, points: u32| facts.traits.map(|traits| if is(traits) { points } else { 0 });
    let years = facts.silence_seconds.map(|seconds| seconds / YEAR);
    let (worst, count) = vulnerabilities(&facts.findings);
    vec![
        part("vulnerabilities", Some(worst), &format!("{count} open vulnerabilities")),
        part("unsound", yes(has(FindingKind::Unsound), 15), "it can break memory safety"),
        part("unmaintained", yes(has(FindingKind::Unmaintained), 15), "nobody looks after it"),
        part("yanked", yes(has(FindingKind::Yanked), 10), "the version was taken back"),
        part("elsewhere", yes(has(FindingKind::Unscanned), 10), "it comes from elsewhere than the registry"),
        part(
            "silence",
            years.map(|years| if years >= 3 { 10 } else { u32::from(years >= 2) * 5 }),
            &format!("no release for {} years", years.unwrap_or_default()),
        ),
        part("fresh", facts.age_seconds.map(|age| u32::from(age < 14 * DAY) * 10), "it is younger than 14 days"),
        part("build_script", of_trait(|traits| traits.has_build_script, 5), "it runs a program when it is built"),
        part("proc_macro", of_trait(|traits| traits.is_proc_macro, 5), "it runs inside of the compiler"),
        part("links", of_trait(|traits| traits.has_links, 5), "it links a library of another language"),
        part("license", of_trait(|traits| traits.license.is_none(), 5), "it names no licence"),
        part("repository", of_trait(|traits| !traits.has_repository, 3), "it names no repository"),
        part("before_one", yes(facts.is_before_one, 2), "its version is 0.x"),
        part(
            "duplicates",
            Some(u32::try_from(facts.versions.saturating_sub(1)).unwrap_or(MOST).saturating_mul(2).min(6)),
            &format!("{} versions of it are locked", facts.versions),
        ),
        part("reach", Some(reach(facts.dependants)), &format!("{} packages need it", facts.dependants)),
        part("weight", Some(reach(facts.needs).saturating_sub(1)), &format!("it needs {} others", facts.needs)),
    ]
}

/// The worst counts whole, every further one a little. One without a score is as bad as any.
fn vulnerabilities(findings: &[&Finding]) -> (u32, usize) {
    let of = |finding: &&&Finding| {
        let whole = match finding.severity {
            Severity::Critical | Severity::High | Severity::Unknown => 40,
            Severity::Medium => 25,
            Severity::Low | Severity::None => 10,
        };
        match finding.tier {
            None | Some(Tier::Active) => whole,
            Some(Tier::Gated) => whole / 2,
            Some(Tier::LockOnly) => 3,
        }
    };
    let open: Vec<u32> = findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Vulnerability)
        .map(|finding| of(&finding))
        .collect();
    let more = u32::try_from(open.len().saturating_sub(1)).unwrap_or(MOST).saturating_mul(5).min(20);
    (open.iter().copied().max().unwrap_or(0) + more, open.len())
}

/// From 0 to 5, by powers of two from 4 on.
fn reach(count: usize) -> u32 {
    count.checked_ilog2().map_or(0, |log| log.saturating_sub(1).min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Facts<'static> {
        Facts {
            findings: Vec::new(),
            age_seconds: Some(100 * DAY),
            silence_seconds: Some(100 * DAY),
            traits: None,
            is_before_one: false,
            versions: 1,
            dependants: 1,
            needs: 0,
        }
    }

    #[test]
    fn what_is_not_known_is_said_and_adds_nothing() {
        let parts = parts(&quiet());
        assert_eq!(total(&parts), 0);
        let unknown: Vec<_> = parts.iter().filter(|part| part.points.is_none()).map(|part| part.name).collect();
        assert_eq!(unknown, ["build_script", "proc_macro", "links", "license", "repository"]);
    }

    #[test]
    fn each_part_adds_what_it_says() {
        let traits = Traits { has_build_script: true, ..Traits::default() };
        let facts = Facts {
            age_seconds: Some(13 * DAY),
            silence_seconds: Some(3 * YEAR),
            traits: Some(&traits),
            is_before_one: true,
            versions: 9,
            dependants: 64,
            needs: 8,
            ..quiet()
        };
        let points: Vec<u32> =
            parts(&facts).iter().filter_map(|part| part.points).filter(|points| *points > 0).collect();
        assert_eq!(points, [10, 10, 5, 5, 3, 2, 6, 5, 1]);
    }
}
