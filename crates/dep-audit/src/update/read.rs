//! A plan that was made before, and maybe filtered on its way here. All of it is read and checked before the first step
//! starts: a plan with one bad record changes nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use maint_core::plan::step_data;
use serde_json::Value;

use super::step::Step;

/// Reads a plan from a file, or from stdin where the path is `-`.
///
/// # Errors
/// It cannot be read, or is not a plan for this lock file: the message names the line.
pub(crate) fn plan(path: &Path, lockfile: &Path) -> Result<Vec<Step>, Failure> {
    let mut text = String::new();
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let read = if is_stdin {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("cannot read the plan from {name}: {error}")))?;
    parse(&text, &name, lockfile)
}

fn parse(text: &str, name: &str, lockfile: &Path) -> Result<Vec<Step>, Failure> {
    let mut steps: Vec<Step> = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let start = text.len() - rest.trim_start().len();
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let bad = |why: String| {
            Failure::usage(format!("{name}, line {line}: {why}; nothing was done"))
                .hint("make the plan with: dep-audit update -o ndjson")
        };
        let value = match stream.next() {
            None => return Ok(steps),
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(bad(format!("not JSON: {error}"))),
        };
        if let Some(data) = step_data(value, !steps.is_empty()).map_err(bad)? {
            let step: Step =
                serde_json::from_value(data).map_err(|error| bad(format!("not a step of a plan: {error}")))?;
            check(&step, lockfile).map_err(bad)?;
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
}

/// Names go to cargo's command line, so they must be names; a version is one because it was read as one.
fn check(step: &Step, lockfile: &Path) -> Result<(), String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if let Some(mv) = step.moves().find(|mv| !is_name(&mv.package)) {
        return Err(format!("{:?} is no crate's name", mv.package));
    }
    let planned: PathBuf = step.lockfile.canonicalize().unwrap_or_else(|_| step.lockfile.clone());
    if planned == lockfile {
        Ok(())
    } else {
        Err(format!("it was made for {}, not for {}", step.lockfile.display(), lockfile.display()))
    }
}

#[cfg(test)]
mod tests {
    use maint_core::record::Envelope;

    use super::super::step::Move;
    use super::*;

    fn line(package: &str) -> String {
        let target = Move {
            package: package.to_owned(),
            from: "1.0.0".parse().unwrap(),
            to: "1.0.1".parse().unwrap(),
            published: None,
            needs_rust: None,
        };
        let step = Step {
            lockfile: "/x/Cargo.lock".into(),
            target,
            first: Vec::new(),
            fixes: vec!["A-1".to_owned()],
            waived: false,
        };
        let record = step.planned("2026-01-01T00:00:00Z".parse().unwrap());
        serde_json::to_string(&Envelope::new("dep-audit", "update").seal(&record)).unwrap()
    }

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let text = format!("{}\n{}\n{}\n", line("a"), line("b"), line("a"));
        let steps = parse(&text, "x", Path::new("/x/Cargo.lock")).unwrap();
        assert_eq!(steps.iter().map(|step| step.target.package.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(steps[0].fixes, ["A-1"]);
    }

    #[test]
    fn one_bad_record_refuses_the_plan_and_names_its_line() {
        let lock = Path::new("/x/Cargo.lock");
        for bad in
            ["{", "7", "{}", "{\"type\":\"maint.plan.v1\",\"data\":{\"crate\":\"a\"}}", &line("--config"), &line("a b")]
        {
            let failure = parse(&format!("{}\n{bad}\n", line("a")), "stdin", lock).unwrap_err();
            assert!(failure.message.starts_with("stdin, line 2: "), "{failure}");
        }
        let failure = parse(&line("a"), "stdin", Path::new("/y/Cargo.lock")).unwrap_err();
        assert!(failure.message.contains("not for /y/Cargo.lock"), "{failure}");
    }
}
