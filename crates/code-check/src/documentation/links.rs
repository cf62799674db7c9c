//! Links within the workspace: that what they lead to is there. Nothing is asked of the network.

use std::path::{Component, Path, PathBuf};

use maint_core::names::percent_decoded;

use super::{Pages, finding, total};
use crate::markdown::{Link, Page};
use crate::work::Work;
use crate::workspace::Workspace;

/// Follows every link of every page that stays in the workspace.
pub(super) fn run(pages: &Pages, workspace: &Workspace, work: &Work<'_>) {
    let (mut checked, mut findings) = (0, 0);
    for (path, page) in pages {
        let shown = workspace.shown(path);
        for link in page.links.iter().filter(|link| !is_elsewhere(&link.target)) {
            checked += 1;
            if let Some(problem) = problem(link, path, pages, &workspace.root) {
                findings += 1;
                let message = format!("the link to {} is broken: {problem}", link.target);
                work.run.emit(&finding("broken-link", &shown, link.line, message));
            }
        }
        for link in &page.undefined {
            checked += 1;
            findings += 1;
            let message = format!("the reference [{}] is not defined", link.target);
            work.run.emit(&finding("broken-link", &shown, link.line, message));
        }
    }
    work.run.emit(&total("links", "links within the workspace", checked, findings));
}

/// It has a scheme (`https:`, `mailto:`), or another host.
fn is_elsewhere(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
    is_scheme || target.starts_with("//")
}

fn problem(link: &Link, from: &Path, pages: &Pages, root: &Path) -> Option<String> {
    let (rest, fragment) = link.target.split_once('#').unwrap_or((&link.target, ""));
    let path = percent_decoded(rest.split('?').next().unwrap_or(rest));
    let target = match path.strip_prefix('/') {
        _ if path.is_empty() => from.to_owned(),
        Some(path) => root.join(path),
        None => from.parent().unwrap_or(root).join(&path),
    };
    let target = plain(&target);
    if !target.starts_with(root) {
        return Some("it leads out of the workspace".to_owned());
    }
    if !target.exists() {
        return Some("there is no such file".to_owned());
    }
    let fragment = percent_decoded(fragment);
    let page = pages.get(&target);
    let lacks = |page: &Page| !fragment.is_empty() && !page.anchors.contains(&fragment);
    page.is_some_and(lacks).then(|| format!("there is no heading #{fragment}"))
}

/// Without `.` and `..`, whatever links there are in the file system.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hold_when_what_they_lead_to_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("docs")).unwrap();
        std::fs::write(root.join("docs/a b.md"), "").unwrap();
        std::fs::write(root.join("docs/x.rs"), "").unwrap();
        let page = root.join("README.md");
        std::fs::write(&page, "").unwrap();
        let other = root.join("docs/a b.md");
        let pages =
            Pages::from([(page.clone(), Page::read("# Top\n")), (other.clone(), Page::read("# Deep *down*\n"))]);
        let problem =
            |target: &str, from: &Path| problem(&Link { line: 1, target: target.to_owned() }, from, &pages, &root);
        for good in [
            "#top",
            "docs/a%20b.md",
            "docs/a%20b.md#deep-down",
            "docs",
            "./docs/../README.md#top",
            "/docs/x.rs#L3",
            "docs/?x=1",
        ] {
            assert_eq!(problem(good, &page), None, "{good}");
        }
        assert_eq!(problem("../README.md#top", &other), None);
        for (bad, why) in [
            ("#Top", "no heading"),
            ("docs/gone.md", "no such file"),
            ("docs/a%20b.md#down", "no heading"),
            ("../outside.md", "out of the workspace"),
            ("../../../../etc/passwd", "out of the workspace"),
            ("docs/%zz.md", "no such file"),
        ] {
            assert!(problem(bad, &page).is_some_and(|problem| problem.contains(why)), "{bad}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_not_asked_for() {
        for target in ["https://e.org/x", "mailto:a@b", "//host/x", "crate::Type"] {
            assert!(is_elsewhere(target), "{target}");
        }
        for target in ["a.md", "#a:b", "./a:b.md", "/a", "1:2"] {
            assert!(!is_elsewhere(target), "{target}");
        }
    }
}
