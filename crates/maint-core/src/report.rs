//! A report as one HTML file that needs nothing else: no script, no font, no network.
//!
//! Such a page is mailed, archived and opened years later, so it may depend on nothing that can vanish; and it shows
//! names that strangers may choose (of tables, of keys), so text becomes [`Html`] only by being escaped. Status is told
//! by a word and a shape and never by colour alone, which a printer or an eye may not have. The page follows the
//! reader's light or dark scheme, and on a phone a table's rows become blocks.
//!
//! What a report says is worked out by who makes it; these are only its parts: a [`Page`] of [`Section`]s, [`badge`]s,
//! [`table`]s, [`items`] that need a person, and drawings in [`svg`].

mod html;
mod items;
pub mod svg;
mod table;

use std::fmt::Write as _;

use jiff::Timestamp;

pub use html::{Html, shortened, visible};
pub use items::{Item, items};
pub use table::{Column, table};

use crate::status::Severity;

const STYLE: &str = include_str!("report/style.css");

/// One page, from the verdict down.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// What the report is of.
    pub title: &'a str,
    /// The verdict; it colours the headline and gives it its shape.
    pub severity: Severity,
    /// The verdict in words.
    pub headline: &'a str,
    /// Sentences under the headline.
    pub lead: &'a [String],
    /// The rest, in this order.
    pub sections: &'a [Section],
    /// When the report was made.
    pub generated: Timestamp,
}

/// A heading and what stands under it.
#[derive(Debug, Clone)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// Paragraphs, tables and drawings.
    pub body: Html,
}

impl Section {
    /// A section with this heading.
    pub fn new(title: impl Into<String>, body: Html) -> Self {
        Section { title: title.into(), body }
    }
}

impl Page<'_> {
    /// The page as one HTML5 file.
    pub fn render(&self) -> String {
        let (title, headline) = (Html::text(self.title), Html::text(self.headline));
        let (class, shape) = (class(self.severity), shape(self.severity));
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}: {headline}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             <div class=\"verdict {class}\">\n\
             <strong><span class=\"shape\" aria-hidden=\"true\">{shape}</span>{headline}</strong>\n"
        );
        for sentence in self.lead {
            let _ = write!(out, "{}", Html::paragraph(sentence));
        }
        out.push_str("</div>\n");
        for section in self.sections {
            let _ = write!(out, "<h2>{}</h2>\n{}", Html::text(&section.title), section.body);
        }
        let (machine, person) = (self.generated, self.generated.strftime("%-d %B %Y, %H:%M:%S UTC"));
        let _ = writeln!(
            out,
            "</main>\n<footer>Generated <time datetime=\"{machine}\">{person}</time></footer>\n</body>\n</html>"
        );
        out
    }
}

/// The class of a severity in the style sheet.
pub fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "fine",
        Severity::Warning => "attention",
        Severity::Unknown => "unsure",
        Severity::Critical => "critical",
    }
}

/// A shape per severity, for eyes and printers that see no colour.
pub fn shape(severity: Severity) -> char {
    match severity {
        Severity::Ok => '●',
        Severity::Warning => '▲',
        Severity::Unknown => '◆',
        Severity::Critical => '■',
    }
}

/// A status: its shape and its word.
pub fn badge(severity: Severity, word: &str) -> Html {
    Html::raw(format!(
        "<span class=\"status {}\"><span class=\"shape\" aria-hidden=\"true\">{}</span>{}</span>",
        class(severity),
        shape(severity),
        Html::text(word)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_its_texts_and_keeps_the_order_of_its_sections() {
        let section = |title: &str| Section::new(title, Html::paragraph("<b>"));
        let page = Page {
            title: "<title>",
            severity: Severity::Critical,
            headline: "a & b",
            lead: &["<i>".to_owned()],
            sections: &[section("one"), section("<two>")],
            generated: Timestamp::UNIX_EPOCH,
        };
        let html = page.render();
        assert!(html.contains("<title>&lt;title&gt;: a &amp; b</title>") && html.contains("■"), "{html}");
        assert!(!html.contains("<b>") && !html.contains("<i>"), "{html}");
        assert!(html.find("<h2>one</h2>").unwrap() < html.find("<h2>&lt;two&gt;</h2>").unwrap());
    }

    #[test]
    fn the_style_loads_nothing() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    }

    #[test]
    fn no_two_severities_look_alike_without_colour() {
        let all = [Severity::Ok, Severity::Warning, Severity::Unknown, Severity::Critical];
        let shapes: std::collections::BTreeSet<char> = all.into_iter().map(shape).collect();
        assert_eq!(shapes.len(), all.len());
    }
}
