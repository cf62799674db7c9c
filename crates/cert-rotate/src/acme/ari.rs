//! When the authority advises to renew a certificate (ACME Renewal Information, RFC 9773).
//!
//! It suggests a window, and every client picks a moment in it by chance, so that not all come at once. The moment is
//! picked once and kept: picking again at every look would make an early one ever more likely. Only another window is
//! reason for another moment. What cannot be learned is no error, because a certificate's lifetime says enough.

use std::sync::atomic::Ordering;

use instant_acme::CertificateIdentifier;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SecureRandom as _;
use serde::{Deserialize, Serialize};

use super::client::Client;
use crate::certificate::Certificate;
use crate::due;

/// How long an answer holds when the authority does not say (RFC 9773, 4.3.3 asks for a day at most and a minute at
/// least).
const USUAL: SignedDuration = SignedDuration::from_hours(6);
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// What is known of one certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Advice {
    /// The window and the moment that was picked in it; none when the authority had none to tell.
    pub(crate) window: Option<Window>,
    /// Not to be asked again before.
    pub(crate) ask_at: Timestamp,
    /// When the certificate ends.
    pub(crate) until: Timestamp,
}

/// A window, and the moment in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    start: Timestamp,
    end: Timestamp,
    picked: Timestamp,
}

/// The answer's layout (RFC 9773, 4.2).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    suggested_window: Suggested,
}

#[derive(Debug, Deserialize)]
struct Suggested {
    start: Timestamp,
    end: Timestamp,
}

/// How the protocol names a certificate; `None` for one without an authority key identifier.
pub(crate) fn identifier(leaf: &Certificate) -> Option<CertificateIdentifier<'static>> {
    CertificateIdentifier::try_from(leaf.der()).ok().map(CertificateIdentifier::into_owned)
}

/// The moment that the authority's advice means for this certificate; asks it when the last answer is too old.
pub(crate) async fn advice(client: &Client<'_>, leaf: &Certificate) -> Option<Timestamp> {
    let now = Timestamp::now();
    let id = identifier(leaf)?.to_string();
    let known = client.state.read().advice.remove(&id);
    let picked = |advice: &Advice| advice.window.as_ref().map(|window| window.picked);
    if let Some(known) = &known
        && (now < known.ask_at || due::end(leaf) <= now)
    {
        return picked(known);
    }
    // After its end nobody may be bothered with it any more (RFC 9773, 4.3).
    if due::end(leaf) <= now {
        return None;
    }
    let before = known.and_then(|known| known.window);
    if client.down.load(Ordering::Relaxed) {
        return before.map(|window| window.picked);
    }
    let (window, retry_after) = match ask(client, &id).await {
        Ok(Some((answer, retry_after))) => (pick(&answer.suggested_window, before, chance()), retry_after),
        Ok(None) => return None,
        Err((why, retry_after)) => {
            tracing::info!("no advice on {}: {why}", leaf.title());
            (before, retry_after)
        }
    };
    let pause = retry_after.map_or(USUAL, |at| at.duration_since(now)).clamp(SHORTEST, LONGEST);
    let ask_at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
    let advice = Advice { window, ask_at, until: due::end(leaf) };
    let moment = picked(&advice);
    if let Err(failure) = client.state.change(|state| state.advice.insert(id, advice)) {
        // A moment that is not kept would be picked again and again.
        tracing::warn!("advice on {} is not used, because it cannot be kept: {failure}", leaf.title());
        return None;
    }
    moment
}

type Refused = (String, Option<Timestamp>);

/// `None` when the authority gives no advice at all.
async fn ask(client: &Client<'_>, id: &str) -> Result<Option<(Answer, Option<Timestamp>)>, Refused> {
    let down = |why: String| {
        client.down.store(true, Ordering::Relaxed);
        (why, None)
    };
    let directory = client.directory().await.map_err(|failure| down(failure.to_string()))?;
    let Some(url) = directory.renewal_info else { return Ok(None) };
    let url = format!("{}/{id}", url.trim_end_matches('/'));
    let said = client.wire.get(&url).await.map_err(|error| down(error.to_string()))?;
    if said.status != 200 {
        return Err((format!("{url}: HTTP status {}", said.status), said.retry_after));
    }
    let answer: Answer =
        serde_json::from_slice(&said.body).map_err(|error| (format!("{url}: {error}"), said.retry_after))?;
    if answer.suggested_window.end <= answer.suggested_window.start {
        return Err((format!("{url}: the window ends before it begins"), said.retry_after));
    }
    Ok(Some((answer, said.retry_after)))
}

/// The moment in a window: the one that was picked before as long as the window is the same, else at `chance`, which is
/// between 0 and 1.
fn pick(suggested: &Suggested, before: Option<Window>, chance: f64) -> Option<Window> {
    let (start, end) = (suggested.start, suggested.end);
    if let Some(before) = before
        && (before.start, before.end) == (start, end)
    {
        return Some(before);
    }
    let into = SignedDuration::try_from_secs_f64(end.duration_since(start).as_secs_f64() * chance).ok()?;
    Some(Window { start, end, picked: start.saturating_add(into).ok()? })
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness any moment is as good as another.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str) -> Suggested {
        Suggested { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    #[test]
    fn the_moment_is_picked_once_for_a_window() {
        let day = window("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z");
        let first = pick(&day, None, 0.5).unwrap();
        assert_eq!(first.picked.to_string(), "2026-11-26T12:00:00Z");
        assert_eq!(pick(&day, Some(first.clone()), 0.1).unwrap(), first);
        let moved = window("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
        assert_eq!(pick(&moved, Some(first), 0.25).unwrap().picked.to_string(), "2026-11-20T06:00:00Z");
    }

    #[test]
    fn the_moment_is_inside_of_the_window() {
        let day = window("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z");
        for _ in 0..1000 {
            let picked = pick(&day, None, chance()).unwrap().picked;
            assert!(day.start <= picked && picked <= day.end);
        }
    }

    #[test]
    fn an_answer_of_the_standard_is_read() {
        let text = r#"{"suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00+00:00"},
            "explanationURL": "https://acme.example.com/docs/ari"}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert!(answer.suggested_window.start < answer.suggested_window.end);
    }
}
