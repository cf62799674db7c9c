//! What a file set covers: `[backup-tool.sets.NAME]` in the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maint_core::config::{Settings, nearest};
use maint_core::failure::Failure;
use serde::Deserialize;
use wildmatch::WildMatch;

use crate::cli::SECTION;

/// A set as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSet {
    /// Files and directories, absolute; a directory with all that is below it.
    pub paths: Vec<PathBuf>,
    /// What is left out: a pattern with a slash is compared with the whole path, one without with the last name; `*` stands
    /// for anything, `?` for one character. What is below a directory that is left out is left out too.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether other file systems that are mounted below a path are left out.
    #[serde(default)]
    pub one_file_system: bool,
}

impl FileSet {
    fn check(&self, name: &str) -> Result<(), Failure> {
        let wrong = |why: String| Err(Failure::usage(format!("[{}.sets.{name}] {why}", SECTION.name)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return wrong("a set's name has letters, digits, hyphens and underscores".to_owned());
        }
        if self.paths.is_empty() {
            return wrong("paths is empty: there is nothing to back up".to_owned());
        }
        for (index, path) in self.paths.iter().enumerate() {
            let shown = path.display();
            let upward = path.components().any(|part| matches!(part, std::path::Component::ParentDir));
            if !path.is_absolute() || upward {
                return wrong(format!("{shown} is not absolute: write the whole path"));
            }
            if let Some(other) =
                self.paths.iter().enumerate().find(|(at, other)| *at != index && path.starts_with(other))
            {
                return wrong(format!("{shown} is in {} already", other.1.display()));
            }
        }
        Ok(())
    }

    /// The patterns of what is left out.
    pub fn excludes(&self) -> Excludes {
        Excludes(self.exclude.iter().map(|pattern| (pattern.contains('/'), WildMatch::new(pattern))).collect())
    }
}

/// Patterns of what is left out.
#[derive(Debug, Clone)]
pub struct Excludes(Vec<(bool, WildMatch)>);

impl Excludes {
    /// Whether the path is left out.
    pub fn has(&self, path: &Path) -> bool {
        let whole = path.to_string_lossy();
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        self.0.iter().any(|(with_slash, pattern)| pattern.matches(if *with_slash { &whole } else { &last }))
    }
}

/// The sets of the configuration: those that are named, or all.
///
/// # Errors
/// The configuration does not hold, has no such set, or none at all.
pub fn chosen(settings: &Settings, names: &[String]) -> Result<BTreeMap<String, FileSet>, Failure> {
    let all: BTreeMap<String, FileSet> = settings.table(&SECTION, "sets")?;
    all.iter().try_for_each(|(name, set)| set.check(name))?;
    if all.is_empty() {
        return Err(Failure::usage("no file set is configured")
            .hint("add [backup-tool.sets.NAME] with paths = [\"/etc/...\"] to maint.toml"));
    }
    if let Some(unknown) = names.iter().find(|name| !all.contains_key(*name)) {
        let near = nearest(unknown, all.keys().map(String::as_str));
        return Err(Failure::usage(format!("there is no file set `{unknown}`{near}")));
    }
    Ok(all.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str], exclude: &[&str]) -> FileSet {
        FileSet {
            paths: paths.iter().map(PathBuf::from).collect(),
            exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
            one_file_system: false,
        }
    }

    #[test]
    fn paths_are_whole_and_each_is_there_once() {
        assert!(set(&["/etc", "/srv/x"], &[]).check("etc").is_ok());
        for paths in [&[][..], &["etc"], &["/etc/../root"], &["/etc", "/etc/nginx"], &["/etc", "/etc"]] {
            assert!(set(paths, &[]).check("etc").is_err(), "{paths:?}");
        }
        assert!(set(&["/etc"], &[]).check("no good").is_err());
    }

    #[test]
    fn a_pattern_without_a_slash_means_the_last_name() {
        let excludes = set(&["/etc"], &["*.swp", "/etc/nginx/cache"]).excludes();
        assert!(excludes.has(Path::new("/etc/a/b.swp")));
        assert!(excludes.has(Path::new("/etc/nginx/cache")));
        assert!(!excludes.has(Path::new("/etc/cache")));
        assert!(!excludes.has(Path::new("/etc/swp")));
    }
}
