//! Command lines as documentation shows them, taken apart as far as it takes to see which program is called how.

use crate::markdown::Block;

/// A command line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The line of the page, from 1.
    pub(super) line: usize,
    /// The command, lines that were continued put together.
    pub(super) text: String,
}

/// Whether a block is of a shell: `console` shows commands after `$ ` and what they print, the others may be scripts.
pub(super) fn is_shell(block: &Block) -> bool {
    let language = block.info.first().map(String::as_str).unwrap_or_default();
    matches!(language, "console" | "sh" | "bash" | "shell" | "zsh" | "shell-session")
}

/// The commands of a block: those after a prompt where there is one, and all of a script.
pub(super) fn lines(block: &Block) -> Vec<Line> {
    let prompted = |text: &str| text.trim_start().starts_with("$ ");
    let language = block.info.first().map(String::as_str).unwrap_or_default();
    let only_prompted = matches!(language, "console" | "shell-session") || block.text.lines().any(prompted);
    let mut found: Vec<Line> = Vec::new();
    let mut goes_on = false;
    let mut document: Option<String> = None;
    for (index, text) in block.text.lines().enumerate() {
        if let Some(end) = &document {
            if text.trim() == end {
                document = None;
            }
            continue;
        }
        let bare = text.trim_start();
        let bare =
            if goes_on { bare.strip_prefix("> ").unwrap_or(bare) } else { bare.strip_prefix("$ ").unwrap_or(bare) };
        if !goes_on && only_prompted && !prompted(text) {
            continue;
        }
        let continued = bare.strip_suffix('\\');
        let part = continued.unwrap_or(bare);
        match found.last_mut().filter(|_| goes_on) {
            Some(line) => line.text.push_str(part),
            None => found.push(Line { line: block.line + index, text: part.to_owned() }),
        }
        goes_on = continued.is_some();
        document = here_document(part);
    }
    found
}

/// What ends the text that follows a line with `<<`.
fn here_document(text: &str) -> Option<String> {
    let (_, after) = text.split_once("<<")?;
    let word = after.trim_start_matches(['-', ' ']).split_whitespace().next()?;
    let word = word.trim_matches(['\'', '"']);
    (!word.starts_with('<') && !word.is_empty()).then(|| word.to_owned())
}

/// The commands of a line, each as its words: at every `|`, `&` and `;` a new one begins. Redirections are left out.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut words = Words { chars: text.chars().peekable(), word: None, skip: false, commands: vec![Vec::new()] };
    while let Some(c) = words.chars.next() {
        match c {
            '#' if words.word.is_none() => break,
            ' ' | '\t' => words.end(),
            '|' | ';' | '&' => {
                words.end();
                words.commands.push(Vec::new());
            }
            '>' | '<' => words.redirection(),
            '\'' | '"' => words.quoted(c),
            '\\' => {
                let next = words.chars.next();
                words.word.get_or_insert_default().extend(next);
            }
            '$' if words.chars.peek() == Some(&'(') => words.substitution(),
            c => words.word.get_or_insert_default().push(c),
        }
    }
    words.end();
    words.commands.retain(|command| !command.is_empty());
    words.commands
}

/// A line that is being taken apart.
struct Words<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    word: Option<String>,
    /// The next word is where something is redirected to.
    skip: bool,
    commands: Vec<Vec<String>>,
}

impl Words<'_> {
    fn end(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !std::mem::take(&mut self.skip)
            && let Some(command) = self.commands.last_mut()
        {
            command.push(word);
        }
    }

    fn redirection(&mut self) {
        // The number of a stream belongs to the redirection.
        self.word = self.word.take().filter(|word| !word.chars().all(|c| c.is_ascii_digit()));
        self.end();
        while self.chars.next_if(|next| matches!(next, '>' | '<' | '&')).is_some() {}
        self.skip = true;
    }

    fn quoted(&mut self, quote: char) {
        let word = self.word.get_or_insert_default();
        while let Some(next) = self.chars.next().filter(|next| *next != quote) {
            if next == '\\' && quote == '"' {
                word.extend(self.chars.next());
            } else {
                word.push(next);
            }
        }
    }

    /// `$(...)` is one word, whatever is in it.
    fn substitution(&mut self) {
        let word = self.word.get_or_insert_default();
        word.push('$');
        let mut depth = 0_usize;
        for next in self.chars.by_ref() {
            word.push(next);
            depth = if next == '(' { depth + 1 } else { depth.saturating_sub(usize::from(next == ')')) };
            if depth == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(language: &str, text: &str) -> Block {
        Block { line: 10, info: vec![language.to_owned()], text: text.to_owned() }
    }

    fn texts(block: &Block) -> Vec<(usize, String)> {
        lines(block).into_iter().map(|line| (line.line, line.text)).collect()
    }

    #[test]
    fn a_console_has_commands_after_the_prompt_and_output_besides() {
        let found = texts(&block("console", "$ tool a \\\n    --b\noutput tool c\n$ tool d\n"));
        assert_eq!(found, [(10, "tool a --b".to_owned()), (13, "tool d".to_owned())]);
        assert!(texts(&block("console", "tool a\n")).is_empty());
    }

    #[test]
    fn a_script_is_all_commands_but_what_it_feeds_to_one() {
        let found = texts(&block("sh", "tool a\ncat > f <<'EOF'\ntool b\nEOF\ntool c\n"));
        assert_eq!(found, [(10, "tool a".into()), (11, "cat > f <<'EOF'".into()), (14, "tool c".into())]);
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_does() {
        let words = |text: &str| commands(text).into_iter().map(|words| words.join("·")).collect::<Vec<_>>();
        assert_eq!(words("a -x 'b c' | d \"e | f\" && g; h # i"), ["a·-x·b c", "d·e | f", "g", "h"]);
        assert_eq!(words("a 2>/dev/null b > c d 2>&1"), ["a·b·d"]);
        assert_eq!(words("a $(b | c (d)) e\\ f"), ["a·$(b | c (d))·e f"]);
        assert!(words("").is_empty() && words("# x").is_empty());
        for odd in ["'", "\"", "\\", "$(", "a |", "> ", "((", "\"\\"] {
            words(odd);
        }
    }
}
