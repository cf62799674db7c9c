//! The report as one HTML page: what stands in its sections. The page itself is [`maint_core::report`].

use maint_core::report::svg::{Amount, Bar, bars};
use maint_core::report::{Column, Html, Item, Page, Section, badge, items, table};
use maint_core::units::format_seconds;

use super::entry::Status;
use super::pairs::PairGroup;
use super::timeline::timeline;
use super::{Left, Report};

/// Pairs drawn at most; the table under the drawing has all of them.
const MOST_BARS: usize = 20;

fn status(status: &Status) -> Html {
    badge(status.severity, &status.word)
}

impl Report {
    /// The report as one HTML5 file.
    pub(crate) fn html(&self) -> String {
        let mut sections = vec![
            Section::new("What ran", self.html_ran()),
            Section::new("Before and after", self.html_pairs()),
            Section::new("What changed", self.html_changed()),
            Section::new("Left, or needs a person", self.html_left()),
        ];
        let timeline = timeline(&self.ran, "timeline");
        if !timeline.is_empty() {
            sections.push(Section::new("When it ran", timeline));
        }
        sections.push(Section::new("The journal", Html::paragraph(&self.journal.sentence())));
        Page {
            title: &self.title,
            severity: self.severity,
            headline: &self.headline,
            lead: &self.lead,
            sections: &sections,
            generated: self.generated,
        }
        .render()
    }

    fn html_ran(&self) -> Html {
        if self.ran.is_empty() {
            return Html::paragraph("No program's run is recorded.");
        }
        let columns = [
            Column::text("Step"),
            Column::text("Status"),
            Column::number("Exit code"),
            Column::number("Duration"),
            Column::text("What it said"),
        ];
        let rows = self.ran.iter().map(|row| {
            let mut name = Html::text(&row.name);
            if !row.command.is_empty() {
                name.push(&Html::code(&row.command));
            }
            vec![name, status(&row.status), Html::text(&row.exit()), Html::text(&row.duration()), Html::text(&row.said)]
        });
        table("What ran", &columns, rows)
    }

    fn html_pairs(&self) -> Html {
        if self.pairs.is_empty() {
            return Html::paragraph("Nothing was measured twice.");
        }
        let mut out = Html::raw("<p class=\"note key\"><span></span>before <span class=\"solid\"></span>after</p>\n");
        for (place, group) in self.pairs.iter().enumerate() {
            out.push(&Html::heading(&group.title));
            out.push(&drawn(group, &format!("bars-{place}")));
            let columns = [
                Column::text("What"),
                Column::text("Database"),
                Column::number("Before"),
                Column::number("After"),
                Column::number("Change"),
            ];
            let rows = group.pairs.iter().map(|pair| {
                let value = |value| Html::text(&group.unit.format(value));
                let change = Html::text(&pair.change(group.unit));
                vec![
                    Html::text(&pair.subject),
                    Html::text(&pair.database),
                    value(pair.before),
                    value(pair.after),
                    change,
                ]
            });
            out.push(&table(&group.title, &columns, rows));
        }
        out
    }

    fn html_changed(&self) -> Html {
        let mut out = Html::new();
        if self.changed.is_empty() {
            out.push(&Html::paragraph("Nothing was changed."));
        }
        for (task, changes) in &self.changed {
            out.push(&Html::heading(task));
            let columns = [
                Column::text("What"),
                Column::text("Action"),
                Column::text("Database"),
                Column::text("Effect"),
                Column::number("Duration"),
            ];
            let rows = changes.iter().map(|change| {
                let duration = change.seconds.map_or_else(|| "–".to_owned(), format_seconds);
                let texts = [&change.subject, &change.action, &change.database, &change.effect, &duration];
                texts.into_iter().map(|text| Html::text(text)).collect()
            });
            out.push(&table(&format!("Changed by {task}"), &columns, rows));
        }
        if !self.besides.is_empty() {
            out.push(&Html::note(&format!("Besides: {}.", self.besides)));
        }
        out
    }

    fn html_left(&self) -> Html {
        if self.left.is_empty() {
            return Html::paragraph("Nothing was left.");
        }
        items(self.left.iter().map(item))
    }
}

fn item(left: &Left) -> Item {
    let details = left.details.iter().map(|(name, value)| {
        let code = matches!(*name, "sql" | "command");
        (name.replace('_', " "), if code { Html::code(value) } else { Html::text(value) })
    });
    Item {
        severity: left.status.severity,
        word: left.status.word.clone(),
        subject: Html::text(&left.subject),
        context: left.context.clone(),
        message: left.message.clone(),
        details: details.collect(),
    }
}

/// The pairs of a group as bars, those that changed most first. `id` is unique in the page.
fn drawn(group: &PairGroup, id: &str) -> Html {
    let mut pairs: Vec<_> = group.pairs.iter().collect();
    pairs.sort_by(|a, b| (b.after - b.before).abs().total_cmp(&(a.after - a.before).abs()));
    pairs.truncate(MOST_BARS);
    let amount = |value| Amount { value, text: group.unit.format(value) };
    let drawn: Vec<Bar> = pairs
        .iter()
        .map(|pair| Bar { label: pair.subject.clone(), before: Some(amount(pair.before)), now: amount(pair.after) })
        .collect();
    let mut out = bars(id, &format!("{}, before and after", group.title), &drawn);
    if drawn.len() < group.pairs.len() {
        out.push(&Html::note(&format!("The {MOST_BARS} largest changes are drawn; the table has all.")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::pairs::{Pair, Unit};
    use super::*;

    #[test]
    fn too_many_pairs_are_not_all_drawn_and_it_is_said() {
        let pair =
            |i: usize| Pair { subject: format!("t<{i}>"), database: String::new(), before: i as f64, after: 0.0 };
        let group = PairGroup {
            title: "vacuum: dead tuples".to_owned(),
            unit: Unit::Count,
            pairs: (0..50).map(pair).collect(),
        };
        let svg = drawn(&group, "b").to_string();
        assert_eq!(svg.matches("class=\"before\"").count(), MOST_BARS);
        assert!(svg.contains("largest changes") && svg.contains("t&lt;49&gt;"), "{svg}");
    }
}
