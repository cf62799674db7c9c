//! The modules of the workspace's code, and which of them uses which. A module is a file; what is written inside of it
//! belongs to it. Tests are left out: they may look at everything.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::{Graph, circles};
use crate::measure::Measured;
use crate::source::Source;

/// One module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Module {
    /// The crate it is in.
    pub(super) krate: String,
    /// Its lines that are neither empty nor a comment.
    pub(super) code_lines: usize,
    /// Its items that are `pub`.
    pub(super) public_items: usize,
}

/// The modules by name, and what each uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Modules {
    pub(super) all: BTreeMap<String, Module>,
    /// Which other modules each names. A module and those above it belong together, so that is not counted.
    pub(super) uses: Graph,
    /// How many others name it.
    named_by: BTreeMap<String, usize>,
}

impl Modules {
    pub(super) fn of(measured: &[Measured]) -> Self {
        let files: Vec<&Measured> = measured.iter().filter(|file| !file.source.test).collect();
        let known: BTreeSet<String> = files.iter().map(|file| name(&file.source, &file.source.module)).collect();
        let mut modules = Modules::default();
        for file in files {
            let own = name(&file.source, &file.source.module);
            let module = modules.all.entry(own.clone()).or_default();
            module.krate.clone_from(&file.source.krate);
            module.code_lines += file.code_lines;
            module.public_items += file.public_items;
            let used = file.uses.iter().filter_map(|path| nearest(&file.source, path, &known));
            let used = used.filter(|other| !is_within(other, &own) && !is_within(&own, other));
            modules.uses.entry(own.clone()).or_default().extend(used);
        }
        for used in modules.uses.values().flatten() {
            *modules.named_by.entry(used.clone()).or_default() += 1;
        }
        modules
    }

    /// How many other modules use it.
    pub(super) fn fan_in(&self, name: &str) -> usize {
        self.named_by.get(name).copied().unwrap_or(0)
    }

    /// Modules that use each other, directly or through others.
    pub(super) fn circles(&self) -> Vec<Vec<String>> {
        circles(&self.uses)
    }
}

fn name(source: &Source, module: &[String]) -> String {
    let krate = source.krate.replace('-', "_");
    let parts = std::iter::once(&krate).chain(&source.root).chain(module);
    parts.map(String::as_str).collect::<Vec<_>>().join("::")
}

/// The module that a path names something of: the longest beginning of it that is one.
fn nearest(source: &Source, path: &[String], known: &BTreeSet<String>) -> Option<String> {
    let beginnings = (0..=path.len()).rev().filter_map(|length| path.get(..length));
    beginnings.map(|path| name(source, path)).find(|name| known.contains(name))
}

/// Whether a module is the other or below it.
fn is_within(name: &str, other: &str) -> bool {
    name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(module: &str, uses: &[&str]) -> Measured {
        let parts =
            |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let source = Source {
            path: "/w/x.rs".into(),
            shown: "x.rs".into(),
            krate: "my-crate".into(),
            root: Vec::new(),
            module: parts(module),
            test: false,
        };
        let mut file = Measured::for_tests(source, 10, 0, Vec::new());
        file.uses = uses.iter().map(|path| parts(path)).collect();
        file
    }

    #[test]
    fn a_path_is_a_use_of_the_module_that_it_lies_in() {
        let modules = Modules::of(&[
            file("", &["a::T"]),
            file("a", &["b::c::T::new", "b::x"]),
            file("b", &[]),
            file("b::c", &[]),
        ]);
        let uses: Vec<&str> = modules.uses["my_crate::a"].iter().map(String::as_str).collect();
        assert_eq!(uses, ["my_crate::b", "my_crate::b::c"]);
        assert_eq!(modules.fan_in("my_crate::b::c"), 1);
        assert!(modules.circles().is_empty());
    }

    #[test]
    fn modules_that_use_each_other_are_a_circle_and_a_module_with_its_parent_is_not() {
        let modules = Modules::of(&[
            file("", &["a::T"]),
            file("a", &["b::f", "a::x::g"]),
            file("a::x", &["a::T", "Root"]),
            file("ab", &["a::T"]),
            file("b", &["c::f"]),
            file("c", &["a::T"]),
        ]);
        assert_eq!(modules.circles(), [vec!["my_crate::a", "my_crate::b", "my_crate::c"]]);
    }
}
