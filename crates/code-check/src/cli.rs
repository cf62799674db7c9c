//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use maint_core::cli::{CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Section, checked, key};
use maint_core::units::HumanDuration;

/// The keys of `[code-check]` in maint.toml.
pub static SECTION: Section = Section {
    name: "code-check",
    tables: &[],
    keys: &[
        key("timeout", "30m", &[], checked::<HumanDuration>, "how long one run of cargo may take"),
        key("ratchet", "", &[], checked::<PathBuf>, "file with how many warnings each crate may have"),
        key("exclude", "", &[], checked::<String>, "files to leave out, as patterns of .gitignore: generated ones"),
        key("warn_lints", "", &[], checked::<String>, "lints that clippy warns about besides its own"),
        key("allow_lints", "", &[], checked::<String>, "lints that clippy lets pass"),
        key("max_file_lines", "800", &[], checked::<usize>, "lines of a file, without the tests in it"),
        key("max_function_lines", "100", &[], checked::<usize>, "lines of a function"),
        key("max_cyclomatic", "25", &[], checked::<usize>, "ways through a function"),
        key("max_cognitive", "25", &[], checked::<usize>, "how hard a function is to follow"),
        key("max_nesting", "5", &[], checked::<usize>, "blocks inside of blocks in a function"),
        key(
            "max_unsafe",
            "",
            &[],
            checked::<usize>,
            "unsafe blocks, functions, traits and impls of a crate; no limit when not set",
        ),
        key("test_max_file_lines", "1500", &[], checked::<usize>, "as max_file_lines, of test code"),
        key("test_max_function_lines", "200", &[], checked::<usize>, "as max_function_lines, of test code"),
        key("test_max_cyclomatic", "25", &[], checked::<usize>, "as max_cyclomatic, of test code"),
        key("test_max_cognitive", "25", &[], checked::<usize>, "as max_cognitive, of test code"),
        key("test_max_nesting", "6", &[], checked::<usize>, "as max_nesting, of test code"),
        key(
            "bin_dir",
            "",
            &[],
            checked::<PathBuf>,
            "where the built programs lie; debug in the target directory when not set",
        ),
        key("example_timeout", "60s", &[], checked::<HumanDuration>, "how long one example may run"),
    ],
};

/// The state of a Rust workspace: warnings, code, documentation, architecture.
#[derive(Debug, Parser)]
#[command(name = "code-check", version, after_help = EXIT_CODES, after_long_help = AFTER)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The workspace.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str =
    "Exit codes: 0 ok, 1 something was found, 2 a crate does not compile or a limit that must hold is broken, \
3 could not tell (usage, configuration, cargo cannot run), 75 not now (another run), \
130/143 interrupted.

Examples:
  code-check warnings
  code-check warnings --ratchet warnings.toml --update
  code-check clean --only limits --max-function-lines 80
  code-check documentation --only links,reference
  code-check architecture --report review.md
  cargo code-check clean -o ndjson | jq -r 'select(.data.kind == \"function-length\") | .subject'";

/// Which workspace, and how cargo is run on it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workspace")]
pub struct PlaceArgs {
    /// Cargo.toml of the workspace or of one of its crates [default: the nearest one above]
    #[arg(long, value_name = "FILE", global = true)]
    pub manifest_path: Option<PathBuf>,
    /// Where cargo builds [default: the workspace's own target directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub target_dir: Option<PathBuf>,
    /// cargo must not use the network
    #[arg(long, global = true)]
    pub offline: bool,
    /// With every feature of every crate
    #[arg(long, global = true)]
    pub all_features: bool,
    /// How long one run of cargo may take [default: timeout in maint.toml, 30m]
    #[arg(long, value_name = "DURATION", global = true)]
    pub timeout: Option<HumanDuration>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Warnings of the compiler, counted, against a ratchet that only falls
    Warnings(WarningsArgs),
    /// Format, lints, and measures of the code against limits
    Clean(CleanArgs),
    /// Missing documentation, broken links, documented commands that are not there
    Documentation(DocumentationArgs),
    /// Crates and modules, circles, sizes, and what has changed since the last time
    Architecture(ArchitectureArgs),
    /// What every program has
    #[command(flatten)]
    Common(CommonCommand),
}

/// `warnings`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  code-check warnings
  code-check warnings --ratchet warnings.toml           # more than it says is critical
  code-check warnings --ratchet warnings.toml --update  # fewer: it says so from now on")]
pub struct WarningsArgs {
    /// TOML or JSON file with how many warnings each crate may have; crates that are not in it may have none [default:
    /// ratchet in maint.toml]
    #[arg(long, value_name = "FILE")]
    pub ratchet: Option<PathBuf>,
    /// Lower the ratchet to what was counted (never raise it); write it where there is none yet
    #[arg(long)]
    pub update: bool,
    /// Say what --update would do, and leave the ratchet as it is
    #[arg(long, requires = "update")]
    pub dry_run: bool,
}

/// A part of `clean`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CleanPart {
    /// rustfmt
    Format,
    /// clippy
    Lints,
    /// Lengths, complexity, nesting, unsafe code
    Limits,
}

/// `clean`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  code-check clean
  code-check clean --only limits --max-function-lines 80 --exclude 'src/generated/'
  code-check clean --only lints --warn-lint clippy::unwrap_used --allow-lint clippy::too_many_arguments")]
pub struct CleanArgs {
    /// Only these parts
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<CleanPart>,
    /// Files to leave out, as patterns of .gitignore; in addition to exclude in maint.toml
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// A lint to warn about besides clippy's own [default: warn_lints in maint.toml]
    #[arg(long, value_name = "LINT")]
    pub warn_lint: Vec<String>,
    /// A lint to let pass [default: allow_lints in maint.toml]
    #[arg(long, value_name = "LINT")]
    pub allow_lint: Vec<String>,
    /// Limits
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Limits that override those of maint.toml.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits (default: the keys of these names in maint.toml)")]
pub struct LimitArgs {
    /// Lines of a file, without the tests in it
    #[arg(long, value_name = "N")]
    pub max_file_lines: Option<usize>,
    /// Lines of a function
    #[arg(long, value_name = "N")]
    pub max_function_lines: Option<usize>,
    /// Ways through a function
    #[arg(long, value_name = "N")]
    pub max_cyclomatic: Option<usize>,
    /// How hard a function is to follow
    #[arg(long, value_name = "N")]
    pub max_cognitive: Option<usize>,
    /// Blocks inside of blocks in a function
    #[arg(long, value_name = "N")]
    pub max_nesting: Option<usize>,
    /// Unsafe blocks, functions, traits and impls of a crate
    #[arg(long, value_name = "N")]
    pub max_unsafe: Option<usize>,
    /// Lines of a file of tests, or of the tests in a file
    #[arg(long, value_name = "N")]
    pub test_max_file_lines: Option<usize>,
    /// Lines of a function of test code
    #[arg(long, value_name = "N")]
    pub test_max_function_lines: Option<usize>,
    /// Ways through a function of test code
    #[arg(long, value_name = "N")]
    pub test_max_cyclomatic: Option<usize>,
    /// How hard a function of test code is to follow
    #[arg(long, value_name = "N")]
    pub test_max_cognitive: Option<usize>,
    /// Blocks inside of blocks in a function of test code
    #[arg(long, value_name = "N")]
    pub test_max_nesting: Option<usize>,
}

impl LimitArgs {
    /// The flags with the keys that they override.
    pub fn by_key(&self) -> [(&'static str, Option<usize>); 11] {
        [
            ("max_file_lines", self.max_file_lines),
            ("max_function_lines", self.max_function_lines),
            ("max_cyclomatic", self.max_cyclomatic),
            ("max_cognitive", self.max_cognitive),
            ("max_nesting", self.max_nesting),
            ("max_unsafe", self.max_unsafe),
            ("test_max_file_lines", self.test_max_file_lines),
            ("test_max_function_lines", self.test_max_function_lines),
            ("test_max_cyclomatic", self.test_max_cyclomatic),
            ("test_max_cognitive", self.test_max_cognitive),
            ("test_max_nesting", self.test_max_nesting),
        ]
    }
}

/// A part of `documentation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentationPart {
    /// Missing documentation of public items, and broken links in it
    Items,
    /// Relative links and anchors in Markdown files
    Links,
    /// Command lines in Markdown files, against the built programs' --help
    Reference,
}

/// `documentation`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  code-check documentation
  code-check documentation --only links
  cargo build --release && code-check documentation --only reference --bin-dir target/release
  code-check documentation --only links --run-examples")]
pub struct DocumentationArgs {
    /// Only these parts
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<DocumentationPart>,
    /// Markdown files to leave out, as patterns of .gitignore; in addition to exclude in maint.toml
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Where the workspace's built programs lie [default: bin_dir in maint.toml, then debug in the target directory]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Run the examples that are marked to be run (```sh run)
    #[arg(long)]
    pub run_examples: bool,
    /// How long one example may run [default: example_timeout in maint.toml, 60s]
    #[arg(long, value_name = "DURATION")]
    pub example_timeout: Option<HumanDuration>,
}

/// `architecture`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  code-check architecture --report review.md
  code-check architecture --baseline architecture.json           # compared with it, which stays as it is
  code-check architecture --baseline architecture.json --update  # and made the new one")]
pub struct ArchitectureArgs {
    /// Files to leave out, as patterns of .gitignore; in addition to exclude in maint.toml
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Compare with this file instead of the last run, which is kept in the state directory
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write what was found to the baseline
    #[arg(long, requires = "baseline")]
    pub update: bool,
    /// Write a report in Markdown
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}
