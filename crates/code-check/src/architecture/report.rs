//! The review as a page in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::modules::Modules;
use super::snapshot::Snapshot;

/// How many modules a list of the largest has.
const LARGEST: usize = 20;

/// Writes the page.
pub(super) fn markdown(after: &Snapshot, before: Option<&Snapshot>, modules: &Modules) -> String {
    let day = |snapshot: &Snapshot| snapshot.time.strftime("%-d %B %Y, %H:%M UTC").to_string();
    let mut out = format!("# Architecture\n\nAs of {}", day(after));
    match before {
        Some(before) => drop(writeln!(out, ", compared with {}.", day(before))),
        None => out.push_str(", with nothing to compare with.\n"),
    }
    crates(&mut out, after, before);
    needs(&mut out, after);
    circles(&mut out, after, before);
    if let Some(before) = before {
        out.push_str("\n## Changes\n\n");
        let changes = before.changes(after);
        for change in &changes {
            let _ = writeln!(out, "- {}: {}", code(&change.subject), plain(&change.message));
        }
        if changes.is_empty() {
            out.push_str("No crate came or went, and none needs another one than before.\n");
        }
    }
    largest(&mut out, modules);
    out
}

fn crates(out: &mut String, after: &Snapshot, before: Option<&Snapshot>) {
    out.push_str(
        "\n## Crates\n\n| crate | code lines | test lines | modules | public items | unsafe | needed by | needs |",
    );
    out.push_str("\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (name, krate) in &after.crates {
        let old = before.and_then(|before| before.crates.get(name));
        let number = |now: usize, then: Option<usize>| match then {
            Some(then) if then != now => format!("{now} ({:+})", now as i64 - then as i64),
            _ => now.to_string(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            code(name),
            number(krate.code_lines, old.map(|old| old.code_lines)),
            number(krate.test_code_lines, old.map(|old| old.test_code_lines)),
            number(krate.modules, old.map(|old| old.modules)),
            number(krate.public_items, old.map(|old| old.public_items)),
            number(krate.unsafe_places, old.map(|old| old.unsafe_places)),
            after.fan_in(name),
            krate.needs.len(),
        );
    }
}

fn needs(out: &mut String, after: &Snapshot) {
    out.push_str("\n## Which crate needs which\n\n");
    for (name, krate) in after.crates.iter().filter(|(_, krate)| !krate.needs.is_empty()) {
        let needs: Vec<String> = krate.needs.iter().map(|need| code(need)).collect();
        let _ = writeln!(out, "- {} needs {}", code(name), needs.join(", "));
    }
    if after.crates.values().all(|krate| krate.needs.is_empty()) {
        out.push_str("None needs another.\n");
    }
}

fn circles(out: &mut String, after: &Snapshot, before: Option<&Snapshot>) {
    out.push_str("\n## Circles\n\n");
    for circle in &after.circles {
        let known = before.is_some_and(|before| before.circles.contains(circle));
        let members: Vec<String> = circle.iter().map(|member| code(member)).collect();
        let _ = writeln!(out, "- {}{}", members.join(", "), if known { "" } else { " (new)" });
    }
    if after.circles.is_empty() {
        out.push_str("There are none.\n");
    }
}

fn largest(out: &mut String, modules: &Modules) {
    out.push_str(
        "\n## The largest modules\n\n| module | code lines | public items | used by | uses |\n|---|--:|--:|--:|--:|\n",
    );
    let mut all: Vec<_> = modules.all.iter().collect();
    all.sort_by(|(a, x), (b, y)| y.code_lines.cmp(&x.code_lines).then(a.cmp(b)));
    for (name, module) in all.into_iter().take(LARGEST) {
        let uses = modules.uses.get(name).map_or(0, BTreeSet::len);
        let fan_in = modules.fan_in(name);
        let _ =
            writeln!(out, "| {} | {} | {} | {fan_in} | {uses} |", code(name), module.code_lines, module.public_items);
    }
}

/// A name, which is whatever directories and files are called, as code in a cell.
fn code(name: &str) -> String {
    format!("`{}`", plain(name).replace('`', "'"))
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace('|', "\\|")
}
