//! What the compiler said, from its JSON messages: which crates compile, and what it complains about.
//!
//! A library is compiled once as itself and once for its tests, and says the same twice; what is said about the same place
//! counts once. A crate that was not compiled, because it is broken or because something that it needs is, has no number of
//! warnings, and certainly not none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::BufReader;
use std::path::Path;

use cargo_metadata::Message;
use cargo_metadata::diagnostic::{Diagnostic as Raw, DiagnosticLevel, DiagnosticSpan};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cargo::Answer;
use crate::work::Work;
use crate::workspace::{Role, Workspace};

/// How a line with a complaint of the compiler begins.
const COMPLAINT: &str = "{\"reason\":\"compiler-message\"";

/// How bad it is to the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It does not compile.
    Error,
    /// It compiles.
    Warning,
}

/// One thing that the compiler, or clippy, or rustdoc complains about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The crate it is in.
    pub krate: String,
    /// The file, relative to the workspace; empty when it is about no place.
    pub file: String,
    /// The line, from 1; 0 when it is about no place.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// How bad it is.
    pub level: Level,
    /// The lint, or the error's code.
    pub code: String,
    /// What it says.
    pub message: String,
}

/// What became of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of its targets were compiled.
    Compiled,
    /// It has errors.
    Broken,
    /// Something that it needs has, or the compiler did not come to it.
    NotReached,
}

/// One run of the compiler over the workspace.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What it complains about, in members of the workspace; sorted, each once.
    pub diagnostics: Vec<Diagnostic>,
    /// What became of each member, and of other crates that are broken.
    pub outcomes: BTreeMap<String, Outcome>,
    /// What cargo says that failed without an error of the compiler, such as a build script.
    pub failure: Option<String>,
}

impl Compiled {
    /// Runs `cargo ARGS` with JSON messages.
    ///
    /// # Errors
    /// cargo cannot run, or did not come to compiling anything.
    pub fn run(
        work: &Work<'_>,
        workspace: &Workspace,
        args: &[&str],
        rest: &[String],
        env: Vec<(OsString, OsString)>,
    ) -> Result<Self, Failure> {
        let what = args.first().copied().unwrap_or_default().to_owned();
        let answer = workspace.cargo(work, &[args, &["--message-format=json"]].concat(), rest, env)?;
        let of_all = args.contains(&"--all-targets");
        Compiled::read(workspace, &answer, |role| of_all || role == Role::Library).map_err(|why| {
            Failure::usage(format!("cargo {what} did not run: {why}")).hint(format!("try `cargo {what}` by hand"))
        })
    }

    /// Reads what cargo wrote, where targets of the roles that `expected` names were to be compiled.
    ///
    /// # Errors
    /// It did not come to the end of a build; the text says why.
    pub fn read(workspace: &Workspace, answer: &Answer, expected: impl Fn(Role) -> bool) -> Result<Self, String> {
        let mut diagnostics = BTreeSet::new();
        let mut broken = BTreeSet::new();
        let mut built: BTreeSet<(String, String)> = BTreeSet::new();
        let mut success = None;
        for message in answer.stdout.iter().flat_map(|line| Message::parse_stream(BufReader::new(line.as_bytes()))) {
            match message.map_err(|error| error.to_string())? {
                Message::CompilerMessage(message) => {
                    let id = message.package_id.repr.as_str();
                    let member = workspace.member(id);
                    let name = member.map_or_else(|| name_in(id), |member| member.name.clone());
                    let Some(diagnostic) = diagnostic(&name, &message.message, &workspace.root) else { continue };
                    if diagnostic.level == Level::Error {
                        broken.insert(name);
                    }
                    // Other crates' warnings are not the workspace's; their errors are in its way.
                    if member.is_some() || diagnostic.level == Level::Error {
                        diagnostics.insert(diagnostic);
                    }
                }
                Message::CompilerArtifact(artifact) => {
                    built.insert((artifact.package_id.repr, artifact.target.src_path.into_string()));
                }
                Message::BuildFinished(finished) => success = Some(finished.success),
                // One that cannot be read may have been the one that matters; what a program prints is no message.
                Message::TextLine(line) if line.starts_with(COMPLAINT) => {
                    return Err(format!("cannot read its message {}", line.chars().take(120).collect::<String>()));
                }
                _ => {}
            }
        }
        let Some(success) = success else { return Err(answer.complaint()) };
        let failure = (!success && broken.is_empty()).then(|| answer.complaint());
        let mut outcomes: BTreeMap<String, Outcome> = broken.into_iter().map(|name| (name, Outcome::Broken)).collect();
        for member in &workspace.members {
            let reached = success
                || member
                    .targets
                    .iter()
                    .filter(|target| !target.optional && expected(target.role))
                    .all(|target| built.contains(&(member.id.clone(), target.path.display().to_string())));
            let outcome = if reached { Outcome::Compiled } else { Outcome::NotReached };
            outcomes.entry(member.name.clone()).or_insert(outcome);
        }
        Ok(Compiled { diagnostics: diagnostics.into_iter().collect(), outcomes, failure })
    }

    /// The warnings of a crate.
    pub fn warnings<'a>(&'a self, krate: &'a str) -> impl Iterator<Item = &'a Diagnostic> {
        self.diagnostics.iter().filter(move |found| found.level == Level::Warning && found.krate == krate)
    }

    /// Reports what does not compile, and what could not be looked at for that reason.
    pub fn report_broken(&self, work: &Work<'_>) {
        for found in self.diagnostics.iter().filter(|found| found.level == Level::Error) {
            work.run.emit(&found.record(Status::Critical));
        }
        let broken: Vec<&str> = self.with(Outcome::Broken).collect();
        for name in &broken {
            let message = "it has errors, so nothing else can be said of it";
            work.run.emit(&Record::new(Kind::Check, *name, Status::Critical, message).label("crate", *name));
        }
        if let Some(failure) = &self.failure {
            let message = format!("the workspace does not build: {failure}");
            work.run.emit(&Record::new(Kind::Check, work.subject.clone(), Status::Critical, message));
        }
        let cause = if broken.is_empty() { "the build failed".to_owned() } else { format!("{} broken", are(&broken)) };
        for name in self.with(Outcome::NotReached) {
            let message = format!("could not be compiled completely: {cause}");
            work.run.emit(&Record::new(Kind::Check, name, Status::Unknown, message).label("crate", name));
        }
    }

    /// The crates that this became of.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter(move |(_, other)| **other == outcome).map(|(name, _)| name.as_str())
    }
}

fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

impl Diagnostic {
    /// Where it is: `FILE:LINE`, or the crate.
    pub fn place(&self) -> String {
        if self.file.is_empty() { self.krate.clone() } else { format!("{}:{}", self.file, self.line) }
    }

    /// As a record.
    pub fn record(&self, status: Status) -> Record {
        Record::new(Kind::Finding, self.place(), status, self.message.clone())
            .label("crate", &self.krate)
            .field("code", &self.code)
            .field("file", &self.file)
            .field("line", self.line)
            .field("column", self.column)
    }
}

fn diagnostic(krate: &str, raw: &Raw, root: &Path) -> Option<Diagnostic> {
    let level = match raw.level {
        DiagnosticLevel::Ice | DiagnosticLevel::Error => Level::Error,
        DiagnosticLevel::Warning => Level::Warning,
        _ => return None,
    };
    let code = raw.code.as_ref().map(|code| code.code.clone()).unwrap_or_default();
    let primary = raw.spans.iter().find(|span| span.is_primary).or_else(|| raw.spans.first());
    // "3 warnings emitted", "aborting due to 2 previous errors": sums of what was said before.
    let is_sum = code.is_empty()
        && primary.is_none()
        && (raw.message.ends_with(" emitted") || raw.message.starts_with("aborting due to"));
    if is_sum {
        return None;
    }
    let (file, line, column) = primary.map(|span| place(span, root)).unwrap_or_default();
    Some(Diagnostic { krate: krate.to_owned(), file, line, column, level, code, message: raw.message.clone() })
}

/// Where a span is in the workspace: what comes out of a macro of another crate is where the macro is called.
fn place(span: &DiagnosticSpan, root: &Path) -> (String, usize, usize) {
    let mut span = span;
    while let Some(expansion) = &span.expansion {
        let path = Path::new(&span.file_name);
        if path.is_relative() || path.starts_with(root) {
            break;
        }
        span = &expansion.span;
    }
    let path = Path::new(&span.file_name);
    (path.strip_prefix(root).unwrap_or(path).display().to_string(), span.line_start, span.column_start)
}

/// The name in a package id (`path+file:///dir#name@1.0.0`, or `...dir#1.0.0` where the directory has the name).
fn name_in(id: &str) -> String {
    let (source, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => source.rsplit('/').next().unwrap_or(source).to_owned(),
    }
}

#[cfg(test)]
mod tests;
