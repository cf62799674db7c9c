//! Lengths, complexity, nesting and unsafe code against limits.

use std::collections::BTreeMap;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::{CleanArgs, SECTION};
use crate::measure::{Measured, Unmeasured, measure};
use crate::source::{Exclude, sources};
use crate::syntax::on_large_stack;
use crate::words::counted;
use crate::work::Work;
use crate::workspace::Workspace;

/// What code may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    file_lines: usize,
    function_lines: usize,
    cyclomatic: usize,
    cognitive: usize,
    nesting: usize,
}

/// A measure above its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excess {
    kind: &'static str,
    /// What is above it: a function's name, or the file's.
    subject: String,
    line: usize,
    value: usize,
    limit: usize,
}

/// Measures every source of the workspace and compares.
///
/// # Errors
/// The settings do not hold, there is no source at all, or we were asked to stop.
pub(super) fn run(args: &CleanArgs, workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let (code, tests) = (limits(work, "")?, limits(work, "test_")?);
    let max_unsafe: Option<usize> = work.settings.optional(&SECTION, "max_unsafe")?;
    let found = sources(workspace, &Exclude::load(&args.exclude, workspace, work)?);
    for problem in &found.problems {
        work.run.emit(&Record::new(Kind::Finding, "sources", Status::Unknown, problem).field("kind", "unread"));
    }
    if found.files.is_empty() {
        return Err(Failure::usage(format!("no source file in {}", workspace.root.display()))
            .hint("exclude leaves nothing, or .gitignore does"));
    }
    let cancel = work.cancel.clone();
    let (measured, unmeasured) = on_large_stack(|| measure(found.files, || cancel.is_cancelled()))?;
    work.go_on()?;
    let mut excesses: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &measured {
        for excess in judge(file, &code, &tests) {
            *excesses.entry(&file.source.krate).or_default() += 1;
            work.run.emit(&excess.record(file));
        }
    }
    for file in &unmeasured {
        work.run.emit(&unparsed(file));
    }
    for member in &workspace.members {
        let files: Vec<&Measured> = measured.iter().filter(|file| file.source.krate == member.name).collect();
        let unread = unmeasured.iter().filter(|file| file.source.krate == member.name).count();
        let above = excesses.get(member.name.as_str()).copied().unwrap_or(0);
        unsafe_code(&member.name, &files, max_unsafe, work);
        work.run.emit(&summary(&member.name, &files, above, unread));
    }
    Ok(())
}

fn limits(work: &Work<'_>, prefix: &str) -> Result<Limits, Failure> {
    let get = |name: &str| work.settings.get::<usize>(&SECTION, &format!("{prefix}{name}"));
    Ok(Limits {
        file_lines: get("max_file_lines")?,
        function_lines: get("max_function_lines")?,
        cyclomatic: get("max_cyclomatic")?,
        cognitive: get("max_cognitive")?,
        nesting: get("max_nesting")?,
    })
}

fn judge(file: &Measured, code: &Limits, tests: &Limits) -> Vec<Excess> {
    let mut found = Vec::new();
    let mut above = |kind, subject: &str, line, value, limit| {
        if value > limit {
            found.push(Excess { kind, subject: subject.to_owned(), line, value, limit });
        }
    };
    above("file-length", &file.source.shown, 1, file.lines, code.file_lines);
    above("file-length", &file.source.shown, 1, file.test_lines, tests.file_lines);
    for function in &file.functions {
        let limits = if function.test { tests } else { code };
        let mut above = |kind, value, limit| above(kind, &function.path, function.line, value, limit);
        above("function-length", function.lines, limits.function_lines);
        above("cyclomatic-complexity", function.cyclomatic, limits.cyclomatic);
        above("cognitive-complexity", function.cognitive, limits.cognitive);
        above("nesting", function.nesting, limits.nesting);
    }
    found
}

impl Excess {
    fn record(&self, file: &Measured) -> Record {
        let message = format!("{} {}, the limit is {}", self.value, unit(self.kind), self.limit);
        Record::new(Kind::Finding, &self.subject, Status::Warning, message)
            .label("crate", &file.source.krate)
            .label("measure", self.kind)
            .field("kind", self.kind)
            .field("file", &file.source.shown)
            .field("line", self.line)
            .field("value", self.value)
            .field("limit", self.limit)
    }
}

fn unit(kind: &str) -> &'static str {
    match kind {
        "file-length" | "function-length" => "lines",
        "cyclomatic-complexity" => "ways through it",
        "cognitive-complexity" => "points of complexity",
        "nesting" => "blocks inside of each other",
        _ => "places",
    }
}

fn unparsed(file: &Unmeasured) -> Record {
    let place = match file.why.line {
        0 => file.source.shown.clone(),
        line => format!("{}:{line}", file.source.shown),
    };
    Record::new(Kind::Finding, place, Status::Unknown, format!("{}, so nothing in it was measured", file.why.why))
        .label("crate", &file.source.krate)
        .field("kind", "unparsed")
        .field("file", &file.source.shown)
        .field("line", file.why.line)
}

/// Reports where unsafe code is when a crate has more than it may have, else in the details.
fn unsafe_code(name: &str, files: &[&Measured], limit: Option<usize>, work: &Work<'_>) {
    let count = files.iter().map(|file| file.unsafes.len()).sum::<usize>();
    let above = limit.filter(|limit| count > *limit);
    for file in files {
        for found in &file.unsafes {
            let status = if above.is_some() { Status::Warning } else { Status::Ok };
            let place = format!("{}:{}", file.source.shown, found.line);
            let record = Record::new(Kind::Finding, place, status, format!("unsafe {}", found.what))
                .label("crate", name)
                .field("kind", "unsafe")
                .field("file", &file.source.shown)
                .field("line", found.line);
            if above.is_some() { work.run.emit(&record) } else { work.run.detail(&record) }
        }
    }
    if let Some(limit) = above {
        let message = format!("{count} places with unsafe code, the limit is {limit}");
        let record = Record::new(Kind::Finding, name, Status::Warning, message).label("crate", name);
        work.run.emit(
            &record.label("measure", "unsafe").field("kind", "unsafe").field("value", count).field("limit", limit),
        );
    }
}

fn summary(name: &str, files: &[&Measured], above: usize, unread: usize) -> Record {
    let of = |measure: fn(&Measured) -> usize| files.iter().map(|file| measure(file)).sum::<usize>();
    let functions = of(|file| file.functions.len());
    let unsafes = |what: &str| files.iter().flat_map(|file| &file.unsafes).filter(|found| found.what == what).count();
    let (status, message) = match (above, unread) {
        (_, 1..) => {
            let (above, unread) = (counted(above, "measure"), counted(unread, "file"));
            (Status::Unknown, format!("{above} above the limits, {unread} not measured"))
        }
        (0, 0) => {
            let (files, functions) = (counted(files.len(), "file"), counted(functions, "function"));
            (Status::Ok, format!("{files} with {functions}, all within the limits"))
        }
        (1, 0) => (Status::Warning, "1 measure is above its limit".to_owned()),
        (_, 0) => (Status::Warning, format!("{above} measures are above their limits")),
    };
    Record::new(Kind::Check, name, status, message)
        .label("crate", name)
        .label("part", "limits")
        .field("kind", "limits")
        .field("files", files.len())
        .field("functions", functions)
        .field("code_lines", of(|file| file.code_lines))
        .field("test_code_lines", of(|file| file.test_code_lines))
        .field("unsafe_blocks", unsafes("block"))
        .field("unsafe_functions", unsafes("function"))
        .field("unsafe_impls", unsafes("impl"))
        .field("unsafe_traits", unsafes("trait"))
        .field("unsafe_in_macros", unsafes("macro"))
        .field("value", above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Function;
    use crate::source::Source;

    const CODE: Limits = Limits { file_lines: 100, function_lines: 10, cyclomatic: 5, cognitive: 5, nesting: 2 };
    const TESTS: Limits = Limits { file_lines: 200, function_lines: 20, cyclomatic: 5, cognitive: 5, nesting: 2 };

    fn file(function: Function, lines: usize, test_lines: usize) -> Measured {
        let source = Source {
            path: "/w/a.rs".into(),
            shown: "a.rs".into(),
            krate: "c".into(),
            root: Vec::new(),
            module: Vec::new(),
            test: false,
        };
        Measured::for_tests(source, lines, test_lines, vec![function])
    }

    fn function(lines: usize, test: bool) -> Function {
        Function { path: "c::f".into(), line: 3, lines, cyclomatic: 5, cognitive: 5, nesting: 2, test }
    }

    #[test]
    fn at_the_limit_is_within_it_and_one_more_is_not() {
        assert_eq!(judge(&file(function(10, false), 100, 200), &CODE, &TESTS), []);
        let found = judge(&file(function(11, false), 101, 201), &CODE, &TESTS);
        let found: Vec<(&str, usize, usize)> =
            found.iter().map(|excess| (excess.kind, excess.value, excess.limit)).collect();
        assert_eq!(found, [("file-length", 101, 100), ("file-length", 201, 200), ("function-length", 11, 10)]);
        let deep = Function { cyclomatic: 6, cognitive: 6, nesting: 3, ..function(1, false) };
        let found: Vec<&str> = judge(&file(deep, 1, 0), &CODE, &TESTS).iter().map(|excess| excess.kind).collect();
        assert_eq!(found, ["cyclomatic-complexity", "cognitive-complexity", "nesting"]);
    }

    #[test]
    fn tests_have_their_own_limits() {
        assert_eq!(judge(&file(function(20, true), 0, 150), &CODE, &TESTS), []);
        assert_eq!(judge(&file(function(21, true), 0, 150), &CODE, &TESTS).len(), 1);
        assert_eq!(judge(&file(function(20, false), 0, 150), &CODE, &TESTS).len(), 1);
    }
}
