//! Tables of numbers: what other programs have measured.

use std::io::Read as _;
use std::path::Path;

use maint_core::failure::Failure;

/// A file of so many bytes is something else.
const MOST_BYTES: u64 = 256 << 20;

/// Reads a file, or stdin for `-`.
///
/// # Errors
/// It cannot be read.
pub fn text(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// The lines of a table, each with its number from 1, as cells; the first is the heading. Commas, semicolons and tabs
/// separate cells, empty lines and those that begin with `#` are none.
pub fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')).map(
        |(index, line)| (index + 1, line.split([',', ';', '\t']).map(|cell| cell.trim().trim_matches('"')).collect()),
    )
}

/// A cell's number.
///
/// # Errors
/// It is none, or not finite.
pub fn number(name: &str, line: usize, title: &str, cell: &str) -> Result<f64, Failure> {
    let value = cell.parse::<f64>().ok().filter(|value| value.is_finite());
    value.ok_or_else(|| Failure::usage(format!("{name}, line {line}: {title} is {cell:?}, which is no number")))
}
