//! Quoting: the one place where a name from a catalog becomes part of a statement.
//!
//! Maintenance commands take no bind parameters for the names they act on, so their text has to be put together. Every
//! name goes through [`quote_ident`], always quoted: whether a word needs quotes depends on the server's keyword list,
//! and a wrong guess is an injection.

use std::fmt;

/// Quotes a name as an SQL identifier: in double quotes, inner double quotes doubled.
///
/// A PostgreSQL name cannot hold a NUL byte (names are C strings in the catalogs), and the protocol ends a statement's
/// text at one. NUL bytes are therefore dropped: the result names nothing that exists, rather than cutting the statement.
#[must_use]
pub fn quote_ident(name: &str) -> String {
    quoted(name, '"')
}

/// Quotes a text as an SQL string literal that reads the same whatever `standard_conforming_strings` says.
///
/// A backslash makes it an escape string (`E'..'`) with the backslash doubled. NUL bytes are dropped as in
/// [`quote_ident`].
#[must_use]
pub fn quote_literal(text: &str) -> String {
    if text.contains('\\') { format!("E{}", quoted(&text.replace('\\', r"\\"), '\'')) } else { quoted(text, '\'') }
}

fn quoted(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for c in text.chars().filter(|c| *c != '\0') {
        if c == mark {
            out.push(mark);
        }
        out.push(c);
    }
    out.push(mark);
    out
}

/// A table, index, sequence or other relation, by its schema and name as the catalogs hold them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation {
    /// `pg_namespace.nspname`.
    pub schema: String,
    /// `pg_class.relname`.
    pub name: String,
}

impl Relation {
    /// Names a relation.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The form that goes into a statement: `"schema"."name"`.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

/// `schema.name`, for people and records; never for a statement.
impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_always_quoted_and_its_quotes_doubled() {
        assert_eq!(quote_ident("orders"), r#""orders""#);
        assert_eq!(quote_ident(r#"We"ird Näme.x"#), r#""We""ird Näme.x""#);
        assert_eq!(quote_ident(r#""; DROP TABLE t; --"#), r#""""; DROP TABLE t; --""#);
        assert_eq!(quote_ident(""), r#""""#);
    }

    #[test]
    fn a_nul_byte_cannot_cut_the_statement() {
        assert_eq!(quote_ident("a\0b"), r#""ab""#);
        assert_eq!(quote_literal("a\0b"), "'ab'");
    }

    #[test]
    fn a_literal_survives_quotes_and_backslashes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\'b"), r"E'a\\''b'");
    }

    #[test]
    fn a_relation_is_quoted_in_parts_and_shown_plain() {
        let relation = Relation::new("public", r#"We"ird Näme.x"#);
        assert_eq!(relation.quoted(), r#""public"."We""ird Näme.x""#);
        assert_eq!(relation.to_string(), r#"public.We"ird Näme.x"#);
    }
}
