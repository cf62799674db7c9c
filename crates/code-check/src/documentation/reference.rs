//! Documented command lines against what the programs themselves say that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::help::Help;
use super::{Pages, finding, shell, total};
use crate::cargo::Call;
use crate::work::Work;
use crate::workspace::{Role, Workspace};

/// A program that takes longer for its help hangs.
const HELP_LIMIT: Duration = Duration::from_secs(20);

/// cargo's own commands: a program of such a name is not meant by `cargo NAME`.
const CARGOS: [&str; 16] = [
    "add", "bench", "build", "check", "clean", "clippy", "doc", "fetch", "fix", "fmt", "install", "metadata", "run",
    "test", "tree", "update",
];

/// Checks every documented call of a program of the workspace.
///
/// # Errors
/// We were asked to stop.
pub(super) fn run(pages: &Pages, bin_dir: &Path, workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let targets = workspace.members.iter().flat_map(|member| &member.targets);
    let programs: BTreeSet<&str> =
        targets.filter(|target| target.role == Role::Program).map(|target| target.name.as_str()).collect();
    let mut helps = Helps { bin_dir, work, known: BTreeMap::new() };
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let (mut checked, mut findings) = (0, 0);
    for (path, page) in pages {
        let shown = workspace.shown(path);
        for line in page.blocks.iter().filter(|block| shell::is_shell(block)).flat_map(shell::lines) {
            for words in shell::commands(&line.text) {
                let Some((program, args)) = called(&words, &programs) else { continue };
                if !bin_dir.join(program).is_file() {
                    missing.insert(program.to_owned());
                    continue;
                }
                checked += 1;
                if let Some(problem) = problem(program, args, &mut |path| helps.get(path))? {
                    findings += 1;
                    let record = finding("reference", &shown, line.line, problem);
                    work.run.emit(&record.field("command", words.join(" ")));
                }
            }
        }
    }
    for program in &missing {
        let message = format!(
            "is documented, but not built in {}: build it, or name the place with --bin-dir",
            bin_dir.display()
        );
        work.run.emit(&Record::new(Kind::Check, program, Status::Unknown, message).field("kind", "reference"));
    }
    work.run.emit(&total("reference", "documented command lines", checked, findings));
    Ok(())
}

/// Which program of the workspace is called, and with what.
fn called<'a>(words: &'a [String], programs: &BTreeSet<&'a str>) -> Option<(&'a str, &'a [String])> {
    let is_prefix = |word: &&String| {
        matches!(word.as_str(), "sudo" | "env" | "time" | "exec")
            || word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    let start = words.iter().take_while(is_prefix).count();
    let (first, args) = words.get(start..)?.split_first()?;
    let name = first.rsplit('/').next()?;
    if name == "cargo" {
        let (command, args) = args.split_first()?;
        let own = programs.iter().find(|program| program.strip_prefix("cargo-") == Some(command)).copied();
        let alias = || programs.get(command.as_str()).copied().filter(|name| !CARGOS.contains(name));
        return own.or_else(alias).map(|program| (program, args));
    }
    programs.get(name).map(|program| (*program, args))
}

/// Gives the help of a program (first) or of its subcommand.
type HelpOf<'a> = dyn FnMut(&[&str]) -> Result<Option<Help>, Failure> + 'a;

/// What of a call is not in the program's help.
fn problem(program: &str, args: &[String], help_of: &mut HelpOf<'_>) -> Result<Option<String>, Failure> {
    let mut path = vec![program];
    let Some(help) = help_of(&path)? else { return Ok(Some(format!("`{program} --help` fails"))) };
    let mut levels = vec![help];
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(help) = levels.last() else { break };
        // What stands for something else, and what is only passed on, is nobody's flag or command.
        if word == "--" || word.starts_with(['<', '$', '[', '…']) || word == "..." {
            break;
        }
        if word.starts_with('-') && word.len() > 1 && !word.starts_with("-0") && word.parse::<f64>().is_err() {
            match levels.iter().rev().find_map(|help| help.flag(word)) {
                Some(true) => drop(words.next()),
                Some(false) => {}
                None => return Ok(Some(format!("`{}` has no flag {word}", path.join(" ")))),
            }
        } else if !help.subcommands.is_empty() {
            let listed = help.subcommands.contains(word);
            let before = help.text.clone();
            path.push(word);
            // One that is not listed may be there all the same: then it has a help of its own.
            match help_of(&path)?.filter(|help| listed || help.text != before) {
                Some(help) => levels.push(help),
                None if listed => break,
                None => {
                    path.pop();
                    return Ok(Some(format!("`{}` has no subcommand {word}", path.join(" "))));
                }
            }
        }
    }
    Ok(None)
}

/// The helps asked for so far.
struct Helps<'a> {
    bin_dir: &'a Path,
    work: &'a Work<'a>,
    known: BTreeMap<Vec<String>, Option<Help>>,
}

impl Helps<'_> {
    /// The help of a program (first) or of its subcommand; `None` when it has none.
    fn get(&mut self, path: &[&str]) -> Result<Option<Help>, Failure> {
        let key: Vec<String> = path.iter().map(|&word| word.to_owned()).collect();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let Some((program, rest)) = path.split_first() else { return Ok(None) };
        let call = Call {
            program: self.bin_dir.join(program).into_os_string(),
            args: rest.iter().copied().chain(["--help"]).map(OsString::from).collect(),
            directory: std::env::temp_dir(),
            env: vec![("NO_COLOR".into(), "1".into()), ("COLUMNS".into(), "200".into())],
            limit: HELP_LIMIT,
        };
        let answer = call.run(self.work)?;
        let text = if answer.stdout.is_empty() { answer.stderr.join("\n") } else { answer.stdout.join("\n") };
        let help = (answer.code == Some(0)).then(|| Help::read(&text));
        self.known.insert(key, help.clone());
        Ok(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "Commands:\n  run   Run\n  db    Data\n\nOptions:\n  -c, --config <FILE>  x\n  -q  quiet\n";
    const RUN: &str = "Usage: tool run [FILE]\n\nOptions:\n      --fast  x\n";
    const DB: &str = "Commands:\n  pack  Pack\n";

    fn judged(text: &str) -> Option<String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let mut help = |path: &[&str]| {
            let text = match path {
                // Some answer any word with their own help.
                ["tool"] | ["tool", "anything"] => Some(TOP),
                ["tool", "run"] => Some(RUN),
                ["tool", "db"] => Some(DB),
                ["tool", "db", "pack"] => Some("Options:\n"),
                ["tool", "hidden"] => Some("Usage: tool hidden\n"),
                _ => None,
            };
            Ok(text.map(Help::read))
        };
        problem("tool", &words, &mut help).unwrap()
    }

    #[test]
    fn what_the_help_has_holds() {
        for good in [
            "run",
            "run file --fast",
            "-c run run --fast -q",
            "--config=x db pack",
            "hidden",
            "run -- --anything",
            "run -5",
            "<COMMAND> --what",
            "",
        ] {
            assert_eq!(judged(good), None, "{good}");
        }
    }

    #[test]
    fn what_the_help_does_not_have_is_named() {
        assert_eq!(judged("walk").unwrap(), "`tool` has no subcommand walk");
        assert_eq!(judged("anything").unwrap(), "`tool` has no subcommand anything");
        assert_eq!(judged("db unpack").unwrap(), "`tool db` has no subcommand unpack");
        assert_eq!(judged("run --slow").unwrap(), "`tool run` has no flag --slow");
        assert_eq!(judged("-x run").unwrap(), "`tool` has no flag -x");
    }

    #[test]
    fn a_program_is_found_behind_what_stands_before_it() {
        let programs = BTreeSet::from(["tool", "cargo-sub", "check"]);
        let program = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            called(&words, &programs).map(|(program, args)| format!("{program} {}", args.join(" ")))
        };
        assert_eq!(program("A=b sudo target/release/tool x").unwrap(), "tool x");
        assert_eq!(program("cargo sub --y").unwrap(), "cargo-sub --y");
        assert_eq!(program("cargo tool z").unwrap(), "tool z");
        assert_eq!(program("cargo check"), None);
        assert_eq!(program("grep tool"), None);
    }
}
