//! The report as one HTML file that needs nothing else: no script, no font, no network.
//!
//! It is mailed, archived and opened years later, so it may depend on nothing that can vanish; and it shows names that
//! anybody with a database account may choose, so every text passes through [`Escaped`]. On a phone a table's rows become
//! blocks; the roles are written out because that layout would otherwise take a table's meaning from a screen reader.

use std::fmt::{self, Write as _};

use maint_core::units::format_seconds;

use super::entry::Status;
use super::{Left, Report, svg};

const STYLE: &str = include_str!("style.css");

/// Text for an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            '\n' | '\t' => f.write_char(c),
            c => visible(c, f),
        })
    }
}

/// Writes a character, or its code where it would not be seen: control characters, which HTML forbids, and those that
/// turn the direction of the text around them, which make a name look like another.
pub(super) fn visible(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unassigned = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    if c.is_control() || turns || unassigned { write!(f, "\\u{{{:x}}}", u32::from(c)) } else { f.write_char(c) }
}

/// A column: its heading, and whether it holds numbers.
type Column = (&'static str, bool);

fn status(status: &Status) -> String {
    format!(
        "<span class=\"status {}\"><span class=\"shape\" aria-hidden=\"true\">{}</span>{}</span>",
        status.severity.class(),
        status.severity.shape(),
        Escaped(&status.word)
    )
}

/// A table of cells that are HTML already. A column that is empty in every row is left out.
fn table(out: &mut String, label: &str, columns: &[Column], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    let used = |place: usize| rows.iter().any(|row| row.get(place).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<(usize, Column)> = columns.iter().copied().enumerate().filter(|(place, _)| used(*place)).collect();
    let class = |number: bool| if number { " class=\"number\"" } else { "" };
    let _ = write!(
        out,
        "<table role=\"table\" aria-label=\"{}\">\n<thead role=\"rowgroup\"><tr role=\"row\">",
        Escaped(label)
    );
    for (_, (name, number)) in &columns {
        let _ = write!(out, "<th role=\"columnheader\" scope=\"col\"{}>{name}</th>", class(*number));
    }
    out.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for row in &rows {
        out.push_str("<tr role=\"row\">");
        for (place, (name, number)) in &columns {
            let cell = row.get(*place).map_or("", String::as_str);
            let _ = write!(out, "<td role=\"cell\"{} data-label=\"{name}\">{cell}</td>", class(*number));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

fn text(text: &str) -> String {
    Escaped(text).to_string()
}

impl Report {
    /// The report as one HTML5 file.
    pub(crate) fn html(&self) -> String {
        let mut out = String::new();
        let title = Escaped(&self.title);
        let _ = writeln!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>",
            Escaped(&self.headline)
        );
        self.html_verdict(&mut out);
        self.html_ran(&mut out);
        self.html_pairs(&mut out);
        self.html_changed(&mut out);
        self.html_left(&mut out);
        let timeline = svg::timeline(&self.ran, "timeline");
        if !timeline.is_empty() {
            let _ = writeln!(out, "<h2>When it ran</h2>\n{timeline}");
        }
        let _ = writeln!(out, "<h2>The journal</h2>\n<p>{}</p>\n</main>", Escaped(&self.journal.sentence()));
        let (machine, person) = (self.generated, self.generated.strftime("%-d %B %Y, %H:%M:%S UTC"));
        let _ =
            writeln!(out, "<footer>Generated <time datetime=\"{machine}\">{person}</time></footer>\n</body>\n</html>");
        out
    }

    fn html_verdict(&self, out: &mut String) {
        let (class, shape) = (self.severity.class(), self.severity.shape());
        let _ = writeln!(
            out,
            "<div class=\"verdict {class}\">\n<strong><span class=\"shape\" aria-hidden=\"true\">{shape}</span>{}</strong>",
            Escaped(&self.headline)
        );
        for sentence in &self.lead {
            let _ = writeln!(out, "<p>{}</p>", Escaped(sentence));
        }
        out.push_str("</div>\n");
    }

    fn html_ran(&self, out: &mut String) {
        out.push_str("<h2>What ran</h2>\n");
        if self.ran.is_empty() {
            out.push_str("<p>No program's run is recorded.</p>\n");
            return;
        }
        let columns =
            [("Step", false), ("Status", false), ("Exit code", true), ("Duration", true), ("What it said", false)];
        let rows = self.ran.iter().map(|row| {
            let command = match row.command.as_str() {
                "" => String::new(),
                command => format!("<code>{}</code>", Escaped(command)),
            };
            let name = format!("{}{command}", Escaped(&row.name));
            vec![name, status(&row.status), row.exit(), text(&row.duration()), text(&row.said)]
        });
        table(out, "What ran", &columns, rows);
    }

    fn html_pairs(&self, out: &mut String) {
        out.push_str("<h2>Before and after</h2>\n");
        if self.pairs.is_empty() {
            out.push_str("<p>Nothing was measured twice.</p>\n");
            return;
        }
        out.push_str("<p class=\"note key\"><span></span>before <span class=\"solid\"></span>after</p>\n");
        for (place, group) in self.pairs.iter().enumerate() {
            let _ = write!(out, "<h3>{}</h3>\n{}", Escaped(&group.title), svg::bars(group, &format!("bars-{place}")));
            let columns = [("What", false), ("Database", false), ("Before", true), ("After", true), ("Change", true)];
            let rows = group.pairs.iter().map(|pair| {
                let value = |value| text(&group.unit.format(value));
                let change = text(&pair.change(group.unit));
                vec![text(&pair.subject), text(&pair.database), value(pair.before), value(pair.after), change]
            });
            table(out, &group.title, &columns, rows);
        }
    }

    fn html_changed(&self, out: &mut String) {
        out.push_str("<h2>What changed</h2>\n");
        if self.changed.is_empty() {
            out.push_str("<p>Nothing was changed.</p>\n");
        }
        for (task, changes) in &self.changed {
            let _ = writeln!(out, "<h3>{}</h3>", Escaped(task));
            let columns =
                [("What", false), ("Action", false), ("Database", false), ("Effect", false), ("Duration", true)];
            let rows = changes.iter().map(|change| {
                let duration = change.seconds.map_or_else(|| "–".to_owned(), format_seconds);
                let (subject, action, database) = (&change.subject, &change.action, &change.database);
                vec![text(subject), text(action), text(database), text(&change.effect), text(&duration)]
            });
            table(out, &format!("Changed by {task}"), &columns, rows);
        }
        if !self.besides.is_empty() {
            let _ = writeln!(out, "<p class=\"note\">Besides: {}.</p>", Escaped(&self.besides));
        }
    }

    fn html_left(&self, out: &mut String) {
        out.push_str("<h2>Left, or needs a person</h2>\n");
        if self.left.is_empty() {
            out.push_str("<p>Nothing was left.</p>\n");
            return;
        }
        out.push_str("<ul class=\"left\">\n");
        for Left { status: word, subject, context, message, details } in &self.left {
            let _ = write!(
                out,
                "<li>{} <span class=\"name\">{}</span> <span class=\"soft\">{}</span>\n<p class=\"message\">{}</p>\n",
                status(word),
                Escaped(subject),
                Escaped(context),
                Escaped(message)
            );
            if !details.is_empty() {
                out.push_str("<dl>\n");
                for (name, value) in details {
                    let (name, value) = (name.replace('_', " "), Escaped(value));
                    let code = matches!(name.as_str(), "sql" | "command");
                    let value = if code { format!("<code>{value}</code>") } else { value.to_string() };
                    let _ = writeln!(out, "<dt>{name}</dt><dd>{value}</dd>");
                }
                out.push_str("</dl>\n");
            }
            out.push_str("</li>\n");
        }
        out.push_str("</ul>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element_or_attribute() {
        assert_eq!(Escaped("<a href=\"x\" b='y'>&").to_string(), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn characters_nobody_sees_are_shown_by_their_code() {
        assert_eq!(
            Escaped("a\0\u{1b}[31m\u{85}\u{202e}\u{ffff}é").to_string(),
            "a\\u{0}\\u{1b}[31m\\u{85}\\u{202e}\\u{ffff}é"
        );
        assert_eq!(Escaped("two\nlines").to_string(), "two\nlines");
    }

    #[test]
    fn the_style_loads_nothing() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    }
}
