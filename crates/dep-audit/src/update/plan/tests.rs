use std::path::Path;

use semver::VersionReq;

use super::super::route::told;
use super::super::workspace::Manifest;
use super::*;
use crate::lock::Lock;
use crate::registry::Needs;

const NOW: &str = "2026-06-01T00:00:00Z";

fn needs(text: &str) -> Vec<Needs> {
    text.split(", ")
        .filter(|need| !need.is_empty())
        .map(|need| {
            let (package, requirement) = need.split_once(' ').unwrap();
            let requirement = VersionReq::parse(requirement).unwrap();
            Needs { package: package.to_owned(), requirement, is_dev: false, is_optional: false }
        })
        .collect()
}

/// A small world: releases as `crate version: needs`, with `!` for a yanked one, `DATE` and `rustN` after a bar.
fn known(text: &str) -> super::super::model::Known {
    let mut known = super::super::model::Known::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, more) = line.split_once(" | ").unwrap_or((line, ""));
        let (name, rest) = line.split_once(' ').unwrap();
        let (version, needed) = rest.split_once(": ").unwrap_or((rest, ""));
        let yanked = version.ends_with('!');
        let mut release = Release {
            version: version.trim_end_matches(['!', ':']).parse().unwrap(),
            published: Some("2025-01-01T00:00:00Z".parse().unwrap()),
            yanked,
            rust_version: None,
            needs: needs(needed),
        };
        for word in more.split_whitespace() {
            match word.strip_prefix("rust") {
                Some(compiler) => release.rust_version = crate::registry::compiler(compiler),
                None => release.published = Some(format!("{word}T00:00:00Z").parse().unwrap()),
            }
        }
        known.entry(name.to_owned()).or_default().push(release);
    }
    for releases in known.values_mut() {
        releases.sort_by(|a, b| a.version.cmp(&b.version));
    }
    known
}

/// A lock file: `name version -> dependency version, ...`; `app` is the workspace's own.
fn lock(text: &str) -> Lock {
    let mut toml = "version = 4\n".to_owned();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (package, dependencies) = line.split_once(" -> ").unwrap_or((line, ""));
        let (name, version) = package.split_once(' ').unwrap();
        toml.push_str(&format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n"));
        if name != "app" {
            toml.push_str("source = \"registry+https://github.com/rust-lang/crates\u{2e}io-index\"\n");
        }
        let dependencies: Vec<String> =
            dependencies.split(", ").filter(|d| !d.is_empty()).map(|d| format!("\"{d}\"")).collect();
        if !dependencies.is_empty() {
            toml.push_str(&format!("dependencies = [{}]\n", dependencies.join(", ")));
        }
    }
    Lock::parse(Path::new("Cargo.lock"), &toml).unwrap()
}

fn model(locked: &str, app: &str, releases: &str) -> Model {
    let manifest = Manifest { name: "app".to_owned(), version: Version::new(0, 1, 0), needs: needs(app) };
    Model::new(&lock(locked), &[manifest], known(releases), None)
}

fn want(package: &str, version: &str, ids: &[&str]) -> Wanted {
    let ids = ids.iter().map(|&id| id.to_owned()).collect();
    Wanted { package: package.to_owned(), version: version.parse().unwrap(), ids }
}

fn rules(everything: bool) -> Rules {
    Rules {
        lockfile: "Cargo.lock".into(),
        now: NOW.parse().unwrap(),
        cooldown: Duration::from_secs(7 * 86_400),
        everything,
    }
}

/// Advisories as `id crate from..to`, where an open end is left out.
fn affected(
    advisories: &'static [(&'static str, &'static str, &'static str, &'static str)],
) -> impl Fn(&str, &Version) -> BTreeSet<String> {
    |name, version| {
        let version = version.clone();
        advisories
            .iter()
            .filter(|(_, package, from, to)| {
                *package == name
                    && (from.is_empty() || version >= from.parse().unwrap())
                    && (to.is_empty() || version < to.parse().unwrap())
            })
            .map(|(id, ..)| (*id).to_owned())
            .collect()
    }
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.told(NOW.parse().unwrap()).replace(" (published 516 d ago)", "")).collect()
}

#[test]
fn the_lowest_patched_version_is_chosen_that_was_not_taken_back() {
    let model = model(
        "app 0.1.0 -> time 0.3.1\ntime 0.3.1",
        "time ^0.3",
        "time 0.3.1\ntime 0.3.4\ntime 0.3.5!\ntime 0.3.6\ntime 0.3.9\ntime 0.4.0",
    );
    let affects = affected(&[("A-1", "time", "", "0.3.5")]);
    let plan = plan(&model, &[want("time", "0.3.1", &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["time 0.3.1 -> 0.3.6; ends A-1"]);
    assert_eq!(plan.residuals, []);
}

#[test]
fn a_version_that_ends_one_advisory_and_brings_another_is_passed_over() {
    let model = model("app 0.1.0 -> a 1.0.0\na 1.0.0", "a ^1", "a 1.0.0\na 1.0.1\na 1.0.2");
    let affects = affected(&[("A-1", "a", "", "1.0.1"), ("A-2", "a", "1.0.1", "1.0.2")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 1.0.2; ends A-1"]);
}

#[test]
fn ranges_decide_about_prereleases_and_none_is_chosen_unless_one_is_locked() {
    let releases = "a 1.0.0-rc.1\na 1.0.0-rc.2\na 1.0.0\na 0.9.0";
    let affects = affected(&[("A-1", "a", "", "1.0.0-rc.2")]);
    let from_pre = model("app 0.1.0 -> a 1.0.0-rc.1\na 1.0.0-rc.1", "a ^1.0.0-rc.1", releases);
    let plan_of = |model: &Model, version: &str| plan(model, &[want("a", version, &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan_of(&from_pre, "1.0.0-rc.1")), ["a 1.0.0-rc.1 -> 1.0.0-rc.2; ends A-1"]);
    let from_old = model("app 0.1.0 -> a 0.9.0\na 0.9.0", "a >=0.9", releases);
    assert_eq!(shown(&plan_of(&from_old, "0.9.0")), ["a 0.9.0 -> 1.0.0; ends A-1"]);
}

#[test]
fn a_parent_that_pins_the_old_version_moves_first() {
    let model = model(
        "app 0.1.0 -> aws-lc-rs 1.13.0\naws-lc-rs 1.13.0 -> aws-lc-sys 0.29.0\naws-lc-sys 0.29.0",
        "aws-lc-rs ^1",
        "aws-lc-rs 1.13.0: aws-lc-sys ^0.29\naws-lc-rs 1.14.0: aws-lc-sys ^0.30\naws-lc-rs 1.15.0!: aws-lc-sys ^0.38
        aws-lc-rs 1.16.0: aws-lc-sys ^0.38\naws-lc-rs 1.17.0: aws-lc-sys ^0.39
        aws-lc-sys 0.29.0\naws-lc-sys 0.30.0\naws-lc-sys 0.38.0\naws-lc-sys 0.39.0",
    );
    let affects = affected(&[("A-1", "aws-lc-sys", "", "0.38.0")]);
    let plan = plan(&model, &[want("aws-lc-sys", "0.29.0", &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["aws-lc-sys 0.29.0 -> 0.38.0, after aws-lc-rs 1.13.0 -> 1.16.0; ends A-1"]);
}

#[test]
fn parents_of_parents_move_outermost_first() {
    let model = model(
        "app 0.1.0 -> c 1.0.0\nc 1.0.0 -> b 1.0.0\nb 1.0.0 -> a 1.0.0\na 1.0.0",
        "c ^1",
        "c 1.0.0: b =1.0.0\nc 1.1.0: b =2.0.0\nb 1.0.0: a =1.0.0\nb 2.0.0: a ^2\na 1.0.0\na 2.0.0",
    );
    let affects = affected(&[("A-1", "a", "", "2.0.0")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 2.0.0, after c 1.0.0 -> 1.1.0, after b 1.0.0 -> 2.0.0; ends A-1"]);
}

#[test]
fn who_blocks_is_named_to_the_last_link_with_what_it_requires() {
    let model = model(
        "app 0.1.0 -> sdk 1.0.0\nsdk 1.0.0 -> hyper 0.14.1\nhyper 0.14.1 -> h2 0.3.1\nh2 0.3.1",
        "sdk ^1",
        "sdk 1.0.0: hyper ^0.14\nsdk 1.1.0: hyper ^0.14\nhyper 0.14.1: h2 ^0.3\nhyper 0.14.9: h2 ^0.3
        hyper 1.0.0: h2 ^0.4\nh2 0.3.1\nh2 0.4.5",
    );
    let affects = affected(&[("A-1", "h2", "", "0.4.5")]);
    let plan = plan(&model, &[want("h2", "0.3.1", &["A-1"])], &affects, &rules(false));
    assert_eq!(plan.steps, []);
    let residual = &plan.residuals[0];
    assert_eq!(residual.wanted, Some(Version::new(0, 4, 5)));
    assert_eq!(
        residual.chains.iter().map(told).collect::<Vec<_>>(),
        ["hyper@0.14.1 requires h2 ^0.3, and sdk@1.0.0 requires hyper ^0.14 \
         (no release of sdk that may be used accepts hyper 1.0.0)"]
    );
}

#[test]
fn the_workspace_s_own_requirement_is_a_blocker_that_only_a_person_can_move() {
    let model = model("app 0.1.0 -> a 1.0.0\na 1.0.0", "a ^1", "a 1.0.0\na 2.0.0");
    let affects = affected(&[("A-1", "a", "", "2.0.0")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1"])], &affects, &rules(false));
    let chain = told(&plan.residuals[0].chains[0]);
    assert_eq!(chain, "app@0.1.0 requires a ^1 (its manifest says so)");
    let listed = breaking(&model);
    assert_eq!((listed[0].package.as_str(), listed[0].newest.clone()), ("a", Version::new(2, 0, 0)));
}

#[test]
fn what_no_release_ends_and_what_nobody_knows_are_told_apart() {
    let model =
        model("app 0.1.0 -> rsa 0.9.0, odd 1.0.0\nrsa 0.9.0\nodd 1.0.0", "rsa ^0.9, odd ^1", "rsa 0.9.0\nrsa 0.9.1");
    let affects = affected(&[("A-1", "rsa", "", ""), ("A-2", "odd", "", "")]);
    let wanted = [want("rsa", "0.9.0", &["A-1"]), want("odd", "1.0.0", &["A-2"])];
    let plan = plan(&model, &wanted, &affects, &rules(false));
    assert_eq!(plan.residuals[0].why, "no release that cargo's cache knows ends it");
    assert!(plan.residuals[1].why.starts_with("cargo's cache does not know odd"), "{}", plan.residuals[1].why);
}

#[test]
fn of_two_advisories_the_one_that_can_be_ended_is_and_the_other_is_left() {
    let model = model("app 0.1.0 -> a 1.0.0\na 1.0.0", "a ^1", "a 1.0.0\na 1.0.1\na 1.0.2\na 2.0.0");
    let affects = affected(&[("A-1", "a", "", "1.0.1"), ("A-2", "a", "", "2.0.0")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1", "A-2"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 1.0.1; ends A-1"]);
    assert_eq!(plan.residuals[0].ids, ["A-2"]);
    assert!(!plan.residuals[0].chains.is_empty());
}

#[test]
fn one_move_that_ends_two_findings_is_one_step() {
    let model = model(
        "app 0.1.0 -> outer 1.0.0\nouter 1.0.0 -> inner 1.0.0\ninner 1.0.0",
        "outer ^1",
        "outer 1.0.0: inner =1.0.0\nouter 1.1.0: inner =1.1.0\ninner 1.0.0\ninner 1.1.0",
    );
    let affects = affected(&[("A-1", "inner", "", "1.1.0"), ("A-2", "outer", "", "1.1.0")]);
    let wanted = [want("inner", "1.0.0", &["A-1"]), want("outer", "1.0.0", &["A-2"])];
    let plan = plan(&model, &wanted, &affects, &rules(false));
    assert_eq!(shown(&plan), ["inner 1.0.0 -> 1.1.0, after outer 1.0.0 -> 1.1.0; ends A-1, A-2"]);
}

#[test]
fn a_plain_update_waits_for_the_cooldown_and_one_that_ends_a_finding_does_not() {
    let releases = "a 1.0.0\na 1.0.1 | 2026-05-30\nb 1.0.0\nb 1.0.1 | 2026-05-20\nb 1.0.2 | 2026-05-30";
    let model = model("app 0.1.0 -> a 1.0.0, b 1.0.0\na 1.0.0\nb 1.0.0", "a ^1, b ^1", releases);
    let affects = affected(&[("A-1", "a", "", "1.0.1")]);
    let wanted = [want("a", "1.0.0", &["A-1"])];
    let steps = shown(&plan(&model, &wanted, &affects, &rules(true)));
    assert_eq!(
        steps,
        [
            "a 1.0.0 -> 1.0.1 (published 2 d ago, the cooldown is waived); ends A-1",
            "b 1.0.0 -> 1.0.1 (published 12 d ago)"
        ]
    );
    let since = patched_since(&model, &wanted[0], &affects);
    assert_eq!(since["A-1"].to_string(), "2026-05-30T00:00:00Z");
    let healthy = shown(&plan(&model, &[], &affected(&[]), &rules(true)));
    assert_eq!(healthy, ["b 1.0.0 -> 1.0.1 (published 12 d ago)"], "without a finding it is not waived");
}

#[test]
fn a_release_for_a_newer_compiler_comes_last() {
    let mut model = model("app 0.1.0 -> a 1.0.0\na 1.0.0", "a ^1", "a 1.0.0\na 1.0.1 | rust1.90\na 1.0.2 | rust1.70");
    model.rust_version = Some(Version::new(1, 80, 0));
    let affects = affected(&[("A-1", "a", "", "1.0.1")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1"])], &affects, &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 1.0.2; ends A-1"]);
}

#[test]
fn where_only_a_release_for_a_newer_compiler_helps_it_is_taken_and_said() {
    let mut model = model(
        "app 0.1.0 -> b 1.0.0\nb 1.0.0 -> a 1.0.0\na 1.0.0",
        "b ^1",
        "a 1.0.0\na 1.0.1\nb 1.0.0: a =1.0.0\nb 1.0.1: a ^1.0.1 | rust1.90",
    );
    model.rust_version = Some(Version::new(1, 80, 0));
    let affects = affected(&[("A-1", "a", "", "1.0.1")]);
    let wanted = [want("a", "1.0.0", &["A-1"])];
    let expected =
        "a 1.0.0 -> 1.0.1, after b 1.0.0 -> 1.0.1; needs Rust 1.90.0, newer than the workspace says; ends A-1";
    assert_eq!(shown(&plan(&model, &wanted, &affects, &rules(false))), [expected]);
    // What is locked needs that compiler already.
    model.known.get_mut("b").unwrap()[0].rust_version = Some(Version::new(1, 90, 0));
    let steps = shown(&plan(&model, &wanted, &affects, &rules(false)));
    assert_eq!(steps, ["a 1.0.0 -> 1.0.1, after b 1.0.0 -> 1.0.1; ends A-1"]);
}

#[test]
fn a_version_that_was_taken_back_is_left_for_the_next_one() {
    let model = model("app 0.1.0 -> a 1.0.0\na 1.0.0", "a ^1", "a 1.0.0!\na 1.0.1\na 1.0.2");
    let plan = plan(&model, &[want("a", "1.0.0", &[YANKED])], &affected(&[]), &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 1.0.1; ends yanked"]);
}

#[test]
fn of_two_locked_versions_each_goes_its_own_way() {
    let model = model(
        "app 0.1.0 -> a 1.0.0, b 1.0.0\nb 1.0.0 -> a 2.0.0\na 1.0.0\na 2.0.0",
        "a ^1, b ^1",
        "a 1.0.0\na 1.0.1\na 2.0.0\na 2.0.1\nb 1.0.0: a ^2",
    );
    let affects = affected(&[("A-1", "a", "", "1.0.1"), ("A-1", "a", "2.0.0", "2.0.1")]);
    let wanted = [want("a", "1.0.0", &["A-1"]), want("a", "2.0.0", &["A-1"])];
    let plan = plan(&model, &wanted, &affects, &rules(false));
    assert_eq!(shown(&plan), ["a 1.0.0 -> 1.0.1; ends A-1", "a 2.0.0 -> 2.0.1; ends A-1"]);
}

#[test]
fn circles_end() {
    let model = model(
        "app 0.1.0 -> a 1.0.0\na 1.0.0 -> b 1.0.0\nb 1.0.0 -> a 1.0.0",
        "a =1.0.0",
        "a 1.0.0: b =1.0.0\na 2.0.0: b =2.0.0\nb 1.0.0: a =1.0.0\nb 2.0.0: a =2.0.0",
    );
    let affects = affected(&[("A-1", "a", "", "2.0.0")]);
    let plan = plan(&model, &[want("a", "1.0.0", &["A-1"])], &affects, &rules(false));
    assert_eq!(plan.steps, []);
    assert!(!plan.residuals[0].chains.is_empty());
}
