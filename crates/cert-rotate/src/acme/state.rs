//! What outlives a run and is no secret: when not to ask, what was advised, and which account issued what.
//!
//! It lies beside the account, in a file of its own: it is written by every look at a certificate, and a file that
//! holds the only copy of a key is better left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::state_dir;
use serde::{Deserialize, Serialize};

use super::ari::Advice;
use crate::live::make_public;

/// The pause after the first failed proof of a name; each further failure doubles it. Public authorities allow five
/// failures an hour.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// What is known of one directory of one issuer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The authority asked not to be asked before.
    #[serde(default)]
    pub(crate) come_back: Option<Timestamp>,
    /// Failed proofs, by the certificate's name in the configuration.
    #[serde(default)]
    pub(crate) failures: BTreeMap<String, Failures>,
    /// Advice, by the identifier of the certificate (RFC 9773, 4.1).
    #[serde(default)]
    pub(crate) advice: BTreeMap<String, Advice>,
    /// Which account a certificate was issued to, by its fingerprint.
    #[serde(default)]
    pub(crate) issued: BTreeMap<String, Issued>,
}

/// Failures in a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failures {
    /// How many.
    pub(crate) count: u32,
    /// Not again before.
    pub(crate) come_back: Timestamp,
    /// What the last one was.
    pub(crate) message: String,
}

/// To whom a certificate was issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// The account's URL.
    pub(crate) account: String,
    /// When the certificate ends, after which this is forgotten.
    pub(crate) until: Timestamp,
}

impl State {
    /// Notes that a certificate's order failed, and from when on it may be tried again.
    pub(crate) fn failed(&mut self, name: &str, message: &str, now: Timestamp) -> Timestamp {
        let count = self.failures.get(name).map_or(1, |before| before.count.saturating_add(1));
        let pause = FIRST_PAUSE * (1 << (count - 1).min(10));
        let come_back = now.saturating_add(pause.min(LONGEST_PAUSE)).unwrap_or(Timestamp::MAX);
        self.failures.insert(name.to_owned(), Failures { count, come_back, message: message.to_owned() });
        come_back
    }

    /// Forgets what is of certificates that ended long ago.
    fn tidy(&mut self, now: Timestamp) {
        let long_ago = now.saturating_sub(SignedDuration::from_hours(30 * 24)).unwrap_or(Timestamp::MIN);
        self.issued.retain(|_, issued| issued.until > long_ago);
        self.advice.retain(|_, advice| advice.until > long_ago);
    }
}

/// The file `accounts/ISSUER.state.json`: a [`State`] for each directory that the issuer ever had.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    directory: String,
}

impl StateFile {
    pub(crate) fn of(accounts: &Path, issuer: &str, directory: &str) -> Self {
        StateFile { path: accounts.join(format!("{issuer}.state.json")), directory: directory.to_owned() }
    }

    fn all(&self) -> BTreeMap<String, State> {
        // One that does not hold is as good as none: what it saves is work and patience.
        let text = std::fs::read(&self.path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// What is known.
    pub(crate) fn read(&self) -> State {
        self.all().remove(&self.directory).unwrap_or_default()
    }

    /// Changes what is known.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Failure> {
        let mut all = self.all();
        let state = all.entry(self.directory.clone()).or_default();
        let result = change(state);
        state.tidy(Timestamp::now());
        let text = serde_json::to_vec_pretty(&all)
            .map_err(|error| Failure::critical(format!("cannot encode {}: {error}", self.path.display())))?;
        make_directory(&self.path)?;
        durable::replace(&self.path, &text, 0o600).map_err(|error| Failure::critical(error.to_string()))?;
        Ok(result)
    }
}

/// Makes the directory of a file in `accounts`, which is for this user alone, in the tool's, which servers can enter.
pub(crate) fn make_directory(file: &Path) -> Result<(), Failure> {
    let Some(accounts) = file.parent() else { return Ok(()) };
    if let Some(root) = accounts.parent() {
        make_public(root)?;
    }
    state_dir::ensure(accounts).map_err(|error| Failure::critical(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_day() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = State::default();
        let mut minutes = || state.failed("web", "no", now).duration_since(now).as_mins();
        assert_eq!([minutes(), minutes(), minutes()], [15, 30, 60]);
        let last = (0..60).map(|_| minutes()).last();
        assert_eq!(last, Some(24 * 60));
    }

    #[test]
    fn directories_do_not_share_and_a_broken_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["https://one", "https://two"].map(|url| StateFile::of(dir.path(), "public", url));
        one.change(|state| state.failed("web", "no", Timestamp::now())).unwrap();
        assert_eq!(one.read().failures["web"].count, 1);
        assert!(two.read().failures.is_empty());
        two.change(|state| state.come_back = Some(Timestamp::MAX)).unwrap();
        assert_eq!(one.read().failures["web"].count, 1);
        std::fs::write(dir.path().join("public.state.json"), "{").unwrap();
        assert!(one.read().failures.is_empty());
    }
}
