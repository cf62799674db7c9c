//! Tables. On a phone a row becomes a block with the headings beside its values; the roles are written out because that
//! layout would otherwise take a table's meaning from a screen reader.

use std::fmt::Write as _;

use super::Html;

/// A column of a [`table`].
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Its heading.
    pub name: &'a str,
    /// Whether it holds numbers, which stand right.
    pub number: bool,
}

impl<'a> Column<'a> {
    /// A column of text.
    pub const fn text(name: &'a str) -> Self {
        Column { name, number: false }
    }

    /// A column of numbers.
    pub const fn number(name: &'a str) -> Self {
        Column { name, number: true }
    }
}

/// A table; `label` names it for who cannot see it. A column that is empty in every row is left out.
pub fn table(label: &str, columns: &[Column<'_>], rows: impl IntoIterator<Item = Vec<Html>>) -> Html {
    let rows: Vec<Vec<Html>> = rows.into_iter().collect();
    let used = |place: usize| rows.iter().any(|row| row.get(place).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<(usize, Html, &str)> = columns
        .iter()
        .enumerate()
        .filter(|(place, _)| used(*place))
        .map(|(place, column)| (place, Html::text(column.name), if column.number { " class=\"number\"" } else { "" }))
        .collect();
    let mut out = format!(
        "<table role=\"table\" aria-label=\"{}\">\n<thead role=\"rowgroup\"><tr role=\"row\">",
        Html::text(label)
    );
    for (_, name, class) in &columns {
        let _ = write!(out, "<th role=\"columnheader\" scope=\"col\"{class}>{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    let nothing = Html::new();
    for row in &rows {
        out.push_str("<tr role=\"row\">");
        for (place, name, class) in &columns {
            let cell = row.get(*place).unwrap_or(&nothing);
            let _ = write!(out, "<td role=\"cell\"{class} data-label=\"{name}\">{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
    Html::raw(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_empty_everywhere_is_left_out_and_a_short_row_is_filled() {
        let columns = [Column::text("a"), Column::text("b"), Column::number("<c>")];
        let rows = [vec![Html::text("x"), Html::new(), Html::text("1")], vec![Html::text("y")]];
        let html = table("t", &columns, rows).to_string();
        assert!(!html.contains(">b<") && html.contains("class=\"number\" data-label=\"&lt;c&gt;\">1<"), "{html}");
        assert_eq!(html.matches("<td").count(), 4);
    }
}
