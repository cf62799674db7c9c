//! `probe`: what servers show.
//!
//! A server may hold a certificate for each kind of key and show each client the one that it asks for. Whoever looks with
//! one client sees one of them and finds out about the other when it has expired. So every endpoint is asked again for the
//! kinds that it has not shown yet, and what it says to that is a part of the answer.

use std::sync::Arc;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::certificate::Certificate;
use crate::cli::ProbeArgs;
use crate::endpoint::Endpoint;
use crate::read::targets;
use crate::tls::{Asked, KeyFamily, Seen, TlsError, connect};
use crate::work::Work;

/// Probes the endpoints, as many at once as is allowed, and reports them in their order.
///
/// # Errors
/// A target is no endpoint, or there is none.
pub fn run(args: &ProbeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let targets = targets(&args.targets)?;
    let endpoints =
        targets.iter().map(|text| text.parse().map_err(Failure::usage)).collect::<Result<Vec<Endpoint>, Failure>>()?;
    work.subject = match targets.as_slice() {
        [] => {
            return Err(Failure::usage("there is nothing to probe")
                .hint("name endpoints as HOST:PORT, or write `-` to read them from stdin"));
        }
        [one] => one.clone(),
        more => format!("{} endpoints", more.len()),
    };
    let asked = Asked { timeout: args.timeout.0, key: None };
    work.block_on(all(endpoints, asked, args.jobs.get(), work));
    Ok(())
}

async fn all(endpoints: Vec<Endpoint>, asked: Asked, jobs: usize, work: &Work<'_>) {
    let turns = Arc::new(Semaphore::new(jobs.min(Semaphore::MAX_PERMITS)));
    let started: Vec<(Endpoint, JoinHandle<Result<Found, TlsError>>)> = endpoints
        .into_iter()
        .map(|endpoint| {
            let (turns, at) = (Arc::clone(&turns), endpoint.clone());
            let handle = tokio::spawn(async move {
                // It is never closed.
                let _turn = turns.acquire().await;
                find(&at, asked).await
            });
            (endpoint, handle)
        })
        .collect();
    let mut over = false;
    for (endpoint, handle) in started {
        if over {
            handle.abort();
            continue;
        }
        tokio::select! {
            found = handle => match found {
                Ok(found) => work.run.emit(&judge(&endpoint, found.as_ref(), work.now)),
                Err(error) => work.run.emit(&record(&endpoint, Status::Unknown, format!("not probed: {error}"))),
            },
            _ = work.cancel.cancelled() => over = true,
        }
        over |= work.run.reader_is_gone();
    }
}

/// What an endpoint shows, and what it says when it is asked for the other kinds of keys.
struct Found {
    seen: Seen,
    others: Vec<(KeyFamily, Result<Seen, TlsError>)>,
}

async fn find(endpoint: &Endpoint, asked: Asked) -> Result<Found, TlsError> {
    let seen = connect(endpoint, &asked).await?;
    let shown = seen.chain.first().and_then(|leaf| KeyFamily::of(&leaf.key));
    let mut others = Vec::new();
    // One after the other, so that an endpoint never takes more than one of the connections that are allowed.
    for family in KeyFamily::ALL.into_iter().filter(|family| Some(*family) != shown) {
        others.push((family, connect(endpoint, &Asked { key: Some(family), ..asked }).await));
    }
    Ok(Found { seen, others })
}

fn record(endpoint: &Endpoint, status: Status, message: String) -> Record {
    Record::new(Kind::Check, endpoint.to_string(), status, message)
}

/// Down is as bad as showing a certificate that nobody accepts; whether clients trust the chain is for `validate`. The
/// record is about the certificate that ends first; `served` lists them all.
fn judge(endpoint: &Endpoint, found: Result<&Found, &TlsError>, now: Timestamp) -> Record {
    let Found { seen, others } = match found {
        Ok(found) => found,
        Err(error) => return record(endpoint, Status::Critical, error.to_string()).field("code", error.code()),
    };
    let more = others.iter().filter_map(|(_, seen)| seen.as_ref().ok());
    let shown: Vec<(&Seen, &Certificate)> =
        std::iter::once(seen).chain(more).filter_map(|seen| Some((seen, seen.chain.first()?))).collect();
    // Whoever watches one number has to see the one that ends first.
    let Some((seen, leaf)) = shown.iter().copied().min_by_key(|(_, leaf)| leaf.not_after) else {
        return record(endpoint, Status::Critical, "it shows no certificate".to_owned());
    };
    let leaves: Vec<&Certificate> = shown.iter().map(|(_, leaf)| *leaf).collect();
    let keys: Vec<KeyFamily> = leaves.iter().filter_map(|leaf| KeyFamily::of(&leaf.key)).collect();
    let verdict = verdict(&leaves, others, now);
    let message = verdict.message.unwrap_or_else(|| {
        let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
        format!("{} until {}, {}, {}", leaf.title(), leaf.not_after, names.join(" and "), seen.protocol)
    });
    let chain: Vec<Value> = seen.chain.iter().map(summary).collect();
    let served: Vec<Value> = leaves
        .iter()
        .map(|leaf| {
            let mut served = summary(leaf);
            if let Some(fields) = served.as_object_mut() {
                fields.insert("key".to_owned(), json!(leaf.key.to_string()));
                fields.insert("remaining_seconds".to_owned(), json!(remaining(leaf, now)));
            }
            served
        })
        .collect();
    let record = record(endpoint, verdict.status, message);
    let record = if let Some(code) = verdict.code { record.field("code", code) } else { record };
    record
        .field("subject", &leaf.subject)
        .field("issuer", &leaf.issuer)
        .field("serial", &leaf.serial)
        .field("names", leaf.names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .field("sha256", leaf.fingerprint())
        .field("not_before", leaf.not_before)
        .field("not_after", leaf.not_after)
        .field("remaining_seconds", remaining(leaf, now))
        .field("protocol", seen.protocol)
        .field("cipher", &seen.cipher)
        .field("ocsp_stapled", seen.ocsp.is_some())
        .field("keys", keys)
        .field("served", served)
        .field("chain", chain)
        .field("address", seen.address.to_string())
        .field("duration_seconds", seen.duration.as_secs_f64())
}

/// Seconds until the last of its validity; negative when that is over.
fn remaining(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after.duration_since(now).as_secs()
}

fn summary(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_after": certificate.not_after,
        "sha256": certificate.fingerprint(),
    })
}

/// What to think of an endpoint that answers; no message when all is well.
struct Verdict {
    status: Status,
    code: Option<&'static str>,
    message: Option<String>,
}

fn verdict(leaves: &[&Certificate], others: &[(KeyFamily, Result<Seen, TlsError>)], now: Timestamp) -> Verdict {
    let of = |status, code, message| Verdict { status, code: Some(code), message: Some(message) };
    if let Some(leaf) = leaves.iter().find(|leaf| !leaf.is_valid_at(now)) {
        let (key, title) = (&leaf.key, leaf.title());
        return if now < leaf.not_before {
            let since = leaf.not_before;
            of(
                Status::Critical,
                "not-yet-valid",
                format!("its certificate for {title} ({key}) is valid only from {since} on"),
            )
        } else {
            let end = leaf.not_after;
            of(Status::Critical, "expired", format!("its certificate for {title} ({key}) expired at {end}"))
        };
    }
    // A server that refuses a kind of key has answered. One that does not answer has not.
    let silent = others.iter().find_map(|(family, seen)| match seen {
        Err(error) if error.is_down() => Some((family, error)),
        _ => None,
    });
    if let Some((family, error)) = silent {
        return of(
            Status::Warning,
            error.code(),
            format!("could not tell whether it serves {family} as well: {error}"),
        );
    }
    Verdict { status: Status::Ok, code: None, message: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::{KeyType, PrivateKey};

    /// Valid from January 2030 until the first day of this month of it.
    fn leaf(kind: KeyType, month: u8) -> Certificate {
        let key = PrivateKey::generate(kind).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, month, 1);
        Certificate::from_der(params.self_signed(key.pair()).unwrap().der()).unwrap()
    }

    fn seen(leaf: &Certificate) -> Seen {
        Seen {
            chain: vec![leaf.clone()],
            protocol: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            ocsp: None,
            address: "127.0.0.1:443".parse().unwrap(),
            duration: Duration::from_millis(3),
        }
    }

    fn judged(found: Result<&Found, &TlsError>, at: &str) -> Record {
        judge(&"a.test:443".parse().unwrap(), found, at.parse().unwrap())
    }

    #[test]
    fn every_certificate_that_is_served_counts() {
        let (ec, ed) = (leaf(KeyType::P256, 6), leaf(KeyType::Ed25519, 4));
        let refused = Err(TlsError::Alert { name: "handshake_failure".to_owned() });
        let others = vec![(KeyFamily::Rsa, refused), (KeyFamily::Ed25519, Ok(seen(&ed)))];
        let found = Found { seen: seen(&ec), others };
        let good = judged(Ok(&found), "2030-02-01T00:00:00Z");
        assert_eq!(good.status, Status::Ok, "{}", good.message);
        assert_eq!(good.fields["keys"], json!(["ecdsa", "ed25519"]));
        assert_eq!(good.fields["served"][1]["sha256"], ed.fingerprint());
        // Of the one that ends first, although it was not the first to be shown.
        assert_eq!(good.fields["sha256"], ed.fingerprint());
        assert_eq!(good.fields["remaining_seconds"], 59 * 86_400);
        assert!(!good.fields.contains_key("code"));
        for (at, code) in [("2029-12-31T23:59:59Z", "not-yet-valid"), ("2030-04-01T00:00:01Z", "expired")] {
            let bad = judged(Ok(&found), at);
            assert_eq!((bad.status, &bad.fields["code"]), (Status::Critical, &json!(code)));
        }
    }

    #[test]
    fn what_could_not_be_asked_is_not_taken_for_a_no() {
        let late = TlsError::TimedOut { stage: crate::tls::Stage::Handshake, after: Duration::from_secs(1) };
        let found = Found { seen: seen(&leaf(KeyType::P256, 4)), others: vec![(KeyFamily::Rsa, Err(late))] };
        let record = judged(Ok(&found), "2030-02-01T00:00:00Z");
        assert_eq!((record.status, &record.fields["code"]), (Status::Warning, &json!("timed-out")));
        assert!(record.message.contains("RSA"), "{}", record.message);
    }

    #[test]
    fn down_is_critical_and_named() {
        let record = judged(Err(&TlsError::Refused("127.0.0.1:443".to_owned())), "2030-02-01T00:00:00Z");
        assert_eq!((record.status, &record.fields["code"]), (Status::Critical, &json!("refused")));
    }
}
