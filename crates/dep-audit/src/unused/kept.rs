//! Why something is kept although the compiler had no use for it: what the compiler did not see.

use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata};

use super::{Declared, member};

/// What the manifests say for it.
pub(super) fn by_declaration(one: &Declared, metadata: &Metadata) -> Option<String> {
    let package = member(one, metadata)?;
    if is_ignored(one, &package.metadata) || is_ignored(one, &metadata.workspace_metadata) {
        return Some("the manifest says that it is to be left alone".to_owned());
    }
    for (feature, parts) in &package.features {
        let names = |part: &String| {
            let part = part.strip_prefix("dep:").unwrap_or(part);
            let part = part.split('/').next().unwrap_or_default();
            part.trim_end_matches('?') == one.key
        };
        // An optional dependency has a feature of its own that says nothing but its name.
        if parts.iter().any(names) && *feature != one.key {
            return Some(format!("the feature `{feature}` names it"));
        }
    }
    let resolved = metadata.resolve.as_ref()?;
    let node = resolved.nodes.iter().find(|node| node.id == one.package)?;
    let id = &node.deps.iter().find(|dependency| dependency.name == one.name)?.pkg;
    let dependency = metadata.packages.iter().find(|other| other.id == *id)?;
    if dependency.links.is_some() {
        return Some("it links a library of another language, which code need not name".to_owned());
    }
    let others = resolved.nodes.iter().filter(|node| node.id != one.package);
    let is_needed_elsewhere = others.flat_map(|node| &node.deps).any(|other| other.pkg == *id);
    let declared = package
        .dependencies
        .iter()
        .find(|declared| declared.kind == one.kind && declared.rename.as_ref().unwrap_or(&declared.name) == &one.key)?;
    if is_needed_elsewhere && (!declared.features.is_empty() || declared.req.to_string().starts_with('=')) {
        return Some("others need it too: this turns on its features or holds its version".to_owned());
    }
    None
}

/// Where its name stands in the member's files.
pub(super) fn by_name(one: &Declared, metadata: &Metadata) -> Option<String> {
    // Build dependencies are named by the build script alone, and that was compiled.
    if one.kind == DependencyKind::Build {
        return None;
    }
    let root = member(one, metadata)?.manifest_path.parent()?.as_std_path();
    let file = named_in(root, &one.name)?;
    Some(format!("{} names it: code for another platform, or an example in documentation", file.display()))
}

/// What cargo-machete, cargo-shear and cargo-udeps are told to leave alone.
fn is_ignored(one: &Declared, metadata: &serde_json::Value) -> bool {
    let lists = |tool: &str, path: &[&str]| {
        let list = path.iter().try_fold(metadata.get(tool)?, |value, name| value.get(name));
        list?.as_array().cloned()
    };
    let table = match one.kind {
        DependencyKind::Development => "development",
        DependencyKind::Build => "build",
        _ => "normal",
    };
    let all = [
        lists("cargo-machete", &["ignored"]),
        lists("cargo-shear", &["ignored"]),
        lists("cargo-udeps", &["ignore", table]),
    ];
    all.into_iter()
        .flatten()
        .flatten()
        .any(|name| name.as_str().is_some_and(|name| name == one.key || name == one.name))
}

/// The first file of the package that names the crate as a path or in a `use`, comments and documentation included.
fn named_in(root: &Path, name: &str) -> Option<std::path::PathBuf> {
    let walk = ignore::WalkBuilder::new(root).require_git(false).sort_by_file_path(Path::cmp).build();
    for entry in walk.flatten() {
        let path = entry.path();
        let is_code = path.extension().is_some_and(|ending| ending == "rs" || ending == "md");
        if !is_code || !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        if names(&text, name) {
            return Some(path.strip_prefix(root).unwrap_or(path).to_owned());
        }
    }
    None
}

/// Whether a text has `NAME::`, `use NAME`, `extern crate NAME` or `#[NAME`.
fn names(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + name.len()..).unwrap_or_default());
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        let before = before.trim_end();
        after.trim_start().starts_with("::")
            || ["use", "crate", "use ::", "#["].iter().any(|word| before.ends_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_is_one() {
        for text in [
            "use some_one::x;",
            "a(some_one :: f())",
            "extern crate some_one;",
            "/// ```\n/// some_one::f();",
            "#[some_one]",
        ] {
            assert!(names(text, "some_one"), "{text}");
        }
        for text in ["some_one_else::x", "awesome_one::x", "let some_one = 1;", "", "// some_one is not used"] {
            assert!(!names(text, "some_one"), "{text}");
        }
    }
}
