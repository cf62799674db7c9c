//! `validate`: is it good, for whom, and if not, why.
//!
//! One record for each certificate that speaks for somebody, in a file or on a server, with both verdicts; and one finding
//! for each thing that is wrong. What could not be looked at is unknown, and a target without any certificate as well: a
//! check of nothing is not a check that passed.

mod files;
mod servers;

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::{Severity, Status};
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::cli::ValidateArgs;
use crate::endpoint::Endpoint;
use crate::inspect::passphrase;
use crate::key::PrivateKey;
use crate::lint::Role;
use crate::path::Crl;
use crate::read::{self, targets};
use crate::verdict::{Finding, Lists, Rules, Subject, Trust, Verdict, ask_responders, judge};
use crate::work::Work;

/// `--crl` with this word stands for the lists that the certificates name.
const FETCH: &str = "fetch";

/// A target, or a part of one, that could not be judged.
struct Unseen {
    subject: String,
    status: Status,
    code: &'static str,
    message: String,
}

/// What a target turned out to be.
type Looked = Result<Box<Subject>, Unseen>;

/// Validates every target.
///
/// # Errors
/// There is no target, or what to judge by cannot be read: roots, lists, the key.
pub fn run(args: &ValidateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let targets = targets(&args.targets)?;
    work.subject = match targets.as_slice() {
        [] => {
            return Err(Failure::usage("there is nothing to validate")
                .hint("name files, directories or HOST:PORT, or write `-` to read them from stdin"));
        }
        [one] => one.clone(),
        more => format!("{} targets", more.len()),
    };
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    let trust = match args.roots.parse() {
        Ok(roots) => Trust::load(&roots)?,
    };
    let key = args.key.as_deref().map(|path| key(path, passphrase.as_ref())).transpose()?;
    let mut crls = lists(args)?;

    let mut seen = Vec::new();
    let mut endpoints = Vec::new();
    for target in &targets {
        match place(target) {
            Ok(Place::File(path)) => seen.push((target, files::look(path, passphrase.as_ref()))),
            Ok(Place::Server(endpoint)) => {
                endpoints.push(endpoint);
                // It is asked later, with all others at once.
                seen.push((target, Vec::new()));
            }
            Err(unseen) => seen.push((target, vec![Err(unseen)])),
        }
    }
    let mut answers = servers::look(endpoints, args.timeout.0, work).into_iter();

    let mut fetched = Lists::default();
    let fetch = args.crl.iter().any(|list| list == FETCH);
    for (_, mut looked) in seen {
        if looked.is_empty() {
            looked = answers.next().unwrap_or_default();
        }
        for one in looked {
            if work.cancel.is_cancelled() || work.run.reader_is_gone() {
                return Ok(());
            }
            let mut subject = match one {
                Ok(subject) => *subject,
                Err(unseen) => {
                    work.run.emit(
                        &Record::new(Kind::Check, unseen.subject, unseen.status, unseen.message)
                            .field("code", unseen.code),
                    );
                    continue;
                }
            };
            expect(&mut subject, args, key.as_ref());
            let unreachable = if fetch { fetched.fetch(&subject, &mut crls, args.timeout.0, work) } else { Vec::new() };
            let rules = Rules {
                trust: &trust,
                crls: &crls,
                revocation: !args.crl.is_empty(),
                at: work.now,
                purpose: args.purpose,
                strict: args.strict,
            };
            let mut verdict = judge(&subject, &rules);
            verdict.add(unreachable);
            let asked = ask_responders(&subject, &verdict, args.ocsp, args.timeout.0, work);
            verdict.add(asked);
            tell(&subject, &verdict, work);
        }
    }
    Ok(())
}

enum Place<'a> {
    File(&'a Path),
    Server(Endpoint),
}

/// What is there is a file, whatever it is called; what has a slash was meant to be one.
fn place(target: &str) -> Result<Place<'_>, Unseen> {
    let path = Path::new(target);
    if path.exists() || target.contains('/') {
        return Ok(Place::File(path));
    }
    target.parse().map(Place::Server).map_err(|why| Unseen {
        subject: target.to_owned(),
        status: Status::Unknown,
        code: "unreadable",
        message: format!("there is no file of this name, and it is no server: {why}"),
    })
}

fn key(path: &Path, passphrase: Option<&maint_core::secret::Secret>) -> Result<PrivateKey, Failure> {
    let read = read::file(path, passphrase)?;
    let problem = read.problems.into_iter().next();
    read.keys.into_iter().next().ok_or_else(|| {
        let why = problem.unwrap_or_else(|| "there is none in it".to_owned());
        Failure::usage(format!("no private key can be read from {}: {why}", path.display()))
    })
}

fn lists(args: &ValidateArgs) -> Result<Vec<Crl>, Failure> {
    let mut all = Vec::new();
    for file in args.crl.iter().filter(|list| *list != FETCH) {
        let bytes = std::fs::read(file)
            .map_err(|error| Failure::usage(format!("cannot read the revocation list {file}: {error}")))?;
        all.extend(Crl::all(&bytes).map_err(|error| Failure::usage(format!("{file}: {error}")))?);
    }
    Ok(all)
}

/// Adds what the command line expects of it.
fn expect(subject: &mut Subject, args: &ValidateArgs, key: Option<&PrivateKey>) {
    if let Some(name) = &args.name {
        subject.names = vec![name.clone()];
    }
    if subject.role == Role::Subscriber && key.is_some_and(|key| !key.is_of(&subject.leaf)) {
        subject.findings.push(wrong_key(&subject.leaf, "the key that was named"));
    }
}

fn wrong_key(leaf: &Certificate, key: &str) -> Finding {
    Finding::new("wrong-key", Status::Critical, format!("{key} is not that of {}", leaf.title()), 0)
}

fn tell(subject: &Subject, verdict: &Verdict, work: &Work<'_>) {
    let Subject { source, leaf, .. } = subject;
    let worst = verdict.findings.first().filter(|finding| finding.status.severity() > Severity::Ok);
    let status = worst.map_or(Status::Ok, |finding| finding.status);
    let message = match worst {
        Some(finding) => finding.message.clone(),
        None => format!("{} is good until {}", leaf.title(), leaf.not_after),
    };
    let chain: Vec<Value> = verdict
        .chain
        .iter()
        .map(|one| json!({"subject": one.subject, "not_after": one.not_after, "sha256": one.fingerprint()}))
        .collect();
    let mut record = Record::new(Kind::Check, source, status, message);
    if let Some(finding) = worst {
        record = record.field("code", finding.code);
    }
    work.run.emit(
        &record
            // A server may show one certificate for each kind of key.
            .label("key", leaf.key.to_string())
            .field("strict", &verdict.strict)
            .field("webpki", &verdict.webpki)
            .field("subject", &leaf.subject)
            .field("issuer", &leaf.issuer)
            .field("not_before", leaf.not_before)
            .field("not_after", leaf.not_after)
            .field("remaining_seconds", leaf.not_after.duration_since(work.now).as_secs())
            .field("sha256", leaf.fingerprint())
            .field("key", leaf.key.to_string())
            .field("names", leaf.names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .field("depth", verdict.chain.len().saturating_sub(1))
            .field("chain", chain),
    );
    for (number, finding) in verdict.findings.iter().enumerate() {
        let record = Record::new(Kind::Finding, source, finding.status, &finding.message)
            .label("code", finding.code)
            .label("depth", finding.depth.to_string())
            .field("code", finding.code)
            .field("depth", finding.depth)
            .field("sha256", leaf.fingerprint());
        // People have read the worst above already; and what is only worth knowing is for those who take every event.
        if number == 0 || finding.status.severity() == Severity::Ok {
            work.run.detail(&record);
        } else {
            work.run.emit(&record);
        }
    }
}
