//! A load test as a file: who is asked how often, for how long, and what must hold.

use std::path::Path;
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::threshold::Threshold;
use maint_core::units::HumanDuration;
use serde::Deserialize;

use crate::engine::run::Load;
use crate::schedule::{Arrival, Slots, Stage};
use crate::target::{Ask, Target};

/// The limits that hold where none are given: the guide's.
pub const LIMITS: [&str; 2] = ["p(95)<200ms", "error_rate<5%"];

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called in records and baselines.
    pub name: String,
    /// What the routes' paths are appended to; not needed where they are whole URLs.
    base: Option<String>,
    #[serde(default = "fifty")]
    connections: usize,
    #[serde(default)]
    arrival: ArrivalName,
    #[serde(default = "one")]
    seed: u64,
    drain: Option<HumanDuration>,
    timeout: Option<HumanDuration>,
    /// The rate with which the first stage begins, in requests a second.
    #[serde(default)]
    start_rate: f64,
    stages: Vec<StageTable>,
    #[serde(default)]
    thresholds: Vec<Limit>,
    #[serde(default, rename = "route")]
    routes: Vec<RouteTable>,
}

/// How starts are spread.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ArrivalName {
    Uniform,
    #[default]
    Poisson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageTable {
    duration: HumanDuration,
    /// The rate that is reached at its end.
    rate: f64,
}

/// A limit, alone or with what follows when it breaks.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Limit {
    Text(String),
    Table(LimitTable),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitTable {
    limit: String,
    #[serde(default)]
    abort_on_fail: bool,
    delay: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: Option<String>,
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    #[serde(default = "whole")]
    weight: f64,
    #[serde(default)]
    thresholds: Vec<String>,
}

fn fifty() -> usize {
    50
}

fn one() -> u64 {
    1
}

fn whole() -> f64 {
    1.0
}

fn get() -> String {
    "GET".to_owned()
}

/// A limit on the whole run.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The limit.
    pub limit: Threshold,
    /// The run ends as soon as it is broken, but not before so much time.
    pub abort_after: Option<Duration>,
}

/// One of the routes, ready to be asked.
#[derive(Debug)]
pub struct Route {
    /// What it is called.
    pub name: String,
    /// Whom to ask.
    pub target: Target,
    /// How often.
    pub load: Load,
    /// What must hold for it alone.
    pub thresholds: Vec<Threshold>,
}

/// A scenario that can be run.
#[derive(Debug)]
pub struct Prepared {
    /// What it is called.
    pub name: String,
    /// Its routes.
    pub routes: Vec<Route>,
    /// What must hold for all of them together.
    pub thresholds: Vec<Watched>,
    /// The stages, over all routes.
    pub stages: Vec<Stage>,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or does not hold: the message has the line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }

    /// One URL: up to a rate, for a time at it, and down again.
    pub fn of_url(url: &str, rate: f64, ramp: HumanDuration, hold: HumanDuration, limits: &[Threshold]) -> Self {
        let stage = |duration: &HumanDuration, rate| StageTable { duration: HumanDuration(duration.0), rate };
        Scenario {
            name: url.to_owned(),
            base: None,
            connections: fifty(),
            arrival: ArrivalName::default(),
            seed: one(),
            drain: None,
            timeout: None,
            start_rate: 0.0,
            stages: vec![stage(&ramp, rate), stage(&hold, rate), stage(&ramp, 0.0)],
            thresholds: limits.iter().map(ToString::to_string).map(Limit::Text).collect(),
            routes: vec![RouteTable {
                name: None,
                url: url.to_owned(),
                method: get(),
                headers: Vec::new(),
                body: None,
                weight: whole(),
                thresholds: Vec::new(),
            }],
        }
    }

    /// Finds the routes' addresses and divides rate and connections among them by weight.
    ///
    /// # Errors
    /// A value does not hold, or a route leads nowhere or where it is not allowed to.
    pub fn prepare(&self, allowed: &[String]) -> Result<Prepared, Failure> {
        let wrong = |what: String| Failure::usage(format!("scenario {}: {what}", self.name));
        if self.stages.is_empty() || self.routes.is_empty() {
            return Err(wrong("it needs at least one stage and one [[route]]".to_owned()));
        }
        if !(1..=65_535).contains(&self.connections) {
            return Err(wrong(format!("{} connections: 1 to 65535 are possible", self.connections)));
        }
        let rates = self.stages.iter().map(|stage| stage.rate).chain([self.start_rate]);
        if let Some(rate) = rates.into_iter().find(|rate| !(0.0..=1e7).contains(rate)) {
            return Err(wrong(format!("a rate of {rate}: 0 to 10000000 requests a second are possible")));
        }
        if let Some(route) = self.routes.iter().find(|route| !(route.weight > 0.0 && route.weight.is_finite())) {
            return Err(wrong(format!("{} has the weight {}: it must be above 0", route.url, route.weight)));
        }
        let mut from = self.start_rate;
        let stages: Vec<Stage> = self
            .stages
            .iter()
            .map(|stage| {
                let made = Stage { duration: stage.duration.0, from, to: stage.rate };
                from = stage.rate;
                made
            })
            .collect();
        if stages.iter().all(|stage| stage.from.max(stage.to) <= 0.0) || Slots::duration(&stages).is_zero() {
            return Err(wrong("its stages send nothing".to_owned()));
        }
        let sum: f64 = self.routes.iter().map(|route| route.weight).sum();
        let mut routes = Vec::with_capacity(self.routes.len());
        for (index, route) in self.routes.iter().enumerate() {
            routes.push(self.route(index, route, route.weight / sum, &stages, allowed)?);
        }
        let limits = if self.thresholds.is_empty() {
            LIMITS.iter().map(|text| Limit::Text((*text).to_owned())).collect()
        } else {
            self.thresholds.clone()
        };
        let thresholds = limits.into_iter().map(Watched::new).collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Prepared { name: self.name.clone(), routes, thresholds, stages })
    }

    fn route(
        &self,
        index: usize,
        route: &RouteTable,
        share: f64,
        stages: &[Stage],
        allowed: &[String],
    ) -> Result<Route, Failure> {
        let url = match &self.base {
            Some(base) if route.url.starts_with('/') => format!("{}{}", base.trim_end_matches('/'), route.url),
            _ => route.url.clone(),
        };
        let body = route.body.clone().unwrap_or_default().into_bytes();
        let ask = Ask { method: route.method.clone(), headers: route.headers.clone(), body };
        let target = Target::new(&url, &ask, allowed)?;
        let scaled = |stage: &Stage| Stage { from: stage.from * share, to: stage.to * share, ..*stage };
        let load = Load {
            stages: Some(stages.iter().map(scaled).collect()),
            arrival: match self.arrival {
                ArrivalName::Uniform => Arrival::Uniform,
                // Of one Poisson process split by weight, each part is one, and independent of the others.
                ArrivalName::Poisson => Arrival::Poisson(self.seed.wrapping_add(index as u64)),
            },
            duration: Slots::duration(stages),
            drain: self.drain.as_ref().map_or(Duration::from_secs(30), |drain| drain.0),
            timeout: self.timeout.as_ref().map_or(Duration::from_secs(30), |timeout| timeout.0),
            connections: ((self.connections as f64 * share).round() as usize).max(1),
            threads: 1,
            keep_alive: true,
        };
        let name = route.name.clone().unwrap_or_else(|| format!("{} {}", route.method, target.name));
        let thresholds = route.thresholds.iter().map(|text| threshold(text)).collect::<Result<_, _>>();
        let thresholds = thresholds.map_err(|why| Failure::usage(format!("scenario {}, {name}: {why}", self.name)))?;
        Ok(Route { name, target, load, thresholds })
    }
}

impl Watched {
    fn new(limit: Limit) -> Result<Self, String> {
        let (text, abort_after) = match limit {
            Limit::Text(text) => (text, None),
            Limit::Table(LimitTable { limit, abort_on_fail, delay }) => {
                (limit, abort_on_fail.then_some(delay.map_or(Duration::ZERO, |delay| delay.0)))
            }
        };
        Ok(Watched { limit: threshold(&text)?, abort_after })
    }
}

fn threshold(text: &str) -> Result<Threshold, String> {
    text.parse().map_err(|error: maint_core::threshold::ThresholdError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Result<Prepared, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.prepare(&[]).map_err(|failure| failure.message)
    }

    const SHOP: &str = "name = \"shop\"\nbase = \"http://127.0.0.1:1/\"\nconnections = 40\nstart_rate = 10\n\
        stages = [{ duration = \"10s\", rate = 100 }, { duration = \"20s\", rate = 100 }]\n\
        thresholds = [\"p(95)<200ms\", { limit = \"error_rate<5%\", abort_on_fail = true, delay = \"3s\" }]\n\
        [[route]]\nurl = \"/list\"\nweight = 3\n\
        [[route]]\nname = \"buy\"\nurl = \"/buy\"\nmethod = \"POST\"\nbody = \"{}\"\nthresholds = [\"p(99)<1s\"]\n";

    #[test]
    fn rate_and_connections_are_divided_by_weight() {
        let shop = prepared(SHOP).unwrap();
        let names: Vec<&str> = shop.routes.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, ["GET http://127.0.0.1:1/list", "buy"]);
        let of = |index: usize| {
            let load = &shop.routes[index].load;
            let stages = load.stages.as_ref().unwrap();
            (stages[0].from, stages[0].to, stages[1].from, load.connections, load.duration.as_secs())
        };
        assert_eq!((of(0), of(1)), ((7.5, 75.0, 75.0, 30, 30), (2.5, 25.0, 25.0, 10, 30)));
        let aborts: Vec<_> = shop.thresholds.iter().map(|watched| watched.abort_after).collect();
        assert_eq!(aborts, [None, Some(Duration::from_secs(3))]);
    }

    #[test]
    fn what_sends_nothing_or_is_misspelt_is_refused() {
        for (from, to, word) in [
            ("start_rate = 10", "", "send nothing"),
            ("rate = 100", "rate = -1", "-1"),
            ("weight = 3", "weight = 0", "weight"),
            ("connections = 40", "connections = 0", "connections"),
            ("start_rate", "start_rates", "start_rates"),
            ("p(95)<200ms", "p(95)<<200ms", "<<"),
            ("p(99)<1s", "p(99)<1 apple", "buy"),
            ("[[route]]", "[[routes]]", "routes"),
        ] {
            let still =
                if from == "start_rate = 10" { SHOP.replace("rate = 100", "rate = 0") } else { SHOP.to_owned() };
            let text = still.replace(from, to);
            let why = prepared(&text).unwrap_err();
            assert!(why.contains(word), "{to}: {why}");
        }
    }
}
