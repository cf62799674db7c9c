//! Scripts as pgbench reads them (its documentation, "Custom Scripts"): SQL that ends with `;`, `\set`, `\sleep`, and
//! variables as `:name`. Variables are whole numbers and become parameters of prepared statements.

mod builtin;
mod expression;
mod sql;

use std::collections::BTreeMap;

pub use builtin::builtin;
pub use expression::Expression;

/// A script.
#[derive(Debug, Clone)]
pub struct Script {
    /// What is done, one after the other.
    pub commands: Vec<Command>,
    /// The values that variables begin with.
    pub variables: Vec<i64>,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// A statement.
    Sql {
        /// With `$1`, `$2` where variables were.
        text: String,
        /// Under which it is prepared.
        name: String,
        /// Which variables, by number.
        parameters: Vec<usize>,
    },
    /// A variable gets a value.
    Set {
        /// Which, by number.
        variable: usize,
        /// The value.
        value: Expression,
        /// Where it stands in the script, from 1.
        line: usize,
    },
    /// Nothing is done for a while.
    Sleep {
        /// How long.
        value: Expression,
        /// The unit.
        nanoseconds: u64,
        /// Where it stands in the script, from 1.
        line: usize,
    },
}

/// The variables of a script by name.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn find(&self, name: &str) -> Result<usize, String> {
        self.0
            .get(name)
            .copied()
            .ok_or_else(|| format!("there is no variable :{name}; \\set it, or give -D {name}=NUMBER"))
    }
}

impl Script {
    /// Reads a script; `given` are variables that exist from the beginning.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(text: &str, given: &[(String, i64)]) -> Result<Self, String> {
        let mut names = Names::default();
        let mut variables = Vec::new();
        for (name, value) in given {
            names.0.insert(name.clone(), variables.len());
            variables.push(*value);
        }
        let mut commands = Vec::new();
        let mut line = 1;
        let mut rest = text;
        loop {
            let blank = rest.len() - rest.trim_start().len();
            let (skipped, after) = rest.split_at_checked(blank).unwrap_or((rest, ""));
            line += skipped.matches('\n').count();
            rest = after;
            if rest.is_empty() {
                break;
            }
            let at = |why: String| format!("line {line}: {why}");
            let taken = if rest.starts_with('\\') {
                let taken = rest.find('\n').unwrap_or(rest.len());
                commands
                    .push(meta(rest.get(..taken).unwrap_or_default(), line, &mut names, &mut variables).map_err(at)?);
                taken
            } else {
                let (statement, taken) = sql::statement(rest, &|name| names.find(name)).map_err(at)?;
                if let Some((text, parameters)) = statement {
                    commands.push(Command::Sql { text, name: format!("s{}", commands.len()), parameters });
                }
                taken
            };
            let (read, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
            line += read.matches('\n').count();
            rest = after;
        }
        if !commands.iter().any(|command| matches!(command, Command::Sql { .. })) {
            return Err("it has no statement".to_owned());
        }
        Ok(Script { commands, variables })
    }
}

/// A line that begins with a backslash.
fn meta(text: &str, line: usize, names: &mut Names, variables: &mut Vec<i64>) -> Result<Command, String> {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "\\set" => {
            let (name, value) = rest.split_once(char::is_whitespace).ok_or("write \\set NAME EXPRESSION")?;
            let value = Expression::parse(value, &|name| names.find(name))?;
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("{name:?} is no name of a variable"));
            }
            let variable = *names.0.entry(name.to_owned()).or_insert_with(|| {
                variables.push(0);
                variables.len() - 1
            });
            Ok(Command::Set { variable, value, line })
        }
        "\\sleep" => {
            let apart = rest.rsplit_once(char::is_whitespace).filter(|(_, unit)| UNITS.contains(unit));
            let (value, unit) = apart.unwrap_or_else(|| split_unit(rest));
            let nanoseconds = match unit {
                "us" => 1_000,
                "ms" => 1_000_000,
                _ => 1_000_000_000,
            };
            Ok(Command::Sleep { value: Expression::parse(value, &|name| names.find(name))?, nanoseconds, line })
        }
        _ => Err(format!("{word} is not known here: \\set and \\sleep are")),
    }
}

/// Those of `\\sleep`.
const UNITS: [&str; 3] = ["us", "ms", "s"];

/// `10ms` as `10` and `ms`.
fn split_unit(text: &str) -> (&str, &str) {
    UNITS
        .into_iter()
        .find_map(|unit| {
            let value = text.strip_suffix(unit)?;
            value.ends_with(|c: char| c.is_ascii_digit()).then_some((value, unit))
        })
        .unwrap_or((text, "s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn statements(text: &str) -> Vec<(String, Vec<usize>)> {
        let script = Script::parse(text, &[("scale".to_owned(), 10)]).unwrap();
        let sql = |command| match command {
            Command::Sql { text, parameters, .. } => Some((text, parameters)),
            _ => None,
        };
        script.commands.into_iter().filter_map(sql).collect()
    }

    #[test]
    fn the_workloads_of_pgbench_are_read() {
        for (name, count) in [("select-only", 1), ("simple-update", 5), ("tpcb", 7)] {
            let found = statements(&builtin(name).unwrap());
            assert_eq!(found.len(), count, "{name}: {found:?}");
        }
        assert!(builtin("other").is_none());
    }

    #[test]
    fn variables_are_parameters_and_what_only_looks_like_one_is_not() {
        let text = "\\set a 1\n\\set b :a + 1\n-- a :comment;\nSELECT ':a;', \"x:a\", $q$ :a; $q$, 1::int /* :a; /* ; */ */, :b, :a,\n :b; SELECT 2;\n";
        let found = statements(text);
        assert_eq!(found.len(), 2, "{found:?}");
        let (text, parameters) = &found[0];
        assert!(text.contains("':a;', \"x:a\", $q$ :a; $q$, 1::int") && text.ends_with("$1, $2,\n $1"), "{text}");
        assert_eq!(parameters, &[2, 1]);
    }

    #[test]
    fn pauses_have_units() {
        for (text, expected) in [("5", 5_000_000_000), ("5 ms", 5_000_000), ("5us", 5_000), (":scale ms", 10_000_000)] {
            let script = Script::parse(&format!("\\sleep {text}\nSELECT 1;"), &[("scale".to_owned(), 10)]).unwrap();
            let Command::Sleep { value, nanoseconds, .. } = &script.commands[0] else { panic!("{text}") };
            let value = value.value(&script.variables, &mut Random::new(1)).unwrap();
            assert_eq!(u64::try_from(value).unwrap() * nanoseconds, expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_line() {
        for (text, word) in [
            ("SELECT 1;\nSELECT :nobody;", "line 2: there is no variable :nobody"),
            ("\n\n\\set a\nSELECT 1;", "line 3: write \\set"),
            ("\\startpipeline\nSELECT 1;", "line 1: \\startpipeline is not known"),
            ("SELECT 1", "line 1: the statement has no end"),
            ("SELECT 'a;\n", "line 1: the statement has no end"),
            ("\\set a random(1)\nSELECT 1;", "line 1: "),
            ("\\set a 1\n", "no statement"),
            ("", "no statement"),
            ("\\set a 1.5\nSELECT :a;", "line 1: "),
        ] {
            let why = Script::parse(text, &[]).unwrap_err();
            assert!(why.contains(word), "{text:?}: {why}");
        }
    }
}
