//! One ACME authority, as the configuration names it: its directory, our account with it, and how it refuses.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use instant_acme::{Account, Error, Problem};
use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::state::StateFile;
use super::wire::{Said, Wire, WireError};
use crate::config::{AcmeSpec, is_plain};
use crate::live::Live;

/// A clock that is wrong by more makes certificates that are not valid yet, or signatures that are too old.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How often a request is sent again because its nonce was refused, on top of the two times that the library does. A
/// server that refuses nine of ten makes this necessary; one that refuses all of them is broken.
const NONCES: usize = 60;

/// How long to stay away from an authority that is overloaded and does not say for how long.
const USUAL_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// No authority may keep us away for longer than this by one header.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An authority's directory (RFC 8555, 7.1.1), as far as we read it ourselves.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    /// Where renewal information is; none for an authority that gives none.
    pub(crate) renewal_info: Option<String>,
    /// What it says of itself.
    #[serde(default)]
    pub(crate) meta: Meta,
}

/// The directory's `meta`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    /// Accounts must be bound to another one.
    #[serde(default)]
    pub(crate) external_account_required: bool,
    /// The terms that registering agrees to.
    pub(crate) terms_of_service: Option<String>,
    /// Profiles by name.
    #[serde(default)]
    pub(crate) profiles: std::collections::BTreeMap<String, String>,
}

/// An authority, before or after the account is opened.
pub(crate) struct Client<'a> {
    /// Its name in the configuration.
    pub(crate) issuer: &'a str,
    /// What the configuration says of it.
    pub(crate) spec: &'a AcmeSpec,
    /// The connection to it.
    pub(crate) wire: Wire,
    /// What is remembered of it.
    pub(crate) state: StateFile,
    /// `accounts` in the tool's directory.
    pub(crate) accounts: PathBuf,
    /// It could not be reached in this run; who only wants advice need not wait for it again.
    pub(crate) down: AtomicBool,
    directory: OnceCell<Directory>,
}

impl<'a> Client<'a> {
    /// Prepares; nothing is sent yet.
    ///
    /// # Errors
    /// The issuer's name cannot be a file's, or there are no roots to trust its server by.
    pub(crate) fn new(issuer: &'a str, spec: &'a AcmeSpec, live: &Live) -> Result<Self, Failure> {
        if !is_plain(issuer) {
            return Err(Failure::usage(format!(
                "[issuers.{issuer}]: an issuer's name is a file's: letters, digits, `.`, `-` and `_`, not first a dot"
            )));
        }
        let accounts = live.root().join("accounts");
        let state = StateFile::of(&accounts, issuer, &spec.directory);
        let wire = Wire::new(spec.ca_file.as_deref())?;
        Ok(Client { issuer, spec, wire, state, accounts, down: AtomicBool::new(false), directory: OnceCell::new() })
    }

    /// The directory, asked for once.
    ///
    /// # Errors
    /// It cannot be reached, or is none.
    pub(crate) async fn directory(&self) -> Result<Directory, Failure> {
        self.directory.get_or_try_init(|| self.ask_directory()).await.cloned()
    }

    async fn ask_directory(&self) -> Result<Directory, Failure> {
        let url = &self.spec.directory;
        let said = self.wire.get(url).await.map_err(|error| self.unreachable(&error))?;
        self.stay_away_if_asked("read its directory", &said, None)?;
        if said.status != 200 {
            return Err(Failure::critical(format!("{}: {url} answers with HTTP status {}", self.issuer, said.status))
                .hint("correct the issuer's `directory`"));
        }
        serde_json::from_slice(&said.body).map_err(|error| {
            Failure::critical(format!("{}: {url} is no ACME directory: {error}", self.issuer))
                .hint("correct the issuer's `directory`")
        })
    }

    /// How far the authority's clock is ahead of ours, by its last answer, if that is too far.
    pub(crate) fn skew(&self) -> Option<SignedDuration> {
        self.wire.said().ahead.filter(|ahead| ahead.abs() > SKEW)
    }

    fn unreachable(&self, error: &WireError) -> Failure {
        let hint = match &self.spec.ca_file {
            Some(path) => format!("is it up, and does its certificate end at {}?", path.display()),
            None => "is it up? An authority on the inside needs `ca_file`, the root of its own certificate".to_owned(),
        };
        Failure::critical(format!("{}: {error}", self.issuer)).hint(hint)
    }

    /// Whether the authority asked us to stay away, in an earlier answer or another run.
    ///
    /// # Errors
    /// It did, and the time has not come: exit 75.
    pub(crate) fn may_ask(&self, now: Timestamp) -> Result<(), Failure> {
        match self.state.read().come_back {
            Some(at) if now < at => {
                Err(Failure::not_now(format!("{}: the authority asked not to come back before {at}", self.issuer))
                    .hint("run it again then; to ask earlier would only prolong it"))
            }
            _ => Ok(()),
        }
    }

    /// Notes it when an answer is a plea to come back later.
    fn stay_away_if_asked(&self, doing: &str, said: &Said, problem: Option<&Problem>) -> Result<(), Failure> {
        let limited = problem.is_some_and(|problem| kind(problem) == "rateLimited");
        if !(limited || matches!(said.status, 429 | 503)) {
            return Ok(());
        }
        let now = Timestamp::now();
        let asked = said.retry_after.map_or(USUAL_PAUSE, |at| at.duration_since(now));
        let pause = asked.clamp(SignedDuration::from_secs(1), LONGEST_PAUSE);
        let at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.state.change(|state| state.come_back = Some(at))?;
        let why = problem.map_or_else(|| format!("HTTP status {}", said.status), explain);
        Err(Failure::not_now(format!("{}: cannot {doing} now: {why}; it may be asked again at {at}", self.issuer))
            .hint("run it again then"))
    }

    /// What a refusal means for the run. `doing` completes the words "cannot".
    pub(crate) fn refused(&self, doing: &str, error: Error) -> Failure {
        let said = self.wire.said();
        let failure = match error {
            Error::Api(problem) => {
                if let Err(failure) = self.stay_away_if_asked(doing, &said, Some(&problem)) {
                    return failure;
                }
                let failure = Failure::critical(format!("{}: cannot {doing}: {}", self.issuer, explain(&problem)));
                return match self.advise(kind(&problem)) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                };
            }
            Error::Timeout(_) => {
                return Failure::not_now(format!("{}: cannot {doing}: the authority still works on it", self.issuer))
                    .hint("run it again: it goes on where it was");
            }
            Error::Other(error) => match error.downcast::<WireError>() {
                Ok(error) => return self.unreachable(&error),
                Err(error) => error.to_string(),
            },
            other => other.to_string(),
        };
        Failure::critical(format!("{}: cannot {doing}: {failure}", self.issuer))
    }

    fn advise(&self, kind: &str) -> Option<String> {
        let account = self.accounts.join(format!("{}.json", self.issuer));
        Some(match kind {
            "accountDoesNotExist" | "unauthorized" => format!(
                "see `cert-rotate account show {}`; a closed account is given up by removing {}",
                self.issuer,
                account.display()
            ),
            "externalAccountRequired" => "set eab_key_id and eab_hmac_file of the issuer".to_owned(),
            "invalidContact" | "unsupportedContact" => "correct `contact` of the issuer: e-mail addresses".to_owned(),
            "userActionRequired" => "the authority has new terms: read them and agree at its site".to_owned(),
            "rejectedIdentifier" => "this authority does not sign for that name: correct `names`".to_owned(),
            "caa" => "the name's CAA records in DNS forbid this authority".to_owned(),
            _ => return None,
        })
    }

    /// Sends POST-as-GET to any address with the account's signature, and returns what came. The library can do that for
    /// orders only; what it makes of the answer does not matter.
    pub(crate) async fn fetch(&self, account: &Account, url: &str) -> Result<Said, Failure> {
        match patient(async || account.order(url.to_owned()).await).await {
            Err(error @ (Error::Other(_) | Error::Hyper(_) | Error::InvalidUri(_))) => {
                Err(self.refused(&format!("fetch {url}"), error))
            }
            _ => Ok(self.wire.said()),
        }
    }

    /// The account's connection for the library.
    pub(crate) fn http(&self) -> Box<Wire> {
        Box::new(self.wire.clone())
    }
}

/// The last word of a problem's type, as RFC 8555, 6.7 lists them.
pub(crate) fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().unwrap_or_default().rsplit(':').next().unwrap_or_default()
}

/// A problem in words, with what it says of each name.
pub(crate) fn explain(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "it does not say why".to_owned());
    if problem.r#type.is_some() {
        text = format!("{text} ({})", kind(problem));
    }
    for sub in &problem.subproblems {
        text = format!("{text}; {sub}");
    }
    text
}

/// Tries again as long as all that is wrong is the nonce: such a request had no effect (RFC 8555, 6.5).
pub(crate) async fn patient<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..NONCES {
        match attempt().await {
            Err(Error::Api(problem)) if kind(&problem) == "badNonce" => {}
            result => return result,
        }
    }
    attempt().await
}
