//! What a program says of itself: the subcommands and flags in its `--help`.

use std::collections::{BTreeMap, BTreeSet};

/// The help of a program or of one of its subcommands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Help {
    /// All of it.
    pub(super) text: String,
    /// The subcommands that it lists.
    pub(super) subcommands: BTreeSet<String>,
    /// Every flag that occurs in it, and whether a value follows it.
    pub(super) flags: BTreeMap<String, bool>,
}

impl Help {
    /// Reads a help text in the form that clap and most others have.
    pub(super) fn read(text: &str) -> Self {
        let mut help = Help { text: text.to_owned(), ..Help::default() };
        let mut indent = None;
        for line in text.lines() {
            let depth = line.len() - line.trim_start().len();
            if depth == 0 {
                let title = line.trim_end().to_lowercase();
                indent = (title.ends_with("commands:")).then_some(usize::MAX);
            } else if let Some(least) = indent.filter(|least| depth <= *least && !line.trim().is_empty()) {
                // Explanations that stand on lines of their own are further in.
                indent = Some(least.min(depth));
                let name = line.split_whitespace().next().unwrap_or_default().trim_end_matches(',');
                help.subcommands.insert(name.to_owned());
            }
            help.flags_of(line);
        }
        help
    }

    fn flags_of(&mut self, line: &str) {
        let is_listed = line.trim_start().starts_with('-');
        let listed = if is_listed { line.trim_start().split("  ").next().unwrap_or_default() } else { "" };
        let takes = listed.contains('<') || listed.contains('=');
        let ends = |c: char| {
            c.is_whitespace()
                || matches!(c, ',' | '[' | ']' | '(' | ')' | '|' | '=' | '<' | '>' | '\'' | '"' | '`' | ':' | '.')
        };
        for word in line.split(ends) {
            let name = word.trim_start_matches('-');
            let is_flag = (word.starts_with("--") && name.len() > 1) || (word.len() == 2 && word.starts_with('-'));
            if is_flag && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                let known = self.flags.entry(word.to_owned()).or_default();
                *known |= is_listed && takes && listed.contains(word);
            }
        }
    }

    /// Whether a flag as it is written (`--name`, `--name=value`, `-x`, `-xyz`, `-x3`) is there, and whether the next word is
    /// its value; `None` when it is not there.
    pub(super) fn flag(&self, written: &str) -> Option<bool> {
        if written.starts_with("--") {
            let (name, value) = written.split_once('=').map_or((written, None), |(name, value)| (name, Some(value)));
            return self.flags.get(name).map(|takes| *takes && value.is_none());
        }
        let mut letters = written.chars().skip(1).peekable();
        while let Some(letter) = letters.next() {
            let takes = *self.flags.get(&format!("-{letter}"))?;
            if takes {
                return Some(letters.peek().is_none());
            }
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAP: &str = "Does things

Usage: tool [OPTIONS] <COMMAND>

Commands:
  plan            What to do
  do-it           Do it, with --not-a-flag-of-ours
  long-named-one
                  Explained below
  help            Print this message

Options:
  -c, --config <FILE>    Read this
  -v, --verbose...       More
      --dry-run          Nothing
  -j, --jobs <N>         How many
  -h, --help             Print help
";

    #[test]
    fn subcommands_are_those_listed_and_not_their_explanations() {
        let help = Help::read(CLAP);
        let names: Vec<&str> = help.subcommands.iter().map(String::as_str).collect();
        assert_eq!(names, ["do-it", "help", "long-named-one", "plan"]);
    }

    #[test]
    fn flags_are_known_with_whether_a_value_follows() {
        let help = Help::read(CLAP);
        assert_eq!(help.flag("--config"), Some(true));
        assert_eq!(help.flag("--config=x"), Some(false));
        assert_eq!(help.flag("-c"), Some(true));
        assert_eq!(help.flag("-j4"), Some(false));
        assert_eq!(help.flag("-vvv"), Some(false));
        assert_eq!(help.flag("-vj"), Some(true));
        assert_eq!(help.flag("--dry-run"), Some(false));
        for gone in ["--dry", "--dry-run-really", "-x", "-vx", "--verbos"] {
            assert_eq!(help.flag(gone), None, "{gone}");
        }
    }
}
