//! `docs/commands.md` promises nothing that is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testbed::{run, tool};

/// One row of the compatibility table.
struct Row {
    /// Without backticks; empty in the table of routines.
    script: String,
    command: String,
    works: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The rows of every table in the page whose last column is a state.
fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, command, state] = cells.as_slice() else { panic!("not three columns: {line}") };
        if *state == "state" || state.starts_with("---") {
            continue;
        }
        let works = match *state {
            "works" => true,
            "planned" => false,
            _ => panic!("the state is neither works nor planned: {line}"),
        };
        let bare = |cell: &str| cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(str::to_owned);
        let command = bare(command).unwrap_or_else(|| panic!("the command is not in backticks: {line}"));
        rows.push(Row { script: bare(name).unwrap_or_default(), command, works });
    }
    assert!(rows.len() > 90, "{} rows: the table is not read as it stands", rows.len());
    rows
}

/// `TOOL SUBCOMMAND --help`, or `xtask SUBCOMMAND --help`, as the row's command has them.
fn answers_help(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (program, subcommand) = match words.as_slice() {
        ["cargo", "xtask", subcommand, ..] => ("xtask", subcommand),
        [tool, subcommand, ..] => (*tool, subcommand),
        _ => return Err("a command is a program and a subcommand".into()),
    };
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut help = tool(program, dir.path()).map_err(|error| error.to_string())?;
    let out = run(help.args([subcommand, "--help"])).map_err(|error| error.to_string())?;
    if out.code == 0 && out.stdout.contains("Usage:") && out.stdout.contains(subcommand) {
        Ok(())
    } else {
        Err(format!("{program} {subcommand} --help: {out}"))
    }
}

#[test]
fn no_script_stands_twice() {
    let mut seen = BTreeSet::new();
    for row in rows().iter().filter(|row| !row.script.is_empty()) {
        assert!(seen.insert(row.script.clone()), "{} stands twice", row.script);
    }
}

#[test]
fn every_command_that_works_answers_help() {
    let rows = rows();
    let working: Vec<&Row> = rows.iter().filter(|row| row.works).collect();
    assert!(working.len() >= 4, "only {} rows work", working.len());
    let wrong: Vec<String> = working
        .iter()
        .filter_map(|row| Some(format!("`{}`: {}", row.command, answers_help(&row.command).err()?)))
        .collect();
    assert!(wrong.is_empty(), "docs/commands.md says works, but:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_works_whose_crate_does_not_exist() {
    for row in rows() {
        let program = row.command.split_whitespace().next().unwrap_or_default();
        let there = program == "cargo" || root().join("crates").join(program).is_dir();
        assert!(there || !row.works, "`{}` cannot work: there is no crates/{program}", row.command);
    }
}

#[test]
fn every_command_of_pg_maint_that_replaces_a_script_works_under_the_script_s_name() {
    let rows = rows();
    let scripts: Vec<&Row> = rows.iter().filter(|row| row.command.starts_with("pg-maint ")).collect();
    let names: Vec<&str> =
        scripts.iter().map(|row| Path::new(&row.script).file_stem().and_then(|name| name.to_str()).unwrap()).collect();
    assert_eq!(names, ["vacuum-analyze", "reindex-tables", "update-statistics", "monitor-connections"]);
    for (row, name) in scripts.iter().zip(names) {
        assert!(row.works, "{}", row.script);
        answers_help(&format!("pg-maint {name}")).unwrap();
    }
}
