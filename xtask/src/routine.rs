//! Routines as data: what `routines.toml` says, checked when it is read.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::units::HumanDuration;
use maint_core::window::Window;
use serde::Deserialize;

/// The days of the week, in order.
pub(crate) const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The days of the month on which something is to be done.
pub(crate) const MONTH_DAYS: [&str; 2] = ["1", "15"];

/// How often a routine comes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cycle {
    /// `weekly`: its days are those of the week.
    Week,
    /// `monthly`: its days are the first and the fifteenth.
    Month,
}

impl Cycle {
    /// The chore's name, and the table's in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cycle::Week => "weekly",
            Cycle::Month => "monthly",
        }
    }

    /// Its days, in order.
    pub(crate) fn days(self) -> &'static [&'static str] {
        match self {
            Cycle::Week => &DAYS,
            Cycle::Month => &MONTH_DAYS,
        }
    }
}

/// What a failed step means for the rest of its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailure {
    /// The next step runs all the same.
    #[default]
    Continue,
    /// No further step of the day runs.
    Stop,
}

/// One command of a day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// How long it may take.
    pub(crate) timeout: HumanDuration,
    /// What its failure means for the rest.
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
}

/// One day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// What the day is for.
    pub(crate) title: String,
    /// When it may start.
    window: Option<String>,
    /// Its commands, in order.
    #[serde(default, rename = "step")]
    pub(crate) steps: Vec<Step>,
}

impl Day {
    /// The window, which was checked when the file was read.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window.as_deref().and_then(|text| text.parse().ok())
    }
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Routines {
    /// By day of the week.
    weekly: BTreeMap<String, Day>,
    /// By day of the month.
    #[serde(default)]
    monthly: BTreeMap<String, Day>,
}

impl Routines {
    /// Reads and checks the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read the routines {}: {error}", path.display())))?;
        Routines::parse(&text).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let routines: Routines = toml::from_str(text).map_err(|error| error.to_string())?;
        for cycle in [Cycle::Week, Cycle::Month] {
            let (table, days) = (cycle.name(), cycle.days());
            for (name, day) in routines.table(cycle) {
                if !days.contains(&name.as_str()) {
                    let near = maint_core::config::nearest(name, days.iter().copied());
                    return Err(format!("[{table}.{name}] is not a day of it{near}"));
                }
                if let Some(window) = &day.window {
                    window.parse::<Window>().map_err(|error| format!("[{table}.{name}] window: {error}"))?;
                }
                if day.steps.iter().any(|step| step.command.first().is_none_or(String::is_empty)) {
                    return Err(format!("[{table}.{name}] has a step without a command"));
                }
            }
        }
        Ok(routines)
    }

    fn table(&self, cycle: Cycle) -> &BTreeMap<String, Day> {
        match cycle {
            Cycle::Week => &self.weekly,
            Cycle::Month => &self.monthly,
        }
    }

    /// The days to run, in their order: one, or all that have something to do.
    pub(crate) fn days(&self, cycle: Cycle, only: Option<&str>) -> Vec<(&'static str, &Day)> {
        let wanted = |name: &&&'static str| only.is_none_or(|only| only == **name);
        let table = self.table(cycle);
        cycle.days().iter().filter(wanted).filter_map(|name| Some((*name, table.get(*name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_that_comes_with_the_project_is_sound() {
        let routines = Routines::parse(include_str!("../routines.toml")).unwrap();
        let names: Vec<_> = routines.days(Cycle::Week, None).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["monday", "tuesday", "wednesday", "thursday", "friday"]);
        let tuesday = routines.days(Cycle::Week, Some("tuesday"));
        assert_eq!(tuesday[0].1.steps[0].command, ["pg-maint", "vacuum-analyze"]);
        let fifteenth = routines.days(Cycle::Month, Some("15"));
        assert!(fifteenth[0].1.steps.iter().any(|step| step.command == ["backup-tool", "test-restore"]));
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |text: &str| Routines::parse(text).unwrap_err();
        assert!(bad("[weekly.tusday]\ntitle = 't'\n").contains("did you mean `tuesday`"));
        assert!(bad("[weekly]\n[monthly.2]\ntitle = 't'\n").contains("[monthly.2] is not a day of it"));
        assert!(bad("[weekly.monday]\ntitle = 't'\nwindow = 'sometimes'\n").contains("window"));
        assert!(
            bad("[weekly.monday]\ntitle = 't'\n[[weekly.monday.step]]\ncommand = []\ntimeout = '1m'\n")
                .contains("without a command")
        );
        assert!(bad("[weekly.monday]\ntitle = 't'\n[[weekly.monday.step]]\ncommand = ['x']\n").contains("timeout"));
        assert!(bad("[weekly.monday]\ntitle = 't'\nsteps = 1\n").contains("steps"));
    }
}
