//! One statement of a script: where it ends, and what in it is a variable.

/// A statement's text with `$1`, `$2` in it, and the variables that they stand for, by number.
type Statement = (String, Vec<usize>);

/// Takes the statement in front, up to its `;`, and says how many bytes it took; `None` for an empty one.
///
/// # Errors
/// It has no end, or a variable is not known.
pub(super) fn statement(
    source: &str,
    find: &dyn Fn(&str) -> Result<usize, String>,
) -> Result<(Option<Statement>, usize), String> {
    let mut text = String::new();
    let mut parameters: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(';') {
            let text = text.trim().to_owned();
            return Ok(((!text.is_empty()).then_some((text, parameters)), at + 1));
        }
        if let Some(length) = comment(rest) {
            // In front it is nobody's, and a line with a backslash may follow.
            if text.trim().is_empty() {
                return Ok((None, at + length));
            }
            text.push(' ');
            at += length;
            continue;
        }
        if let Some(name) = rest.strip_prefix(':').map(word).filter(|name| !name.is_empty()) {
            let variable = find(name)?;
            let number = parameters.iter().position(|one| *one == variable).unwrap_or_else(|| {
                parameters.push(variable);
                parameters.len() - 1
            });
            text.push_str(&format!("${}", number + 1));
            at += 1 + name.len();
            continue;
        }
        let length = whole(rest).ok_or("the statement has no end: a quote is open")?;
        text.push_str(rest.get(..length).unwrap_or_default());
        at += length;
    }
    Err("the statement has no end: `;` is missing".to_owned())
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.get(..end).filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default()
}

/// The length of a comment in front. Those with stars contain others.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of what belongs together in front: something quoted, a `::`, or one character. `None`: a quote does not end.
fn whole(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let escapes = text.starts_with("E'") || text.starts_with("e'");
    if first == '\'' || first == '"' || escapes {
        return quoted(text, if first == '"' { '"' } else { '\'' }, escapes);
    }
    if first == '$' {
        let tag = word(text.get(1..)?);
        let mark = format!("${tag}$");
        if text.starts_with(&mark) {
            let inside = text.get(mark.len()..)?;
            return Some(inside.find(&mark)? + 2 * mark.len());
        }
    }
    if text.starts_with("::") {
        return Some(2);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        return Some(word(text).len());
    }
    Some(first.len_utf8())
}

/// The length of a quoted text, in which a quote is written twice, or behind a backslash where those escape.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let begin = text.find(quote)? + 1;
    let mut characters = text.get(begin..)?.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if escapes && c == '\\' {
            characters.next();
        } else if c == quote {
            if characters.peek().is_none_or(|(_, next)| *next != quote) {
                return Some(begin + at + 1);
            }
            characters.next();
        }
    }
    None
}
