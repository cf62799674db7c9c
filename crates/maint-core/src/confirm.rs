//! The question before something that cannot be taken back.
//!
//! A person at a terminal is asked. A script cannot be asked, and silence is not consent, so it must say `--yes`
//! itself.

use std::io::{self, BufRead, IsTerminal as _, Write};

/// Nobody agreed; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// There is no terminal to ask on.
    #[error("not done, because nobody can be asked without a terminal: {what}; pass --yes to agree beforehand")]
    NoTerminal {
        /// What was to be done.
        what: String,
    },
    /// The answer was not yes.
    #[error("not done, because it was not confirmed: {what}")]
    Declined {
        /// What was to be done.
        what: String,
    },
}

/// Asks for consent to `what` (words that end a sentence, as "drop the slot old_replica"), unless `yes` gave it
/// already.
///
/// Only `y` and `yes` agree; an empty line, another answer and the end of input do not. Blocks until answered.
pub fn confirm(what: &str, yes: bool) -> Result<(), NotConfirmed> {
    if yes {
        return Ok(());
    }
    let (stdin, stderr) = (io::stdin(), io::stderr());
    if !(stdin.is_terminal() && stderr.is_terminal()) {
        return Err(NotConfirmed::NoTerminal { what: what.to_owned() });
    }
    ask(what, &mut stdin.lock(), &mut stderr.lock())
}

fn ask(what: &str, answers: &mut impl BufRead, questions: &mut impl Write) -> Result<(), NotConfirmed> {
    let mut answer = String::new();
    let asked = write!(questions, "{what} [y/N] ").and_then(|()| questions.flush());
    let agreed = asked.and_then(|()| answers.read_line(&mut answer)).is_ok()
        && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if agreed { Ok(()) } else { Err(NotConfirmed::Declined { what: what.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn only_yes_is_consent() {
        for (answer, agreed) in [
            ("y\n", true),
            (" YES \n", true),
            ("yes", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yeah\n", false),
        ] {
            let mut shown = Vec::new();
            assert_eq!(ask("drop it", &mut answer.as_bytes(), &mut shown).is_ok(), agreed, "{answer:?}");
            assert_eq!(shown, b"drop it [y/N] ");
        }
        assert!(ask("drop it", &mut &b"\xff\n"[..], &mut Vec::new()).is_err());
    }

    #[test]
    #[ignore = "is the other process of the test below"]
    fn confirm_in_another_process() {
        confirm("drop the slot", true).unwrap();
        println!("\n{}", confirm("drop the slot", false).unwrap_err());
    }

    #[test]
    fn without_a_terminal_the_flag_is_named() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "confirm::tests::confirm_in_another_process", "--nocapture"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("drop the slot; pass --yes"), "{text}");
    }
}
