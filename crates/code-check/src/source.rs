//! Which files there are: the Rust sources of the workspace's crates, and its Markdown pages.
//!
//! What git ignores is left out, and so is the target directory, what a pattern excludes, and a crate below the workspace
//! that is no member of it. Symbolic links are not followed.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};
use maint_core::failure::Failure;

use crate::cli::SECTION;
use crate::work::Work;
use crate::workspace::{Member, Role, Target, Workspace};

/// A Rust source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// As it is shown: relative to the workspace.
    pub shown: String,
    /// The crate it belongs to.
    pub krate: String,
    /// The directory of the target it belongs to, where `crate::` begins; relative to the crate.
    pub root: Vec<String>,
    /// Its module below that, by the names of directories and files.
    pub module: Vec<String>,
    /// It can only be test code: of tests or benches.
    pub test: bool,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The files, sorted.
    pub files: Vec<T>,
    /// Why something is missing.
    pub problems: Vec<String>,
}

/// Files that are left out.
#[derive(Debug)]
pub struct Exclude(Gitignore);

impl Exclude {
    /// The patterns of the settings and those of the flags.
    ///
    /// # Errors
    /// A pattern cannot be read.
    pub fn load(flags: &[String], workspace: &Workspace, work: &Work<'_>) -> Result<Self, Failure> {
        let set = listed(work, "exclude")?;
        Exclude::of(set.iter().chain(flags), &workspace.root)
    }

    fn of<'a>(patterns: impl IntoIterator<Item = &'a String>, root: &Path) -> Result<Self, Failure> {
        let bad = |pattern: &str, error: ignore::Error| Failure::usage(format!("exclude `{pattern}`: {error}"));
        let mut builder = GitignoreBuilder::new(root);
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| bad(pattern, error))?;
        }
        Ok(Exclude(builder.build().map_err(|error| bad("", error))?))
    }

    /// Whether a file of the workspace is left out.
    pub fn holds(&self, path: &Path, root: &Path) -> bool {
        path.strip_prefix(root).is_ok_and(|path| self.0.matched_path_or_any_parents(path, false).is_ignore())
    }
}

/// The items of a key that is a list.
///
/// # Errors
/// The key does not hold.
pub fn listed(work: &Work<'_>, key: &str) -> Result<Vec<String>, Failure> {
    let text: String = work.settings.optional(&SECTION, key)?.unwrap_or_default();
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// The Rust files of all members.
pub fn sources(workspace: &Workspace, exclude: &Exclude) -> Found<Source> {
    let mut found = Found { files: Vec::new(), problems: Vec::new() };
    for member in &workspace.members {
        // A member below another one is walked when its turn comes.
        let directory = member.directory.clone();
        let inside = move |path: &Path| path == directory || !path.join("Cargo.toml").exists();
        for path in files(&member.directory, "rs", workspace, &mut found.problems, inside) {
            if !exclude.holds(&path, &workspace.root) {
                found.files.push(source(path, member, workspace));
            }
        }
    }
    found.files.sort_by(|a, b| a.shown.cmp(&b.shown));
    found
}

/// The Markdown files of the workspace.
pub fn pages(workspace: &Workspace, exclude: &Exclude) -> Found<PathBuf> {
    let mut problems = Vec::new();
    let mut files = files(&workspace.root, "md", workspace, &mut problems, |_| true);
    files.retain(|path| !exclude.holds(path, &workspace.root));
    files.sort();
    Found { files, problems }
}

fn files(
    directory: &Path,
    extension: &str,
    workspace: &Workspace,
    problems: &mut Vec<String>,
    inside: impl Fn(&Path) -> bool + Send + Sync + 'static,
) -> Vec<PathBuf> {
    let target = workspace.target.clone();
    let enter = move |entry: &DirEntry| {
        let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
        !is_directory || (entry.path() != target && inside(entry.path()))
    };
    let walk = WalkBuilder::new(directory)
        .follow_links(false)
        // What is looked at is the project's decision, and not that of whoever looks.
        .require_git(false)
        .git_global(false)
        .git_exclude(false)
        .filter_entry(enter)
        .build();
    let mut files = Vec::new();
    for entry in walk {
        match entry {
            Ok(entry) => {
                let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
                if is_file && entry.path().extension().is_some_and(|other| other == extension) {
                    files.push(entry.into_path());
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    files
}

fn source(path: PathBuf, member: &Member, workspace: &Workspace) -> Source {
    let target = target_of(&path, member);
    let start = target.and_then(|target| target.path.parent()).unwrap_or(&member.directory);
    let mut module = names(path.strip_prefix(start).unwrap_or(&path));
    let is_root = member.targets.iter().any(|target| target.path == path);
    if is_root || module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    Source {
        shown: workspace.shown(&path),
        krate: member.name.clone(),
        root: root(start, member, is_root, &path),
        module,
        test: target.is_some_and(|target| target.role == Role::Test),
        path,
    }
}

/// A target whose first file has the directory to itself is the directory (`src`, `tests/e2e`); of several in one
/// directory (`tests/a.rs`, `tests/b.rs`) each is its file.
fn root(start: &Path, member: &Member, is_root: bool, path: &Path) -> Vec<String> {
    let mut root = names(start.strip_prefix(&member.directory).unwrap_or(start));
    let shares = member.targets.iter().filter(|target| target.path.parent() == Some(start)).count() > 1;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if is_root && shares && name != "lib" && name != "main" {
        root.push(name);
    }
    if root.first().is_some_and(|first| first == "src") {
        root.remove(0);
    }
    root
}

/// The target that a file belongs to: the one that begins with it, or the one that begins nearest above.
fn target_of<'a>(path: &Path, member: &'a Member) -> Option<&'a Target> {
    let exact = member.targets.iter().find(|target| target.path == path);
    let above = || {
        let holding =
            member.targets.iter().filter(|target| target.path.parent().is_some_and(|dir| path.starts_with(dir)));
        holding.max_by_key(|target| target.path.components().count())
    };
    exact.or_else(above)
}

fn names(path: &Path) -> Vec<String> {
    path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(targets: &[(&str, Role)]) -> Member {
        let target = |(path, role): &(&str, Role)| Target {
            name: String::new(),
            role: *role,
            path: Path::new("/w/c").join(path),
            optional: false,
        };
        Member {
            id: "c".into(),
            name: "c".into(),
            directory: "/w/c".into(),
            targets: targets.iter().map(target).collect(),
            needs: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_the_module_that_its_path_says() {
        let member = member(&[
            ("src/lib.rs", Role::Library),
            ("src/main.rs", Role::Program),
            ("src/bin/other.rs", Role::Program),
            ("tests/e2e/main.rs", Role::Test),
            ("benches/a.rs", Role::Test),
            ("benches/b.rs", Role::Test),
            ("build.rs", Role::Build),
        ]);
        let place = |path: &str| {
            let path = Path::new("/w/c").join(path);
            let is_root = member.targets.iter().any(|target| target.path == path);
            let target = target_of(&path, &member).unwrap();
            let start = target.path.parent().unwrap();
            let mut module = names(path.strip_prefix(start).unwrap());
            if is_root || module.last().unwrap() == "mod" {
                module.pop();
            }
            (root(start, &member, is_root, &path).join("::"), module.join("::"), target.role == Role::Test)
        };
        let is = |root: &str, module: &str, test| (root.to_owned(), module.to_owned(), test);
        assert_eq!(place("src/lib.rs"), is("", "", false));
        assert_eq!(place("src/a/b.rs"), is("", "a::b", false));
        assert_eq!(place("src/a/mod.rs"), is("", "a", false));
        assert_eq!(place("src/bin/other.rs"), is("bin", "", false));
        assert_eq!(place("tests/e2e/main.rs"), is("tests::e2e", "", true));
        assert_eq!(place("tests/e2e/x/y.rs"), is("tests::e2e", "x::y", true));
        assert_eq!(place("benches/a.rs"), is("benches::a", "", true));
    }

    #[test]
    fn patterns_are_those_of_gitignore_and_know_nothing_outside_of_the_workspace() {
        let patterns = ["src/generated/".to_owned(), "*.pb.rs".to_owned()];
        let exclude = Exclude::of(&patterns, Path::new("/w")).unwrap();
        let holds = |path: &str| exclude.holds(Path::new(path), Path::new("/w"));
        assert!(holds("/w/src/generated/a.rs") && holds("/w/x/y.pb.rs"));
        assert!(!holds("/w/src/a.rs") && !holds("/elsewhere/y.pb.rs"));
    }
}
