//! The report as Markdown, for a ticket or a chat: the same order and words as the page, without drawings.
//!
//! Names in records are data. Whatever Markdown or inline HTML would make of them is escaped, and a name can neither end
//! its table cell nor its line.

use std::fmt::{self, Write as _};

use maint_core::report::{shape, visible};
use maint_core::units::format_seconds;

use super::{Change, Report};

/// Text that stands for itself in Markdown, on one line and inside a table cell.
struct Md<'a>(&'a str);

impl fmt::Display for Md<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = ' ';
        // What would start a heading, a list or a rule, were the text to stand first on its line.
        let mut first = true;
        let mut number = false;
        let mut chars = self.0.trim().chars().peekable();
        while let Some(c) = chars.next() {
            // Inside a word an underscore is an underscore, and most names have one.
            let in_word = before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
            match c {
                '\n' | '\t' => f.write_char(' ')?,
                '\r' if chars.peek() == Some(&'\n') => {}
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '_' if in_word => f.write_char('_')?,
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => write!(f, "\\{c}")?,
                '#' | '+' | '-' | '=' if first => write!(f, "\\{c}")?,
                '.' | ')' if number => write!(f, "\\{c}")?,
                c => visible(c, f)?,
            }
            number = (first || number) && c.is_ascii_digit();
            first = false;
            before = c;
        }
        Ok(())
    }
}

/// The message as a quotation: its line breaks stay, and nothing in it can start a heading or a list.
fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  > {}", Md(line))).collect();
    lines.join("\\\n")
}

impl Report {
    /// The report as one Markdown file (GitHub's dialect, for its tables).
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "# {}\n", Md(&self.title));
        let _ = writeln!(out, "**{} {}**\n", shape(self.severity), Md(&self.headline));
        for sentence in &self.lead {
            let _ = writeln!(out, "{}\n", Md(sentence));
        }
        self.markdown_ran(&mut out);
        self.markdown_pairs(&mut out);
        self.markdown_changed(&mut out);
        self.markdown_left(&mut out);
        let _ = writeln!(out, "## The journal\n\n{}\n", Md(&self.journal.sentence()));
        let _ = writeln!(out, "Generated {}.", self.generated.strftime("%Y-%m-%d %H:%M:%S UTC"));
        out
    }

    fn markdown_ran(&self, out: &mut String) {
        out.push_str("## What ran\n\n");
        if self.ran.is_empty() {
            out.push_str("No program's run is recorded.\n\n");
            return;
        }
        out.push_str("| Step | Status | Exit code | Duration | What it said |\n|---|---|--:|--:|---|\n");
        for row in &self.ran {
            let _ = writeln!(
                out,
                "| {} | {} {} | {} | {} | {} |",
                Md(&row.name),
                shape(row.status.severity),
                Md(&row.status.word),
                row.exit(),
                row.duration(),
                Md(&row.said)
            );
        }
        out.push('\n');
    }

    fn markdown_pairs(&self, out: &mut String) {
        out.push_str("## Before and after\n\n");
        if self.pairs.is_empty() {
            out.push_str("Nothing was measured twice.\n\n");
        }
        for group in &self.pairs {
            let _ = writeln!(out, "### {}\n", Md(&group.title));
            out.push_str("| What | Database | Before | After | Change |\n|---|---|--:|--:|--:|\n");
            for pair in &group.pairs {
                let (before, after) = (group.unit.format(pair.before), group.unit.format(pair.after));
                let (subject, database, change) = (Md(&pair.subject), Md(&pair.database), pair.change(group.unit));
                let _ = writeln!(out, "| {subject} | {database} | {before} | {after} | {change} |");
            }
            out.push('\n');
        }
    }

    fn markdown_changed(&self, out: &mut String) {
        out.push_str("## What changed\n\n");
        if self.changed.is_empty() {
            out.push_str("Nothing was changed.\n\n");
        }
        for (task, changes) in &self.changed {
            let _ = writeln!(out, "### {}\n\n| What | Action | Database | Effect | Duration |", Md(task));
            out.push_str("|---|---|---|---|--:|\n");
            for Change { subject, action, database, effect, seconds } in changes {
                let duration = seconds.map_or_else(|| "–".to_owned(), format_seconds);
                let (subject, action, database) = (Md(subject), Md(action), Md(database));
                let _ = writeln!(out, "| {subject} | {action} | {database} | {} | {duration} |", Md(effect));
            }
            out.push('\n');
        }
        if !self.besides.is_empty() {
            let _ = writeln!(out, "Besides: {}.\n", Md(&self.besides));
        }
    }

    fn markdown_left(&self, out: &mut String) {
        out.push_str("## Left, or needs a person\n\n");
        if self.left.is_empty() {
            out.push_str("Nothing was left.\n\n");
        }
        for item in &self.left {
            let (shape, word) = (shape(item.status.severity), Md(&item.status.word));
            let _ = writeln!(out, "- **{shape} {word}** {} ({})\n", Md(&item.subject), Md(&item.context));
            let _ = writeln!(out, "{}\n", quoted(&item.message));
            for (name, text) in &item.details {
                let _ = writeln!(out, "  - {}: {}", name.replace('_', " "), Md(text));
            }
            if !item.details.is_empty() {
                out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_itself_and_cannot_leave_its_cell() {
        assert_eq!(Md("public.order_items").to_string(), "public.order_items");
        assert_eq!(Md("a|b\nc").to_string(), "a\\|b c");
        assert_eq!(Md("<b> *x* [y](z) `q` _u_").to_string(), "&lt;b&gt; \\*x\\* \\[y\\](z) \\`q\\` \\_u\\_");
        assert_eq!(Md("a\\|b").to_string(), "a\\\\\\|b");
    }

    #[test]
    fn a_message_of_several_lines_stays_a_quotation() {
        assert_eq!(quoted("first\n# second\n12. third"), "  > first\\\n  > \\# second\\\n  > 12\\. third");
    }
}
