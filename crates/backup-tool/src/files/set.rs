//! A file set, as `[backup-tool.sets.NAME]` describes it.
//!
//! ```toml
//! [backup-tool.sets.etc]
//! paths = ["/etc/postgresql", "/etc/nginx"]
//! exclude = ["*.swp", "/etc/nginx/cache"]
//! one_file_system = true
//! ```
//!
//! A pattern that begins with a slash is compared with an entry's whole path, any other one with its name alone; it may
//! then have no slash in it. In both, `*` stands for any characters, also none and also slashes, and `?` for exactly one;
//! upper and lower case differ, and nothing else is special. A directory that a pattern fits is left out with all that is
//! in it. Patterns are for what lies below the paths: a path itself always belongs to the set. A name that is not UTF-8 is
//! compared with every such byte sequence as U+FFFD, which `?` and `*` fit.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use maint_core::config::{Settings, nearest};
use maint_core::failure::Failure;
use serde::Deserialize;
use wildmatch::WildMatch;

use crate::cli::SECTION;

/// The longest name of a set, in bytes.
const NAME_BYTES: usize = 64;

/// A set as it stands in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTable {
    /// What belongs to it, absolute.
    pub paths: Vec<String>,
    /// What below it does not.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether what is mounted below a path is left out; the directories it is mounted on stay, empty.
    #[serde(default)]
    pub one_file_system: bool,
}

/// A set that can be read.
#[derive(Debug, Clone)]
pub struct FileSet {
    name: String,
    paths: Vec<PathBuf>,
    exclude: Vec<Pattern>,
    one_file_system: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Path(WildMatch),
    Name(WildMatch),
}

/// Why a set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A name that cannot be part of a label.
    #[error(
        "`{0}` cannot be the name of a file set: use at most {NAME_BYTES} letters, digits, `-`, `_` and `.`, with a letter \
         or digit in front"
    )]
    Name(String),
    /// Nothing belongs to it.
    #[error("the file set {0} has no paths")]
    Empty(String),
    /// A path that does not say where it is.
    #[error("the file set {set} has the path `{path}`: it must be absolute, without `.` and `..`")]
    Path {
        /// The set.
        set: String,
        /// What was written.
        path: String,
    },
    /// Something would be in the set twice.
    #[error("the file set {set} has {} twice: {} covers it already", inner.display(), outer.display())]
    Twice {
        /// The set.
        set: String,
        /// The path that covers the other.
        outer: PathBuf,
        /// The other.
        inner: PathBuf,
    },
    /// A pattern that nothing would ever fit.
    #[error("the file set {set} excludes `{pattern}`, which fits nothing: {why}")]
    Pattern {
        /// The set.
        set: String,
        /// What was written.
        pattern: String,
        /// Why nothing fits it.
        why: &'static str,
    },
    /// A pattern that fits what the set is made of.
    #[error("the file set {set} excludes its own path {} by `{pattern}`", path.display())]
    Own {
        /// The set.
        set: String,
        /// The path.
        path: PathBuf,
        /// The pattern.
        pattern: String,
    },
    /// A path that is not there.
    #[error("cannot look at {}, a path of the file set {set}: {source}", path.display())]
    Missing {
        /// The set.
        set: String,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path that is a link to a directory: of it, only the link would be kept.
    #[error(
        "{}, a path of the file set {set}, is a symbolic link to a directory: name {} itself", path.display(), target.display()
    )]
    Link {
        /// The set.
        set: String,
        /// The path.
        path: PathBuf,
        /// Where it leads to.
        target: PathBuf,
    },
}

impl From<SetError> for Failure {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Missing { .. } | SetError::Link { .. } => Failure::critical(error.to_string()),
            _ => Failure::usage(error.to_string()).hint("see [backup-tool.sets.NAME] in maint.toml"),
        }
    }
}

/// The sets that are wanted by name, or all that there are, by name.
///
/// # Errors
/// None is configured, one is not known, or one does not hold.
pub fn chosen(settings: &Settings, wanted: &[String]) -> Result<Vec<FileSet>, Failure> {
    let tables: BTreeMap<String, SetTable> = settings.table(&SECTION, "sets")?;
    if tables.is_empty() {
        return Err(Failure::usage("no file set is configured")
            .hint("add [backup-tool.sets.NAME] with `paths = [\"/etc/...\"]` to maint.toml"));
    }
    // Also those that are not wanted: what does not hold is to be found before the night it is needed.
    let mut sets = tables.iter().map(|(name, table)| FileSet::new(name, table)).collect::<Result<Vec<_>, _>>()?;
    for name in wanted {
        if !tables.contains_key(name) {
            let near = nearest(name, tables.keys().map(String::as_str));
            let known: Vec<&str> = tables.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!("there is no file set `{name}`{near}"))
                .hint(format!("configured are: {}", known.join(", "))));
        }
    }
    sets.retain(|set| wanted.is_empty() || wanted.contains(&set.name));
    Ok(sets)
}

impl FileSet {
    /// The set that a table describes.
    ///
    /// # Errors
    /// The name, a path or a pattern does not hold; nothing on disk is looked at.
    pub fn new(name: &str, table: &SetTable) -> Result<Self, SetError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins || name.len() > NAME_BYTES || !name.bytes().all(plain) {
            return Err(SetError::Name(name.to_owned()));
        }
        if table.paths.is_empty() {
            return Err(SetError::Empty(name.to_owned()));
        }
        let mut paths = table.paths.iter().map(|path| absolute(name, path)).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        for (outer, inner) in paths.iter().zip(paths.iter().skip(1)) {
            // Sorted by their parts, what lies below a path follows right behind it.
            if inner.starts_with(outer) {
                let (set, outer, inner) = (name.to_owned(), outer.clone(), inner.clone());
                return Err(SetError::Twice { set, outer, inner });
            }
        }
        let exclude = table.exclude.iter().map(|text| Pattern::new(name, text)).collect::<Result<Vec<_>, _>>()?;
        for (pattern, text) in exclude.iter().zip(&table.exclude) {
            let own =
                |path: &&PathBuf| matches!(pattern, Pattern::Path(whole) if whole.matches(&path.to_string_lossy()));
            if let Some(path) = paths.iter().find(own) {
                let (set, path, pattern) = (name.to_owned(), path.clone(), text.clone());
                return Err(SetError::Own { set, path, pattern });
            }
        }
        Ok(FileSet { name: name.to_owned(), paths, exclude, one_file_system: table.one_file_system })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its paths, sorted, none of them below another.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Whether what is mounted below a path is left out.
    pub fn one_file_system(&self) -> bool {
        self.one_file_system
    }

    /// Whether the entry `name`, whose whole path is `path`, is left out.
    pub fn leaves_out(&self, path: &Path, name: &OsStr) -> bool {
        self.exclude.iter().any(|pattern| match pattern {
            Pattern::Path(pattern) => pattern.matches(&path.to_string_lossy()),
            Pattern::Name(pattern) => pattern.matches(&name.to_string_lossy()),
        })
    }

    /// Looks whether its paths are there.
    ///
    /// # Errors
    /// One is not, or is a link to a directory.
    pub fn look(&self) -> Result<(), SetError> {
        for path in &self.paths {
            let missing = |source| SetError::Missing { set: self.name.clone(), path: path.clone(), source };
            let found = fs::symlink_metadata(path).map_err(missing)?;
            if found.is_symlink() && fs::metadata(path).is_ok_and(|target| target.is_dir()) {
                let target = fs::canonicalize(path).map_err(missing)?;
                return Err(SetError::Link { set: self.name.clone(), path: path.clone(), target });
            }
        }
        Ok(())
    }
}

impl Pattern {
    fn new(set: &str, text: &str) -> Result<Self, SetError> {
        let useless = |why| SetError::Pattern { set: set.to_owned(), pattern: text.to_owned(), why };
        let pattern = text.trim_end_matches('/');
        if pattern.is_empty() {
            return Err(useless("it is empty"));
        }
        if pattern.starts_with('/') {
            return Ok(Pattern::Path(WildMatch::new(pattern)));
        }
        if pattern.contains('/') {
            return Err(useless("a pattern with a slash is for a whole path, and must begin with one"));
        }
        Ok(Pattern::Name(WildMatch::new(pattern)))
    }
}

/// The path without doubled slashes and one at its end.
fn absolute(set: &str, text: &str) -> Result<PathBuf, SetError> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let dots = text.split('/').any(|part| part == "." || part == "..");
    if !path.is_absolute() || !plain || dots || text.contains('\0') {
        return Err(SetError::Path { set: set.to_owned(), path: text.to_owned() });
    }
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    fn set(paths: &[&str], exclude: &[&str]) -> Result<FileSet, SetError> {
        FileSet::new("etc", &SetTable { paths: strings(paths), exclude: strings(exclude), one_file_system: false })
    }

    fn out(set: &FileSet, path: &str) -> bool {
        let path = Path::new(path);
        set.leaves_out(path, path.file_name().unwrap())
    }

    #[test]
    fn paths_are_sorted_and_written_plainly() {
        let set = set(&["/srv//www/", "/etc/nginx", "/etc-old", "/etc/apt"], &[]).unwrap();
        let expected = ["/etc/apt", "/etc/nginx", "/etc-old", "/srv/www"];
        assert_eq!(set.paths(), expected.map(PathBuf::from));
    }

    #[test]
    fn a_path_that_does_not_say_where_it_is_is_refused() {
        for path in ["", "etc", "./etc", "/etc/../root", "/etc/./x", "/etc/.", "~/x", "/a\0b"] {
            assert!(matches!(set(&[path], &[]), Err(SetError::Path { .. })), "{path}");
        }
        assert!(matches!(set(&[], &[]), Err(SetError::Empty(_))));
        assert_eq!(set(&["/"], &[]).unwrap().paths(), [PathBuf::from("/")]);
    }

    #[test]
    fn nothing_is_in_a_set_twice() {
        for paths in [["/etc", "/etc"], ["/etc", "/etc/"], ["/etc/nginx/conf.d", "/etc"], ["/", "/etc"]] {
            assert!(matches!(set(&paths, &[]), Err(SetError::Twice { .. })), "{paths:?}");
        }
        set(&["/etc", "/etc-old", "/etc.d"], &[]).unwrap();
        assert!(matches!(set(&["/a", "/a-b", "/a/c"], &[]), Err(SetError::Twice { .. })), "not neighbours as text");
    }

    #[test]
    fn names_are_such_as_a_label_can_hold() {
        let table = SetTable { paths: strings(&["/etc"]), ..SetTable::default() };
        for name in ["etc", "0", "web-1_b.old", &"x".repeat(64)] {
            assert!(FileSet::new(name, &table).is_ok(), "{name}");
        }
        for name in ["", "-x", ".x", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(matches!(FileSet::new(name, &table), Err(SetError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_fits_whole_paths_and_one_without_fits_names() {
        let set = set(&["/etc"], &["*.swp", "cache", "/etc/nginx/logs/", "/etc/*/secret?"]).unwrap();
        for path in ["/etc/a.swp", "/etc/x/.a.swp", "/etc/x/cache", "/etc/nginx/logs", "/etc/a/b/secret1"] {
            assert!(out(&set, path), "{path}");
        }
        for path in
            ["/etc/a.swpx", "/etc/mycache", "/etc/nginx/logs2", "/etc/b/nginx/logs", "/etc/a/secret", "/etc/A.SWP"]
        {
            assert!(!out(&set, path), "{path}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_compared_as_if_it_were() {
        let set = set(&["/etc"], &["a?b"]).unwrap();
        let name = OsStr::from_bytes(b"a\xffb");
        assert!(set.leaves_out(&Path::new("/etc").join(name), name));
    }

    #[test]
    fn a_pattern_that_fits_nothing_or_all_of_a_path_is_refused() {
        for pattern in ["", "/", "nginx/cache", "**/x"] {
            assert!(matches!(set(&["/etc"], &[pattern]), Err(SetError::Pattern { .. })), "{pattern}");
        }
        for pattern in ["/etc", "/e*", "/etc/"] {
            assert!(matches!(set(&["/etc"], &[pattern]), Err(SetError::Own { .. })), "{pattern}");
        }
        assert!(
            !out(&set(&["/etc/conf.d"], &["*.d"]).unwrap(), "/etc/conf.d/x"),
            "a name does not reach the path itself"
        );
    }

    #[test]
    fn a_path_that_is_missing_or_only_leads_to_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        set(&[&at("real"), &at("dangling")], &[]).unwrap().look().unwrap();
        let error = set(&[&at("gone")], &[]).unwrap().look().unwrap_err();
        assert!(matches!(&error, SetError::Missing { .. }) && error.to_string().contains(&at("gone")), "{error}");
        let error = set(&[&at("link")], &[]).unwrap().look().unwrap_err();
        assert!(matches!(&error, SetError::Link { .. }) && error.to_string().contains(&at("real")), "{error}");
    }
}
