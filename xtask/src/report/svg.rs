//! The two drawings: bars before and after, and the timeline.
//!
//! Bars are placed in percent and text in pixels, without a view box: a drawing then takes the width it gets, on paper
//! or on a phone, and its text keeps its size. Every drawing has a title and a description that says in words what the
//! bars show, and nothing is told by colour alone: before is an outline and after is solid, a bar's status is a shape.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::html::Escaped;
use super::pairs::{PairGroup, Unit};
use super::{Ran, clock};

/// Pairs drawn at most; the table under the drawing has all of them.
const MOST_BARS: usize = 20;
/// Characters of a label that fit the narrowest screen at the drawing's text size.
const LABEL: usize = 38;
/// The same beside a status and a duration.
const SHORT_LABEL: usize = 32;
/// The longest bar in percent of the width; the rest is for the number behind it.
const LONGEST: f64 = 68.0;

/// Bars for the pairs of a group, those that changed most first. `id` is unique in the page.
pub(super) fn bars(group: &PairGroup, id: &str) -> String {
    let mut drawn: Vec<_> = group.pairs.iter().collect();
    drawn.sort_by(|a, b| (b.after - b.before).abs().total_cmp(&(a.after - a.before).abs()));
    drawn.truncate(MOST_BARS);
    let longest = drawn.iter().map(|pair| pair.before.max(pair.after)).fold(0.0, f64::max);

    let mut body = String::new();
    let mut words = Vec::new();
    for (row, pair) in drawn.iter().enumerate() {
        let top = row * 62;
        let _ = writeln!(body, r#"<text x="0" y="{}">{}</text>"#, top + 14, Escaped(&shortened(&pair.subject, LABEL)));
        for (class, value, y) in [("before", pair.before, top + 21), ("after", pair.after, top + 38)] {
            bar(&mut body, class, value, longest, y, group.unit);
        }
        let (before, after) = (group.unit.format(pair.before), group.unit.format(pair.after));
        words.push(format!("{}: {before} before, {after} after.", pair.subject));
    }
    let title = format!("{}, before and after", group.title);
    let mut text = frame(id, &title, &words.join(" "), drawn.len() * 62, &body);
    if drawn.len() < group.pairs.len() {
        let _ = writeln!(text, "<p class=\"note\">The {MOST_BARS} largest changes are drawn; the table has all.</p>");
    }
    text
}

fn bar(body: &mut String, class: &str, value: f64, longest: f64, y: usize, unit: Unit) {
    let width = if longest > 0.0 { (value / longest).clamp(0.0, 1.0) * LONGEST } else { 0.0 };
    // Something is never drawn as nothing.
    let width = if value > 0.0 { width.max(0.4) } else { width };
    let _ = writeln!(body, r#"<rect class="{class}" x="0.5" y="{y}.5" width="{width:.2}%" height="13"/>"#);
    let _ = writeln!(
        body,
        r#"<text class="value" x="{width:.2}%" dx="8" y="{}">{}</text>"#,
        y + 12,
        Escaped(&unit.format(value))
    );
}

/// When each program ran; empty when no row has a time. `id` is unique in the page.
pub(super) fn timeline(ran: &[Ran], id: &str) -> String {
    let rows: Vec<(&Ran, Timestamp, Timestamp)> =
        ran.iter().filter_map(|row| row.span.map(|(start, end)| (row, start.min(end), end))).collect();
    let Some(first) = rows.iter().map(|(_, start, _)| *start).min() else { return String::new() };
    let Some(last) = rows.iter().map(|(_, _, end)| *end).max() else { return String::new() };
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    let whole = seconds(first, last).max(1.0);

    let mut body = String::new();
    let mut words = Vec::new();
    for (place, (row, start, end)) in rows.iter().enumerate() {
        let top = place * 40;
        let x = (seconds(first, *start) / whole * 100.0).clamp(0.0, 99.4);
        let width = (seconds(*start, *end) / whole * 100.0).max(0.6).min(100.0 - x);
        let status = &row.status;
        let label = shortened(&row.name, SHORT_LABEL);
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{y}\"><tspan class=\"{class}\">{shape}</tspan> {label}</text>\n\
             <text class=\"value\" x=\"100%\" text-anchor=\"end\" y=\"{y}\">{word} · {duration}</text>\n\
             <rect class=\"track\" x=\"0\" y=\"{bar}\" width=\"100%\" height=\"8\"/>\n\
             <rect class=\"{class}\" x=\"{x:.2}%\" y=\"{bar}\" width=\"{width:.2}%\" height=\"8\"/>",
            y = top + 14,
            bar = top + 21,
            class = status.severity.class(),
            shape = status.severity.shape(),
            label = Escaped(&label),
            word = Escaped(&status.word),
            duration = Escaped(&row.duration()),
        );
        words.push(format!(
            "{}: {}, {} to {} UTC, {}.",
            row.name,
            status.word,
            clock(*start),
            clock(*end),
            row.duration()
        ));
    }
    let foot = rows.len() * 40 + 14;
    let _ = writeln!(
        body,
        "<text class=\"value\" x=\"0\" y=\"{foot}\">{} UTC</text>\n\
         <text class=\"value\" x=\"100%\" text-anchor=\"end\" y=\"{foot}\">{} UTC</text>",
        axis(first, first, last),
        axis(last, first, last)
    );
    frame(id, "When each program ran", &words.join(" "), foot + 6, &body)
}

/// A time on the axis, with its day when the axis spans more than one.
fn axis(time: Timestamp, first: Timestamp, last: Timestamp) -> String {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    if day(first) == day(last) {
        time.strftime("%H:%M:%S").to_string()
    } else {
        time.strftime("%-d %b %H:%M").to_string()
    }
}

fn frame(id: &str, title: &str, description: &str, height: usize, body: &str) -> String {
    format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"100%\" height=\"{height}\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n{body}</svg>\n",
        Escaped(title),
        Escaped(description)
    )
}

/// A label cut in its middle, where names of the same family differ least.
fn shortened(text: &str, longest: usize) -> String {
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
    use super::super::pairs::Pair;
    use super::*;

    fn group(pairs: usize) -> PairGroup {
        let pair =
            |i: usize| Pair { subject: format!("t<{i}>"), database: String::new(), before: i as f64, after: 0.0 };
        PairGroup { title: "vacuum: dead tuples".to_owned(), unit: Unit::Count, pairs: (0..pairs).map(pair).collect() }
    }

    #[test]
    fn a_drawing_says_in_words_what_its_bars_show_and_escapes_names() {
        let svg = bars(&group(3), "b");
        assert!(svg.contains("t&lt;2&gt;: 2 before, 0 after."), "{svg}");
        assert!(!svg.contains("t<2>"), "{svg}");
    }

    #[test]
    fn too_many_pairs_are_not_all_drawn_and_it_is_said() {
        let svg = bars(&group(50), "b");
        assert_eq!(svg.matches("class=\"before\"").count(), MOST_BARS);
        assert!(svg.contains("largest changes") && svg.contains("t&lt;49&gt;"), "{svg}");
    }

    #[test]
    fn a_long_label_keeps_its_ends() {
        let text = shortened(&format!("public.{}_pkey", "ö".repeat(80)), LABEL);
        assert!(text.starts_with("public.") && text.ends_with("_pkey") && text.chars().count() <= LABEL, "{text}");
    }

    #[test]
    fn numbers_out_of_range_draw_bars_inside_the_frame() {
        let mut odd = group(2);
        odd.pairs[0].before = -5.0;
        odd.pairs[1].before = f64::MAX;
        let svg = bars(&odd, "b");
        assert!(svg.contains(r#"width="68.00%""#) && !svg.contains("NaN") && !svg.contains("width=\"-"), "{svg}");
    }
}
