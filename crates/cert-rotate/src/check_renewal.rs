//! `check-renewal`: what is due.
//!
//! A certificate is judged by what is left of its lifetime, and one from the configuration also by what its authority
//! advises. Only the first certificate of a file counts: those that follow are the authority's, who renews them itself.

mod prometheus;
mod scan;
mod validity;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;

use crate::acme::Advisor;
use crate::cli::CheckRenewalArgs;
use crate::config::{SECTION, Wanted};
use crate::due::{self, Due, Rule, due_within};
use crate::endpoint::Endpoint;
use crate::live::{Generation, Live};
use crate::read;
use crate::tls;
use crate::work::Work;
use validity::Validity;

/// How long one server may take to show its certificate.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many servers are asked at the same time.
const AT_ONCE: usize = 64;

/// Where a certificate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Configured,
    File,
    Server,
}

impl Origin {
    fn label(self) -> &'static str {
        match self {
            Origin::Configured => "name",
            Origin::File => "filepath",
            Origin::Server => "endpoint",
        }
    }
}

/// One certificate, judged.
#[derive(Debug, Clone)]
struct Checked {
    origin: Origin,
    subject: String,
    validity: Option<Validity>,
    due: Option<Due>,
    expired: bool,
    status: Status,
    message: String,
}

/// From when on to warn.
#[derive(Debug, Clone, Copy)]
struct Limits {
    warn: Rule,
    crit: Rule,
    now: Timestamp,
}

/// Looks at everything that was named, or at what is configured.
///
/// # Errors
/// A rule or the configuration does not hold, or the Prometheus file cannot be written.
pub fn run(args: &CheckRenewalArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "warn_before", args.warn.as_ref())?;
    work.settings.flag(&SECTION, "critical_before", args.crit.as_ref())?;
    let rule = |name: &str| {
        let text: String = work.settings.get(&SECTION, name)?;
        text.parse::<Rule>().map_err(|error| Failure::usage(format!("{name}: {error}")))
    };
    let limits = Limits { warn: rule("warn_before")?, crit: rule("critical_before")?, now: work.now };
    let (wanted, live) = (work.wanted()?, work.live()?);
    let mut targets = read::targets(&args.targets)?;
    if args.targets.is_empty() {
        targets = wanted.certs.keys().cloned().collect();
        work.subject = live.root().display().to_string();
    }
    let mut check = Check { limits, offline: args.offline, advisor: Advisor::new(live.clone()), live, all: Vec::new() };
    let mut servers = Vec::new();
    for target in &targets {
        let path = Path::new(target);
        if wanted.certs.contains_key(target) {
            check.configured(target, &wanted, work)?;
        } else if path.is_dir() {
            check.directory(path, work)?;
        } else if path.exists() || target.contains('/') {
            check.file(path, work)?;
        } else if let Ok(endpoint) = target.parse::<Endpoint>() {
            servers.push(endpoint);
        } else {
            let why = "it is no file, no directory, no certificate of the configuration, and not HOST:PORT";
            check.unknown(Origin::File, target.clone(), why.to_owned(), work);
        }
        if work.cancel.is_cancelled() {
            return Ok(());
        }
    }
    check.servers(servers, work)?;
    if check.all.is_empty() {
        let message =
            "there is no certificate to look at: name files, directories or servers, or describe certificates";
        work.run.emit(&Record::new(Kind::Check, work.subject.clone(), Status::Unknown, message));
    }
    match &args.prometheus {
        Some(path) => prometheus::write(path, &check.all),
        None => Ok(()),
    }
}

struct Check<'a> {
    limits: Limits,
    offline: bool,
    live: Live,
    advisor: Advisor<'a>,
    all: Vec<Checked>,
}

impl<'a> Check<'a> {
    fn add(&mut self, checked: Checked, work: &Work<'_>) {
        work.run.emit(&checked.record(&self.limits));
        self.all.push(checked);
    }

    fn unknown(&mut self, origin: Origin, subject: String, message: String, work: &Work<'_>) {
        self.add(Checked::without_a_date(origin, subject, Status::Unknown, message), work);
    }

    fn configured(&mut self, name: &str, wanted: &'a Wanted, work: &Work<'_>) -> Result<(), Failure> {
        let Some((name, spec)) = wanted.certs.get_key_value(name) else { return Ok(()) };
        let current = match self.live.current(name) {
            Ok(current) => current,
            Err(failure) => {
                self.unknown(Origin::Configured, name.clone(), failure.message, work);
                return Ok(());
            }
        };
        let Some(leaf) = current.as_ref().and_then(Generation::leaf) else {
            let message = "it was never issued: run `cert-rotate rotate`".to_owned();
            self.add(Checked::without_a_date(Origin::Configured, name.clone(), Status::Warning, message), work);
            return Ok(());
        };
        let advice = match wanted.issuers.get(&spec.issuer) {
            Some(crate::config::IssuerSpec::Acme(acme)) if !self.offline => {
                self.advisor.advice(leaf, &spec.issuer, acme, work)
            }
            _ => None,
        };
        let due = due::due(leaf, Some(spec), advice)?;
        self.add(judge(Origin::Configured, name.clone(), Validity::from(leaf), due, &self.limits), work);
        Ok(())
    }

    fn file(&mut self, path: &Path, work: &Work<'_>) -> Result<(), Failure> {
        let subject = path.display().to_string();
        let read = match path.metadata() {
            Ok(metadata) if !metadata.is_file() => Err("is no regular file".to_owned()),
            Ok(_) => validity::of_file(path, &mut Vec::new()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match read {
            Ok(Some(validity)) => {
                let checked = self.judged(subject, validity)?;
                self.add(checked, work);
            }
            Ok(None) => {
                self.unknown(Origin::File, subject, "there is no certificate in PEM or DER in it".to_owned(), work);
            }
            Err(why) => self.unknown(Origin::File, subject, why, work),
        }
        Ok(())
    }

    fn judged(&self, subject: String, validity: Validity) -> Result<Checked, Failure> {
        let due = due_within(validity.not_before, validity.not_after, None, None)?;
        Ok(judge(Origin::File, subject, validity, due, &self.limits))
    }

    /// Those of a directory that are good are told one by one only where events are written; people read their number.
    fn directory(&mut self, path: &Path, work: &Work<'_>) -> Result<(), Failure> {
        let mut good = 0;
        let mut next = None;
        let found = scan::directory(path);
        let all = found.len();
        for found in found {
            let subject = found.path.display().to_string();
            let checked = match found.validity {
                Ok(validity) => self.judged(subject, validity)?,
                Err(why) => Checked::without_a_date(Origin::File, subject, Status::Unknown, why),
            };
            if checked.status == Status::Ok {
                good += 1;
                next = next.into_iter().chain(checked.due.map(|due| due.renew_at)).min();
                work.run.detail(&checked.record(&self.limits));
                self.all.push(checked);
            } else {
                self.add(checked, work);
            }
        }
        let subject = path.display().to_string();
        let record = if all == 0 {
            Record::new(Kind::Check, subject, Status::Unknown, "there is no certificate in PEM or DER below it")
        } else {
            let then = next.map_or_else(String::new, |next| format!("; the next of those is due at {next}"));
            let message = format!("{good} of {all} certificates are not due{then}");
            Record::new(Kind::Metric, subject, Status::Ok, message).field("certificates", all).field("not_due", good)
        };
        work.run.emit(&record);
        Ok(())
    }

    fn servers(&mut self, endpoints: Vec<Endpoint>, work: &Work<'_>) -> Result<(), Failure> {
        for (endpoint, shown) in work.block_on(ask(endpoints)) {
            let subject = endpoint.to_string();
            match shown {
                Ok(validity) => {
                    let checked = Checked { origin: Origin::Server, ..self.judged(subject, validity)? };
                    self.add(checked, work);
                }
                Err(why) => self.unknown(Origin::Server, subject, why, work),
            }
        }
        Ok(())
    }
}

/// What servers show, in the order in which they were named.
async fn ask(endpoints: Vec<Endpoint>) -> Vec<(Endpoint, Result<Validity, String>)> {
    let turns = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let ask = |endpoint: Endpoint| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let _turn = turns.acquire().await;
            let seen = tls::connect(&endpoint, &tls::Asked { timeout: PATIENCE, key: None }).await;
            let shown = match seen {
                Ok(seen) => seen.chain.first().map(Validity::from).ok_or_else(|| "shows no certificate".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            (endpoint, shown)
        })
    };
    let tasks: Vec<_> = endpoints.into_iter().map(ask).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await);
    }
    all
}

/// Judges one certificate.
fn judge(origin: Origin, subject: String, validity: Validity, due: Due, limits: &Limits) -> Checked {
    let now = limits.now;
    let end = due::after(validity.not_after);
    let (lifetime, left) = (end.duration_since(validity.not_before), end.duration_since(now));
    let words = |duration: SignedDuration| format_seconds(duration.as_secs_f64().trunc());
    let (status, message) = if left <= SignedDuration::ZERO {
        (Status::Critical, format!("it ended {} ago", words(left.abs())))
    } else if left <= limits.crit.before(lifetime) {
        (Status::Critical, format!("it ends in {}", words(left)))
    } else if now < validity.not_before {
        (Status::Warning, format!("it is not valid before {}", validity.not_before))
    } else if due.is_due(now) && origin == Origin::Configured {
        (Status::Warning, format!("it is due since {} ({}), and ends in {}", due.renew_at, due.reason, words(left)))
    } else if left <= limits.warn.before(lifetime) {
        (Status::Warning, format!("it ends in {}", words(left)))
    } else {
        (Status::Ok, format!("it is not due before {} ({})", due.renew_at, due.reason))
    };
    let expired = left <= SignedDuration::ZERO;
    Checked { origin, subject, validity: Some(validity), due: Some(due), expired, status, message }
}

impl Checked {
    fn without_a_date(origin: Origin, subject: String, status: Status, message: String) -> Self {
        Checked { origin, subject, validity: None, due: None, expired: false, status, message }
    }

    fn record(&self, limits: &Limits) -> Record {
        let record = Record::new(Kind::Check, self.subject.clone(), self.status, self.message.clone());
        let (Some(validity), Some(due)) = (self.validity, self.due) else { return record };
        let end = due::after(validity.not_after);
        let lifetime = end.duration_since(validity.not_before);
        // The first second in which a limit is broken is the one that is so far away; a Nagios range has it inside.
        let limit = |rule: &Rule| format!("{}:", rule.before(lifetime).as_secs());
        record
            .field("remaining_seconds", end.duration_since(limits.now).as_secs())
            .field("not_after", validity.not_after)
            .field("renew_at", due.renew_at)
            .field("reason", due.reason)
            .limits("remaining_seconds", limit(&limits.warn), limit(&limits.crit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    /// The status of a certificate of so many seconds, so many seconds before its end.
    fn status(lifetime: i64, left: i64, origin: Origin) -> (Status, bool) {
        let end = Timestamp::from_second(2_000_000_000).unwrap();
        let second = SignedDuration::from_secs;
        let validity = Validity { not_before: end - second(lifetime), not_after: end - second(1) };
        let due = due_within(validity.not_before, validity.not_after, None, None).unwrap();
        let [warn, crit] = ["min(30d,33%)", "min(7d,10%)"].map(|rule| rule.parse().unwrap());
        let limits = Limits { warn, crit, now: end - second(left) };
        let checked = judge(origin, "x".to_owned(), validity, due, &limits);
        (checked.status, checked.expired)
    }

    #[test]
    fn limits_follow_the_lifetime() {
        let of = |lifetime, left| status(lifetime, left, Origin::File);
        assert_eq!(of(90 * DAY, 31 * DAY), (Status::Ok, false));
        assert_eq!(of(90 * DAY, 29 * DAY), (Status::Warning, false));
        assert_eq!(of(90 * DAY, 7 * DAY), (Status::Critical, false));
        assert_eq!(of(6 * DAY, 3 * DAY), (Status::Ok, false));
        assert_eq!(of(6 * DAY, DAY), (Status::Warning, false));
        assert_eq!(of(6 * DAY, DAY / 2), (Status::Critical, false));
        assert_eq!(of(3650 * DAY, 31 * DAY), (Status::Ok, false));
        assert_eq!(of(3650 * DAY, 30 * DAY), (Status::Warning, false));
    }

    #[test]
    fn the_last_second_is_critical_and_the_next_is_over() {
        assert_eq!(status(90 * DAY, 1, Origin::File), (Status::Critical, false));
        assert_eq!(status(90 * DAY, 0, Origin::File), (Status::Critical, true));
        assert_eq!(status(90 * DAY, 91 * DAY, Origin::File), (Status::Warning, false));
    }

    #[test]
    fn what_is_configured_is_due_when_it_would_be_renewed() {
        assert_eq!(status(6 * DAY, 3 * DAY, Origin::Configured).0, Status::Warning);
        assert_eq!(status(6 * DAY, 3 * DAY + 1, Origin::Configured).0, Status::Ok);
    }
}
