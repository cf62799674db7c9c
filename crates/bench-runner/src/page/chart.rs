//! Lines and columns on a scale, in percent of the width, so that a drawing takes the room that there is.

use std::fmt::Write as _;

use maint_core::report::Html;
use maint_core::report::svg::frame;

/// The height of the field of a chart, in pixels; the marks of the abscissa stand below.
const HEIGHT: f64 = 180.0;
/// How far the field is from the left, in percent: the ordinate's marks stand there.
const LEFT: f64 = 14.0;
/// Room above the highest point, in pixels.
const TOP: f64 = 16.0;

/// A chart in the making: what x and y reach from and to.
pub(super) struct Chart {
    body: String,
    from: f64,
    to: f64,
    highest: f64,
}

impl Chart {
    /// With an ordinate from nothing to `highest`, marked in words by `label`.
    pub(super) fn new(from: f64, to: f64, highest: f64, label: &dyn Fn(f64) -> String) -> Self {
        let highest = if highest > 0.0 && highest.is_finite() { highest } else { 1.0 };
        let mut chart = Chart { body: String::new(), from, to: if to > from { to } else { from + 1.0 }, highest };
        for part in [0.0, 0.5, 1.0] {
            let (y, text) = (chart.y(highest * part), Html::text(&label(highest * part)));
            let _ = writeln!(
                chart.body,
                "<line x1=\"{LEFT}%\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"var(--line)\"/>\n\
                 <text class=\"value\" x=\"{:.1}%\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 1.0,
                y + 4.0
            );
        }
        chart
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.from) / (self.to - self.from) * (100.0 - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - (value / self.highest).clamp(0.0, 1.0))
    }

    /// A mark on the abscissa.
    pub(super) fn mark(&mut self, at: f64, text: &str) {
        let anchor = if at >= self.to { "end" } else { "start" };
        let _ = writeln!(
            self.body,
            "<text class=\"value\" x=\"{:.2}%\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            self.x(at),
            TOP + HEIGHT + 18.0,
            Html::text(text)
        );
    }

    /// A line through points; broken ones are drawn dashed: it is known only that it lies no lower.
    pub(super) fn line(&mut self, points: &[(f64, f64, bool)]) {
        for pair in points.windows(2) {
            let [(x1, y1, _), (x2, y2, is_bound)] = pair else { continue };
            let _ = writeln!(
                self.body,
                "<line x1=\"{:.2}%\" y1=\"{:.1}\" x2=\"{:.2}%\" y2=\"{:.1}\" stroke=\"var(--bar)\" stroke-width=\"2\"{}/>",
                self.x(*x1),
                self.y(*y1),
                self.x(*x2),
                self.y(*y2),
                if *is_bound { " stroke-dasharray=\"4 4\"" } else { "" }
            );
        }
    }

    /// A column from one value to another, of a style of the page.
    pub(super) fn column(&mut self, x: f64, wide: f64, from: f64, to: f64, class: &str) {
        let (top, bottom) = (self.y(to), self.y(from));
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{:.2}%\" width=\"{:.2}%\" y=\"{top:.1}\" height=\"{:.1}\" stroke=\"none\"/>",
            self.x(x),
            (self.x(x + wide) - self.x(x)) * 0.9,
            bottom - top
        );
    }

    /// The drawing, with what it shows in words. `id` is unique in the page.
    pub(super) fn finish(self, id: &str, title: &str, words: &str) -> Html {
        frame(id, title, words, (TOP + HEIGHT) as usize + 24, &Html::raw(self.body))
    }
}
