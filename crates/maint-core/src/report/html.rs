//! Text as markup. The one way from text to [`Html`] escapes it, so a page cannot be made to say what its maker did not.

use std::fmt::{self, Write as _};

/// Markup that is safe to stand between tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Text, for an element or a quoted attribute.
    pub fn text(text: &str) -> Self {
        Html(Escaped(text).to_string())
    }

    /// Text set as code.
    pub fn code(text: &str) -> Self {
        Html(format!("<code>{}</code>", Escaped(text)))
    }

    /// A paragraph of text.
    pub fn paragraph(text: &str) -> Self {
        Html(format!("<p>{}</p>\n", Escaped(text)))
    }

    /// A paragraph that stands back.
    pub fn note(text: &str) -> Self {
        Html(format!("<p class=\"note\">{}</p>\n", Escaped(text)))
    }

    /// The heading of a part of a section.
    pub fn heading(text: &str) -> Self {
        Html(format!("<h3>{}</h3>\n", Escaped(text)))
    }

    /// A name cut in its middle when it is longer than `longest` characters; the whole of it is its `title`.
    pub fn name(text: &str, longest: usize) -> Self {
        let short = shortened(text, longest);
        if short == text {
            return Html::text(text);
        }
        Html(format!("<span title=\"{}\">{}</span>", Escaped(text), Escaped(&short)))
    }

    /// Names and values, one pair a line. No pairs are nothing.
    pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Html)>) -> Self {
        let mut out = String::new();
        for (name, value) in pairs {
            let _ = writeln!(out, "<dt>{}</dt><dd>{value}</dd>", Escaped(name));
        }
        Html(if out.is_empty() { out } else { format!("<dl>\n{out}</dl>\n") })
    }

    /// Markup written by the program itself. Whatever comes from outside must have become [`Html`] before it is put in.
    pub fn raw(markup: impl Into<String>) -> Self {
        Html(markup.into())
    }

    /// Appends `other`.
    pub fn push(&mut self, other: &Html) {
        self.0.push_str(&other.0);
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Escaped<'a>(&'a str);

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
///
/// # Errors
/// Those of the formatter.
pub fn visible(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unassigned = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    if c.is_control() || turns || unassigned { write!(f, "\\u{{{:x}}}", u32::from(c)) } else { f.write_char(c) }
}

/// A name of at most `longest` characters, cut in its middle, where names of the same family differ least.
pub fn shortened(text: &str, longest: usize) -> String {
    let length = text.chars().count();
    if length <= longest {
        return text.to_owned();
    }
    let half = longest.saturating_sub(1) / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(length - half).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element_or_attribute() {
        assert_eq!(Html::text("<a href=\"x\" b='y'>&").to_string(), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        assert_eq!(Html::name("\"<>\"", 3).to_string(), "<span title=\"&quot;&lt;&gt;&quot;\">&quot;…&quot;</span>");
    }

    #[test]
    fn characters_nobody_sees_are_shown_by_their_code() {
        assert_eq!(
            Html::text("a\0\u{1b}[31m\u{85}\u{202e}\u{ffff}é").to_string(),
            "a\\u{0}\\u{1b}[31m\\u{85}\\u{202e}\\u{ffff}é"
        );
        assert_eq!(Html::text("two\nlines").to_string(), "two\nlines");
    }

    #[test]
    fn a_long_name_keeps_its_ends() {
        let text = shortened(&format!("public.{}_pkey", "ö".repeat(80)), 38);
        assert!(text.starts_with("public.") && text.ends_with("_pkey") && text.chars().count() <= 38, "{text}");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abc", 0), "…");
    }
}
