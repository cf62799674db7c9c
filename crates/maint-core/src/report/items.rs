//! What a person should read: one entry each, with its status, its message and what else is known.

use std::fmt::Write as _;

use super::{Html, badge};
use crate::status::Severity;

/// Something a person should read.
#[derive(Debug, Clone)]
pub struct Item {
    /// How bad it is.
    pub severity: Severity,
    /// Its status as it stands in the record.
    pub word: String,
    /// What it is about.
    pub subject: Html,
    /// Where it was found.
    pub context: String,
    /// What happened, and why; its line breaks stay.
    pub message: String,
    /// What else is worth reading, by name.
    pub details: Vec<(String, Html)>,
}

/// A list of entries, in the order given.
pub fn items(items: impl IntoIterator<Item = Item>) -> Html {
    let mut out = String::from("<ul class=\"left\">\n");
    for Item { severity, word, subject, context, message, details } in items {
        let _ = writeln!(
            out,
            "<li>{} <span class=\"name\">{subject}</span> <span class=\"soft\">{}</span>\n<p class=\"message\">{}</p>\n{}</li>",
            badge(severity, &word),
            Html::text(&context),
            Html::text(&message),
            Html::pairs(details.iter().map(|(name, value)| (name.as_str(), value.clone())))
        );
    }
    out.push_str("</ul>\n");
    Html::raw(out)
}
