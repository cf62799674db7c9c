//! Drawings inside the page.
//!
//! Bars are placed in percent and text in pixels, without a view box: a drawing then takes the width it gets, on paper
//! or on a phone, and its text keeps its size. Every drawing has a title and a description that says in words what it
//! shows, and nothing is told by colour alone: what was before is an outline and what is now is solid.

use std::fmt::Write as _;

use super::{Html, shortened};

/// Characters of a label that fit the narrowest screen at the drawing's text size.
const LABEL: usize = 38;
/// The longest bar in percent of the width; the rest is for the number behind it.
const LONGEST: f64 = 68.0;

/// A number and how it is written.
#[derive(Debug, Clone)]
pub struct Amount {
    /// The length of its bar, in the unit of the drawing.
    pub value: f64,
    /// For people.
    pub text: String,
}

/// One line of [`bars`].
#[derive(Debug, Clone)]
pub struct Bar {
    /// What was measured.
    pub label: String,
    /// What it was before, where it was measured twice.
    pub before: Option<Amount>,
    /// What it is.
    pub now: Amount,
}

/// Bars under each other, all on one scale. `id` is unique in the page.
pub fn bars(id: &str, title: &str, bars: &[Bar]) -> Html {
    let values = bars.iter().flat_map(|bar| bar.before.iter().chain([&bar.now])).map(|amount| amount.value);
    let longest = values.fold(0.0, f64::max);
    let mut body = String::new();
    let mut words = Vec::new();
    let mut top = 0;
    for bar in bars {
        let _ = writeln!(body, r#"<text x="0" y="{}">{}</text>"#, top + 14, Html::text(&shortened(&bar.label, LABEL)));
        let mut y = top + 21;
        if let Some(before) = &bar.before {
            draw(&mut body, "before", before, longest, y);
            y += 17;
            words.push(format!("{}: {} before, {} after.", bar.label, before.text, bar.now.text));
        } else {
            words.push(format!("{}: {}.", bar.label, bar.now.text));
        }
        draw(&mut body, "after", &bar.now, longest, y);
        top = y + 24;
    }
    frame(id, title, &words.join(" "), top, &Html::raw(body))
}

fn draw(body: &mut String, class: &str, amount: &Amount, longest: f64, y: usize) {
    let width = share(amount.value, longest) * LONGEST;
    // Something is never drawn as nothing.
    let width = if amount.value > 0.0 { width.max(0.4) } else { width };
    let _ = writeln!(body, r#"<rect class="{class}" x="0.5" y="{y}.5" width="{width:.2}%" height="13"/>"#);
    let text = Html::text(&amount.text);
    let _ = writeln!(body, r#"<text class="value" x="{width:.2}%" dx="8" y="{}">{text}</text>"#, y + 12);
}

/// A bar for a table's cell, from nothing to `whole`. It stands beside its number, so it says nothing to who cannot see.
pub fn meter(value: f64, whole: f64) -> Html {
    let width = share(value, whole) * 100.0;
    let width = if value > 0.0 { width.max(1.0) } else { width };
    Html::raw(format!(
        "<svg class=\"meter\" aria-hidden=\"true\"><rect class=\"track\" width=\"100%\" height=\"100%\"/>\
         <rect class=\"after\" width=\"{width:.1}%\" height=\"100%\"/></svg>"
    ))
}

fn share(value: f64, whole: f64) -> f64 {
    if whole > 0.0 && value.is_finite() { (value / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// A drawing of `height` pixels with its title and what it shows in words. `id` is unique in the page.
pub fn frame(id: &str, title: &str, description: &str, height: usize, body: &Html) -> Html {
    Html::raw(format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" width=\"100%\" height=\"{height}\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n{body}</svg>\n",
        Html::text(title),
        Html::text(description)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, before: Option<f64>, now: f64) -> Bar {
        let amount = |value: f64| Amount { value, text: format!("{value}") };
        Bar { label: label.to_owned(), before: before.map(amount), now: amount(now) }
    }

    #[test]
    fn a_drawing_says_in_words_what_its_bars_show_and_escapes_names() {
        let svg = bars("b", "t", &[bar("t<2>", Some(2.0), 0.0), bar("one", None, 7.0)]).to_string();
        assert!(svg.contains("t&lt;2&gt;: 2 before, 0 after. one: 7."), "{svg}");
        assert!(!svg.contains("t<2>"), "{svg}");
    }

    #[test]
    fn numbers_out_of_range_draw_bars_inside_the_frame() {
        let odd = [bar("a", Some(-5.0), f64::NAN), bar("b", None, f64::MAX), bar("c", None, f64::NAN)];
        let svg = bars("b", "t", &odd).to_string();
        assert!(svg.contains(r#"width="68.00%""#) && !svg.contains("width=\"-") && !svg.contains("width=\"N"), "{svg}");
        let svg = meter(f64::NAN, 5.0).to_string();
        assert!(!svg.contains("width=\"N"), "{svg}");
    }
}
