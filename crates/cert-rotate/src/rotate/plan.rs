//! What is to be done for one certificate, and why: a pure decision from what was seen.

use jiff::Timestamp;

use crate::certificate::Certificate;
use crate::config::CertSpec;
use crate::deploy::gate::{is_of_type, lacking};
use crate::deploy::prove::Shown;
use crate::due::Due;
use crate::endpoint::Endpoint;
use crate::live::{Generation, Meta, State};

/// What was seen of one certificate.
#[derive(Debug, Default)]
pub struct Seen {
    /// What is live, and what is known about it.
    pub current: Option<(Generation, Meta)>,
    /// When it is due.
    pub due: Option<Due>,
    /// One was asked for, and what was asked for is still what is wanted.
    pub under_way: bool,
    /// A certificate that was issued and waits to become live.
    pub waiting: Option<Certificate>,
    /// What is under way is live and proven: it only has to be forgotten.
    pub done: bool,
    /// What consumers show.
    pub shown: Vec<(String, Endpoint, Shown)>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Tell the consumers of what is live, and prove it.
    Finish,
    /// Make live what was issued before.
    Deploy,
    /// Ask for a new one, and make it live.
    Obtain,
}

impl Action {
    /// As records have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Nothing => "nothing",
            Action::Finish => "finish",
            Action::Deploy => "deploy",
            Action::Obtain => "obtain",
        }
    }
}

/// Decides, with the reason.
pub fn plan(spec: &CertSpec, seen: &Seen, force: bool, now: Timestamp) -> (Action, String) {
    let Some((current, meta)) = &seen.current else {
        return match (&seen.waiting, force) {
            (Some(_), false) => (Action::Deploy, "it was issued and is not live yet".to_owned()),
            _ => (Action::Obtain, "there is none yet".to_owned()),
        };
    };
    let Some(leaf) = current.leaf() else { return (Action::Obtain, "there is none yet".to_owned()) };
    if force {
        return (Action::Obtain, "it was asked for".to_owned());
    }
    let is_due = seen.due.is_some_and(|due| due.is_due(now));
    let unproven = meta.state == State::Staged;
    if unproven && !is_due {
        return (Action::Finish, "a run ended before the consumers were seen to show it".to_owned());
    }
    if seen.waiting.is_some() {
        return (Action::Deploy, "it was issued and is not live yet".to_owned());
    }
    if seen.under_way && !unproven {
        return (Action::Obtain, "it was asked for before, and is under way".to_owned());
    }
    let lacking = lacking(leaf, &spec.names);
    if !lacking.is_empty() {
        return (Action::Obtain, format!("it is not for {}", lacking.join(", ")));
    }
    if !is_of_type(&leaf.key, spec.key_type) {
        return (Action::Obtain, format!("its key is {}, and another kind is asked for", leaf.key));
    }
    if let Some(due) = seen.due.filter(|_| is_due) {
        return (Action::Obtain, format!("due since {} ({})", due.renew_at, due.reason));
    }
    let other = seen.shown.iter().find(|(_, _, shown)| match shown {
        Shown::Leaf(shown) => shown.sha256() != leaf.sha256(),
        Shown::Refused(_) => true,
        Shown::Down(_) => false,
    });
    if let Some((consumer, endpoint, _)) = other {
        return (Action::Finish, format!("{consumer} at {endpoint} does not show it"));
    }
    let until = seen.due.map_or_else(String::new, |due| format!(" before {} ({})", due.renew_at, due.reason));
    (Action::Nothing, format!("not due{until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> CertSpec {
        toml::from_str("names = ['a.example.test']\nissuer = 'inside'").unwrap()
    }

    fn leaf(name: &str) -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        Certificate::from_der(made.cert.der()).unwrap()
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn seen(state: State, name: &str, due: &str) -> Seen {
        let current = Generation { number: 1, directory: "/nowhere".into(), chain: vec![leaf(name)] };
        let meta = Meta { state, ..Meta::staged("inside", now()) };
        let due = Due { renew_at: due.parse().unwrap(), reason: "lifetime" };
        Seen { current: Some((current, meta)), due: Some(due), ..Seen::default() }
    }

    const LATER: &str = "2026-07-01T00:00:00Z";
    const PAST: &str = "2026-05-01T00:00:00Z";

    #[test]
    fn what_is_there_fits_and_is_not_due_is_left_alone() {
        let (action, why) = plan(&spec(), &seen(State::Live, "a.example.test", LATER), false, now());
        assert_eq!(action, Action::Nothing);
        assert!(why.contains(LATER), "{why}");
    }

    #[test]
    fn each_reason_for_a_new_one_is_told() {
        let obtain = |seen: &Seen, force: bool, why: &str| {
            let (action, reason) = plan(&spec(), seen, force, now());
            assert_eq!(action, Action::Obtain, "{reason}");
            assert!(reason.contains(why), "{reason}");
        };
        obtain(&Seen::default(), false, "none yet");
        obtain(&seen(State::Live, "b.example.test", LATER), false, "not for a.example.test");
        obtain(&seen(State::Live, "a.example.test", PAST), false, "due since");
        obtain(&seen(State::Staged, "a.example.test", PAST), false, "due since");
        obtain(&seen(State::Live, "a.example.test", LATER), true, "asked for");
        let other = CertSpec { key_type: crate::key::KeyType::P384, ..spec() };
        let (action, why) = plan(&other, &seen(State::Live, "a.example.test", LATER), false, now());
        assert_eq!((action, why.contains("P-256")), (Action::Obtain, true), "{why}");
    }

    #[test]
    fn what_was_asked_for_is_gone_on_with() {
        let seen = Seen { under_way: true, ..seen(State::Live, "a.example.test", LATER) };
        let (action, why) = plan(&spec(), &seen, false, now());
        assert_eq!((action, why.contains("under way")), (Action::Obtain, true), "{why}");
    }

    #[test]
    fn what_was_issued_is_not_asked_for_again() {
        let waiting = Some(leaf("a.example.test"));
        let seen = Seen { waiting: waiting.clone(), ..seen(State::Live, "a.example.test", PAST) };
        assert_eq!(plan(&spec(), &seen, false, now()).0, Action::Deploy);
        assert_eq!(plan(&spec(), &Seen { waiting, ..Seen::default() }, false, now()).0, Action::Deploy);
    }

    #[test]
    fn what_a_killed_run_left_and_what_is_not_shown_is_finished() {
        assert_eq!(plan(&spec(), &seen(State::Staged, "a.example.test", LATER), false, now()).0, Action::Finish);
        let mut seen = seen(State::Live, "a.example.test", LATER);
        let at = |shown| vec![("web".to_owned(), "127.0.0.1:443".parse().unwrap(), shown)];
        seen.shown = at(Shown::Leaf(Box::new(leaf("a.example.test"))));
        let (action, why) = plan(&spec(), &seen, false, now());
        assert_eq!((action, why.contains("web at 127.0.0.1:443")), (Action::Finish, true), "{why}");
        seen.shown = at(Shown::Down("refused".to_owned()));
        assert_eq!(plan(&spec(), &seen, false, now()).0, Action::Nothing);
        seen.shown = at(Shown::Leaf(Box::new(seen.current.as_ref().unwrap().0.chain[0].clone())));
        assert_eq!(plan(&spec(), &seen, false, now()).0, Action::Nothing);
    }
}
