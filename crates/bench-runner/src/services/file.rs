//! The file of services.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::threshold::Threshold;
use maint_core::units::{HumanDuration, format_seconds};
use serde::Deserialize;

use crate::cli::{AskArgs, WhatArgs};
use crate::drive::Job;
use crate::engine::run::{Load, Ran};
use crate::report::{is_broken, responses};
use crate::scenario::LIMITS;
use crate::schedule::{Arrival, Stage};
use crate::target::Target;
use crate::what::target;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Services {
    duration: Option<HumanDuration>,
    timeout: Option<HumanDuration>,
    #[serde(default, rename = "service")]
    all: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    url: String,
    rate: f64,
    #[serde(default = "twenty")]
    connections: u16,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    thresholds: Vec<String>,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    workload: Option<String>,
}

fn twenty() -> u16 {
    20
}

fn get() -> String {
    "GET".to_owned()
}

/// One of them, ready to be asked.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) needs: Vec<String>,
    pub(super) target: Target,
    pub(super) limits: Vec<Threshold>,
    load: Load,
    rate: f64,
}

impl Service {
    pub(super) fn job(&self) -> Job<'_> {
        Job { target: &self.target, load: &self.load }
    }

    pub(super) fn asked(&self) -> String {
        format!("{} requests a second for {}", self.rate, format_seconds(self.load.duration.as_secs_f64()))
    }

    /// One of its limits is broken for certain.
    pub(super) fn is_broken(&self, ran: &Ran) -> bool {
        let sample = responses(ran);
        ran.tally.good == 0 || self.limits.iter().any(|limit| is_broken(limit, ran, &sample))
    }
}

impl Services {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read or does not hold: the message has the line.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }

    /// Finds their addresses; those that others need are before those others.
    ///
    /// # Errors
    /// A value does not hold, one needs another that is not there, or some need each other.
    pub(super) fn prepare(&self, allowed: &[String]) -> Result<Vec<Service>, Failure> {
        if self.all.is_empty() {
            return Err(Failure::usage("there is no [[service]]"));
        }
        order(&self.all)?.into_iter().map(|table| self.service(table, allowed)).collect()
    }

    fn service(&self, table: &Table, allowed: &[String]) -> Result<Service, Failure> {
        let wrong = |why: String| Failure::usage(format!("service {}: {why}", table.name));
        if !(0.001..=1e7).contains(&table.rate) || table.connections == 0 {
            return Err(wrong(format!(
                "a rate of {} over {} connections: 0.001 to 10000000 over 1 and more are possible",
                table.rate, table.connections
            )));
        }
        let what = WhatArgs {
            workload: table.workload.clone(),
            define: Vec::new(),
            ask: AskArgs { method: table.method.clone(), header: table.headers.clone(), body: table.body.clone() },
            allow_host: allowed.to_vec(),
        };
        let texts = table.thresholds.iter().map(String::as_str);
        let limits: Result<Vec<Threshold>, _> = if table.thresholds.is_empty() {
            LIMITS.iter().map(|text| text.parse()).collect()
        } else {
            texts.map(str::parse).collect()
        };
        let duration = self.duration.as_ref().map_or(Duration::from_secs(5), |duration| duration.0);
        let patience = self.timeout.as_ref().map_or(Duration::from_secs(30), |timeout| timeout.0);
        let load = Load {
            stages: Some(vec![Stage::constant(table.rate, duration)]),
            arrival: Arrival::Uniform,
            duration,
            drain: patience,
            timeout: patience,
            connections: usize::from(table.connections),
            threads: 1,
            keep_alive: true,
        };
        Ok(Service {
            name: table.name.clone(),
            needs: table.needs.clone(),
            target: target(&table.url, &what)?,
            limits: limits.map_err(|error| wrong(error.to_string()))?,
            load,
            rate: table.rate,
        })
    }
}

/// Those that are needed first; otherwise as they stand in the file.
fn order(services: &[Table]) -> Result<Vec<&Table>, Failure> {
    let by_name: BTreeMap<&str, &Table> = services.iter().map(|table| (table.name.as_str(), table)).collect();
    if by_name.len() < services.len() {
        return Err(Failure::usage("two services have the same name"));
    }
    for table in services {
        if let Some(unknown) = table.needs.iter().find(|need| !by_name.contains_key(need.as_str())) {
            return Err(Failure::usage(format!("service {} needs {unknown}, which is not there", table.name)));
        }
    }
    let mut done: Vec<&Table> = Vec::new();
    while done.len() < services.len() {
        let is_done = |name: &str| done.iter().any(|table| table.name == name);
        let next = services.iter().find(|table| !is_done(&table.name) && table.needs.iter().all(|need| is_done(need)));
        let Some(next) = next else {
            let left: Vec<&str> =
                services.iter().map(|table| table.name.as_str()).filter(|name| !is_done(name)).collect();
            return Err(Failure::usage(format!("these need each other: {}", left.join(", "))));
        };
        done.push(next);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let services: Services = toml::from_str(text).map_err(|error| error.to_string())?;
        let prepared = services.prepare(&[]).map_err(|failure| failure.message)?;
        Ok(prepared.into_iter().map(|service| service.name).collect())
    }

    fn service(name: &str, rest: &str) -> String {
        format!("[[service]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:1/\"\nrate = 5\n{rest}\n")
    }

    #[test]
    fn those_that_others_need_come_first() {
        let text = service("shop", "needs = [\"stock\", \"users\"]")
            + &service("users", "needs = [\"stock\"]")
            + &service("stock", "");
        assert_eq!(names(&text).unwrap(), ["stock", "users", "shop"]);
        assert_eq!(names(&(service("b", "") + &service("a", ""))).unwrap(), ["b", "a"]);
    }

    #[test]
    fn what_does_not_hold_is_named() {
        for (text, word) in [
            (String::new(), "no [[service]]"),
            (service("a", "needs = [\"b\"]"), "needs b"),
            (service("a", "needs = [\"b\"]") + &service("b", "needs = [\"a\"]"), "a, b"),
            (service("a", "") + &service("a", ""), "same name"),
            (service("a", "thresholds = [\"p(95)\"]"), "service a"),
            (service("a", "connections = 0"), "service a"),
            (service("a", "rates = 3"), "rates"),
            (service("a", "workload = \"get\""), "--workload"),
        ] {
            let why = names(&text).unwrap_err();
            assert!(why.contains(word), "{word}: {why}");
        }
    }
}
