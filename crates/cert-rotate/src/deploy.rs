//! From a generation that is written to one that is shown to be served, or back.
//!
//! The link is switched, every consumer is told, and every place where it must be seen is asked, again and again until a
//! deadline. If one of them does not show the new certificate, all of them go back to the previous one, and have to show
//! that. Whatever the outcome, key and certificate in `live/` are of one generation at every moment.

pub mod gate;
pub mod program;
pub mod prove;
pub mod reload;

use std::ffi::OsString;
use std::path::Path;

use maint_core::cancel::Cancel;
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::units::HumanDuration;

use crate::certificate::Certificate;
use crate::config::{CertSpec, Consumer, SECTION};
use crate::endpoint::Endpoint;
use crate::live::{self, Access, Generation, Live, State};
use crate::pending::Pending;
use crate::work::Work;
use gate::Problem;
use prove::{Rule, Shown, look_at_all, prove};

/// One certificate with everything that its deployment needs.
#[derive(Debug)]
pub struct Deployment<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// What it must be, and who serves it.
    pub spec: &'a CertSpec,
    /// The tool's directory; the caller holds its lock.
    pub live: &'a Live,
    /// What is under way for it.
    pub pending: Pending,
    /// What was in the places of copies before.
    originals: Pending,
    /// Whose its files are.
    pub access: Access,
    /// What counts as a proof.
    pub rule: Rule,
}

impl<'a> Deployment<'a> {
    /// Of a certificate of the configuration; nothing is touched.
    ///
    /// # Errors
    /// Something in its description could not work.
    pub fn of(work: &Work<'_>, live: &'a Live, name: &'a str, spec: &'a CertSpec) -> Result<Self, Failure> {
        live::check(name, &spec.install)?;
        for consumer in &spec.consumers {
            reload::check(&consumer.reload).map_err(|why| {
                Failure::usage(format!("[certs.{name}] the consumer {}: reload: {why}", consumer.name))
            })?;
        }
        let rule = Rule {
            count: work.settings.get(&SECTION, "verify_count")?,
            timeout: work.settings.get::<HumanDuration>(&SECTION, "verify_timeout")?.0,
        };
        let (pending, originals) = (Pending::of(live.root(), name), Pending::originals(live.root(), name));
        Ok(Deployment { name, spec, live, pending, originals, access: Access::of(name, spec)?, rule })
    }

    /// What a consumer's programs find in their environment.
    fn env(&self, directory: &Path, new: &Certificate, old: Option<&Certificate>) -> Vec<(OsString, OsString)> {
        let file = |name: &str| OsString::from(directory.join(name));
        let fingerprint =
            |leaf: Option<&Certificate>| OsString::from(leaf.map(Certificate::fingerprint).unwrap_or_default());
        [
            ("CERT_NAME", OsString::from(self.name)),
            ("CERT_DIR", OsString::from(directory)),
            ("CERT_FILE", file("cert.pem")),
            ("CHAIN_FILE", file("chain.pem")),
            ("FULLCHAIN_FILE", file("fullchain.pem")),
            ("KEY_FILE", file("privkey.pem")),
            ("CERT_SHA256", fingerprint(Some(new))),
            ("CERT_OLD_SHA256", fingerprint(old)),
        ]
        .map(|(name, value)| (OsString::from(name), value))
        .to_vec()
    }

    /// Every certificate that a consumer may be showing; none when it may be anything.
    fn known(&self, previous: Option<&Generation>) -> Vec<[u8; 32]> {
        if previous.is_none() {
            return Vec::new();
        }
        let numbers = self.live.numbers(self.name).unwrap_or_default();
        let leaves = numbers.into_iter().filter_map(|number| self.live.generation(self.name, number).ok());
        leaves.filter_map(|generation| generation.leaf().map(Certificate::sha256)).collect()
    }
}

/// How a deployment ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every consumer shows it.
    Proven,
    /// It was not shown; the previous state is back, and shown.
    Back(String),
    /// It was not shown, and stays: there is nothing to go back to.
    Kept(String),
    /// It was not shown, and neither is the previous state.
    Stuck(String),
}

/// The end of a deployment.
#[derive(Debug)]
pub struct Done {
    /// How.
    pub outcome: Outcome,
    /// What was live before.
    pub previous: Option<u64>,
    /// Connections that were made to see it.
    pub connections: u64,
}

/// Consumers that do not answer at all, before anything is changed: a server that is down could neither show the new
/// certificate nor, afterwards, the old one.
pub fn down_before(work: &Work<'_>, deployment: &Deployment<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if deployment.live.current(deployment.name).ok().flatten().is_some() {
        for (consumer, endpoint, shown) in work.block_on(look_at_all(&deployment.spec.consumers, None)) {
            if let Shown::Down(why) = shown {
                let message = format!("{consumer} is down before anything was changed ({endpoint}: {why})");
                problems.push(Problem { code: "consumer-down", message });
            }
        }
    }
    problems
}

/// Makes a generation live and proves it, or goes back. A generation that is live already is only told and proven; when it
/// had been proven before, there is nothing to go back to.
///
/// # Errors
/// Something failed before anything was changed.
pub fn deploy(work: &Work<'_>, deployment: &Deployment<'_>, to: &Generation) -> Result<Done, Failure> {
    let Deployment { name, live, .. } = *deployment;
    let from = live.current_number(name)?;
    let mut meta = live.meta(name, to.number);
    let again = from == Some(to.number);
    let once_proven = meta.state == State::Live;
    let proven_before = again && once_proven;
    if !again {
        meta.previous = from;
        meta.state = State::Staged;
        live.note(name, to.number, &meta)?;
        point("deploy-noted");
    }
    let previous = match meta.previous {
        // It may have gone meanwhile.
        Some(number) if again => live.generation(name, number).ok(),
        Some(number) => Some(live.generation(name, number)?),
        None => None,
    };
    let mut way = Way { work, deployment, to, previous, once_proven, served: Vec::new(), connections: 0 };
    if way.previous.is_none() && !proven_before {
        way.served = work.block_on(look_at_all(&deployment.spec.consumers, None));
        live::keep(&deployment.spec.install, &deployment.originals)?;
    }
    let outcome = match way.forward(again) {
        Ok(()) => {
            live.mark(name, to.number, State::Live, None)?;
            point("deploy-marked");
            Outcome::Proven
        }
        Err(why) if proven_before => Outcome::Kept(why),
        Err(why) => way.back(&why),
    };
    Ok(Done { outcome, previous: meta.previous, connections: way.connections })
}

/// One deployment under way.
struct Way<'a> {
    work: &'a Work<'a>,
    deployment: &'a Deployment<'a>,
    to: &'a Generation,
    previous: Option<Generation>,
    /// It was proven at another time: that this attempt failed does not undo that.
    once_proven: bool,
    /// What was shown before, where there is no previous generation to tell.
    served: Vec<(String, Endpoint, Shown)>,
    connections: u64,
}

impl Way<'_> {
    /// On any error, the caller goes back.
    fn forward(&mut self, again: bool) -> Result<(), String> {
        let Deployment { name, spec, live, access, .. } = self.deployment;
        let to = self.to;
        let leaf = to.leaf().ok_or("there is no certificate in the generation")?;
        if !again {
            live.switch(name, to.number).map_err(|failure| failure.message)?;
        }
        point("deploy-switched");
        live::install(name, &spec.install, to, access).map_err(|failure| failure.message)?;
        let old = self.previous.as_ref().and_then(Generation::leaf);
        let env = self.deployment.env(&live.link(name), leaf, old);
        let known = self.deployment.known(self.previous.as_ref());
        let cancel = Some(&self.work.cancel);
        // After the switch, because a server's own test reads the files that its configuration names; before anybody is
        // told, so that nobody has served what is taken back.
        for (consumer, test) in spec.consumers.iter().filter_map(|consumer| Some((consumer, consumer.test.as_ref()?))) {
            tracing::info!("{name}: testing {}", consumer.name);
            self.work
                .block_on(program::run(test, &env, program::LIMIT, cancel))
                .map_err(|error| format!("{} would not take it: {error}", consumer.name))?;
            point("deploy-tested");
        }
        for consumer in &spec.consumers {
            if self.work.cancel.is_cancelled() {
                return Err(format!("the run was interrupted before {} was told", consumer.name));
            }
            tracing::info!("{name}: telling {}", consumer.name);
            self.work
                .block_on(reload::tell(&consumer.reload, &env, &known, cancel))
                .map_err(|error| format!("{}: {error}", consumer.name))?;
            point("deploy-reloaded");
            self.connections += self.shows(consumer, leaf, cancel)?;
            point("deploy-proven");
        }
        Ok(())
    }

    fn shows(&self, consumer: &Consumer, leaf: &Certificate, cancel: Option<&Cancel>) -> Result<u64, String> {
        let mut connections = 0;
        for endpoint in &consumer.verify {
            tracing::info!("{}: asking {endpoint}", self.deployment.name);
            let rule = self.deployment.rule;
            let proven = self.work.block_on(prove(&consumer.name, endpoint, leaf, rule, cancel));
            connections += proven.map_err(|error| error.to_string())?;
        }
        Ok(connections)
    }

    /// Nothing interrupts it: half of the way back is worse than either end.
    fn back(&mut self, why: &str) -> Outcome {
        let Deployment { name, live, .. } = *self.deployment;
        let expired = self.previous.as_ref().and_then(Generation::leaf).filter(|leaf| !leaf.is_valid_at(self.work.now));
        if let Some(leaf) = expired {
            return Outcome::Kept(format!(
                "{why}; the new certificate stays, because the previous one is not valid any more (until {})",
                leaf.not_after
            ));
        }
        tracing::warn!("{name}: {why}; going back");
        if let Err(failure) = self.switch_back() {
            return Outcome::Stuck(format!("{why}; it cannot be taken back: {}", failure.message));
        }
        let state = if self.once_proven { State::Live } else { State::RolledBack };
        if let Err(failure) = live.mark(name, self.to.number, state, Some(why)) {
            tracing::warn!("{}", failure.message);
        }
        point("back-switched");
        let trouble = self.tell_all();
        match self.show_what_was() {
            Ok(()) => Outcome::Back(why.to_owned()),
            Err(unproven) => {
                let told = [vec![unproven], trouble].concat().join("; ");
                Outcome::Stuck(format!("{why}; the previous state is back, but it is not shown: {told}"))
            }
        }
    }

    fn switch_back(&self) -> Result<(), Failure> {
        let Deployment { name, spec, live, originals, access, .. } = self.deployment;
        if let Some(previous) = &self.previous {
            live.switch(name, previous.number)?;
            return live::install(name, &spec.install, previous, access);
        }
        live.unlink(name)?;
        live::put_back(originals)
    }

    /// Tells every consumer, also those that were not told yet: some look at files by themselves.
    fn tell_all(&self) -> Vec<String> {
        let Deployment { name, spec, live, .. } = self.deployment;
        let was = self.previous.as_ref().and_then(Generation::leaf);
        let (Some(leaf), known) = (was.or(self.to.leaf()), self.deployment.known(self.previous.as_ref())) else {
            return Vec::new();
        };
        let env = self.deployment.env(&live.link(name), leaf, self.to.leaf());
        let told = spec.consumers.iter().map(|consumer| {
            let told = self.work.block_on(reload::tell(&consumer.reload, &env, &known, None));
            told.map_err(|error| format!("{}: {error}", consumer.name))
        });
        told.filter_map(Result::err).collect()
    }

    fn show_what_was(&mut self) -> Result<(), String> {
        if let Some(leaf) = self.previous.as_ref().and_then(Generation::leaf) {
            for consumer in &self.deployment.spec.consumers {
                self.connections += self.shows(consumer, leaf, None)?;
            }
            return Ok(());
        }
        for (consumer, endpoint, shown) in &self.served {
            // What was not there before need not be there now.
            let Shown::Leaf(leaf) = shown else { continue };
            let proven = self.work.block_on(prove(consumer, endpoint, leaf, self.deployment.rule, None));
            self.connections += proven.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
