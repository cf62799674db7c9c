//! A file of queries, cut into single ones as `psql` does it: at semicolons that are in no quotes and no comment.
//!
//! A line `\c NAME` or `\connect NAME` says in which database those after it are asked.

/// A query and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The database; `None` for the one that the caller chooses.
    pub database: Option<String>,
    /// The line that it begins on, counted from 1.
    pub line: usize,
    /// Its text, without the semicolon.
    pub sql: String,
}

/// Cuts a file.
///
/// # Errors
/// A quote or comment that never ends, or another backslash command; the text names the line.
pub fn parse(text: &str) -> Result<Vec<Query>, String> {
    let mut queries = Vec::new();
    let mut database = None;
    let mut rest = text;
    let mut current = String::new();
    let line_of = |rest: &str| text.len().checked_sub(rest.len()).map_or(1, |at| newlines(text.get(..at)) + 1);
    let mut begun = 1;
    loop {
        if current.trim().is_empty() {
            rest = rest.trim_start();
            current.clear();
            begun = line_of(rest);
            if let Some(command) = rest.strip_prefix('\\') {
                let (line, after) = command.split_once('\n').unwrap_or((command, ""));
                match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                    ["c" | "connect", name] => database = Some((*name).trim_matches('"').to_owned()),
                    _ => return Err(format!("line {begun}: only `\\connect NAME` is understood, not `\\{line}`")),
                }
                rest = after;
                continue;
            }
        }
        let Some(first) = rest.chars().next() else { break };
        if first == ';' {
            push(&mut queries, database.as_ref(), begun, &mut current);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let length = token(rest).map_err(|what| format!("line {}: {what} never ends", line_of(rest)))?;
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        // A comment before a query is no query.
        let comment = piece.starts_with("--") || piece.starts_with("/*");
        current.push_str(if comment { " " } else { piece });
        rest = after;
    }
    push(&mut queries, database.as_ref(), begun, &mut current);
    Ok(queries)
}

fn newlines(text: Option<&str>) -> usize {
    text.unwrap_or_default().matches('\n').count()
}

fn push(queries: &mut Vec<Query>, database: Option<&String>, line: usize, current: &mut String) {
    let sql = current.trim();
    if !sql.is_empty() {
        queries.push(Query { database: database.cloned(), line, sql: sql.to_owned() });
    }
    current.clear();
}

/// The length in bytes of what begins here: a quoted piece, a comment, or one character.
fn token(rest: &str) -> Result<usize, &'static str> {
    let one = rest.chars().next().map_or(1, char::len_utf8);
    if rest.starts_with("--") {
        return Ok(rest.find('\n').unwrap_or(rest.len()));
    }
    if let Some(inside) = rest.strip_prefix("/*") {
        return comment(inside).map(|length| length + 2).ok_or("a comment");
    }
    for quote in ['\'', '"'] {
        if let Some(inside) = rest.strip_prefix(quote) {
            return inside.find(quote).map(|at| at + 2).ok_or("a quoted text");
        }
    }
    // E'..' has backslashes before quotes; every other letter before a quote means nothing here.
    if let Some(inside) = rest.strip_prefix("E'").or_else(|| rest.strip_prefix("e'")) {
        let mut escaped = false;
        for (at, c) in inside.char_indices() {
            match c {
                '\'' if !escaped => return Ok(at + 3),
                _ => escaped = c == '\\' && !escaped,
            }
        }
        return Err("a quoted text");
    }
    if rest.starts_with('$')
        && let Some(end) = rest.get(1..).and_then(|inside| inside.find('$'))
    {
        let tag = rest.get(..end + 2).unwrap_or_default();
        let name = tag.trim_matches('$');
        let is_tag =
            name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_numeric());
        if is_tag {
            let inside = rest.get(tag.len()..).unwrap_or_default();
            return inside.find(tag).map(|at| at + 2 * tag.len()).ok_or("a dollar-quoted text");
        }
    }
    // A whole word at once, so that the E in `name'` is not taken for a prefix.
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    Ok(word.max(one))
}

/// Where a comment ends; comments nest.
fn comment(inside: &str) -> Option<usize> {
    let mut depth = 1;
    let mut at = 0;
    while let Some(rest) = inside.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        parse(file).unwrap().into_iter().map(|query| query.sql).collect()
    }

    #[test]
    fn queries_end_at_semicolons_that_are_in_no_quotes_and_no_comment() {
        let file =
            "select ';' = ';'; select \"a;b\" from t -- not; here\n; /* nor; /* here; */ ; */ select $x$;$x$ = ';';";
        assert_eq!(texts(file), ["select ';' = ';'", "select \"a;b\" from t", "select $x$;$x$ = ';'"]);
        assert_eq!(texts(r"select E'\';' = ''';'; select 1"), [r"select E'\';' = ''';'", "select 1"]);
        assert_eq!(texts(" ; ;\n-- nothing\n"), [] as [&str; 0]);
    }

    #[test]
    fn databases_and_lines_are_kept() {
        let queries = parse("select 1;\n\\connect shop\n\nselect 2;\n").unwrap();
        assert_eq!((queries[0].database.as_deref(), queries[0].line), (None, 1));
        assert_eq!((queries[1].database.as_deref(), queries[1].line), (Some("shop"), 4));
    }

    #[test]
    fn what_never_ends_and_other_commands_are_refused_with_their_line() {
        for (file, line) in [("select 1;\nselect 'x", 2), ("/* x", 1), ("\\i other.sql", 1), ("select $a$ x", 1)] {
            assert!(parse(file).unwrap_err().starts_with(&format!("line {line}:")), "{file}");
        }
    }
}
