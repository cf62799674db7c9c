//! Routines as data: what `routines.toml` says, checked when it is read.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::units::HumanDuration;
use maint_core::window::Window;
use serde::Deserialize;

/// The days of the week, in order.
pub(crate) const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

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
    /// By day.
    weekly: BTreeMap<String, Day>,
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
        for (name, day) in &routines.weekly {
            if !DAYS.contains(&name.as_str()) {
                let near = maint_core::config::nearest(name, DAYS.iter().copied());
                return Err(format!("[weekly.{name}] is not a day{near}"));
            }
            if let Some(window) = &day.window {
                window.parse::<Window>().map_err(|error| format!("[weekly.{name}] window: {error}"))?;
            }
            if day.steps.iter().any(|step| step.command.first().is_none_or(String::is_empty)) {
                return Err(format!("[weekly.{name}] has a step without a command"));
            }
        }
        Ok(routines)
    }

    /// The days to run, in the order of the week: one, or all that have something to do.
    pub(crate) fn days(&self, only: Option<&str>) -> Vec<(&'static str, &Day)> {
        let wanted = |name: &&&'static str| only.is_none_or(|only| only == **name);
        DAYS.iter().filter(wanted).filter_map(|name| Some((*name, self.weekly.get(*name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_that_comes_with_the_project_is_sound() {
        let routines = Routines::parse(include_str!("../routines.toml")).unwrap();
        let names: Vec<_> = routines.days(None).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["monday", "tuesday", "wednesday", "thursday", "friday"]);
        let tuesday = routines.days(Some("tuesday"));
        assert_eq!(tuesday[0].1.steps[0].command, ["pg-maint", "vacuum-analyze"]);
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |text: &str| Routines::parse(text).unwrap_err();
        assert!(bad("[weekly.tusday]\ntitle = 't'\n").contains("did you mean `tuesday`"));
        assert!(bad("[weekly.monday]\ntitle = 't'\nwindow = 'sometimes'\n").contains("window"));
        assert!(
            bad("[weekly.monday]\ntitle = 't'\n[[weekly.monday.step]]\ncommand = []\ntimeout = '1m'\n")
                .contains("without a command")
        );
        assert!(bad("[weekly.monday]\ntitle = 't'\n[[weekly.monday.step]]\ncommand = ['x']\n").contains("timeout"));
        assert!(bad("[weekly.monday]\ntitle = 't'\nsteps = 1\n").contains("steps"));
    }
}
