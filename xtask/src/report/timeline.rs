//! The timeline: when each program ran, one bar each on one scale of time.

use std::fmt::Write as _;

use jiff::Timestamp;
use maint_core::report::svg::frame;
use maint_core::report::{Html, class, shape, shortened};

use super::{Ran, clock};

/// Characters of a label that fit the narrowest screen beside a status and a duration.
const SHORT_LABEL: usize = 32;

/// When each program ran; empty when no row has a time. `id` is unique in the page.
pub(super) fn timeline(ran: &[Ran], id: &str) -> Html {
    let rows: Vec<(&Ran, Timestamp, Timestamp)> =
        ran.iter().filter_map(|row| row.span.map(|(start, end)| (row, start.min(end), end))).collect();
    let Some(first) = rows.iter().map(|(_, start, _)| *start).min() else { return Html::new() };
    let Some(last) = rows.iter().map(|(_, _, end)| *end).max() else { return Html::new() };
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
            class = class(status.severity),
            shape = shape(status.severity),
            label = Html::text(&label),
            word = Html::text(&status.word),
            duration = Html::text(&row.duration()),
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
    frame(id, "When each program ran", &words.join(" "), foot + 6, &Html::raw(body))
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
