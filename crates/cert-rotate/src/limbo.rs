//! `validate --limbo FILE`: answers a suite of test cases in the schema of x509-limbo.
//!
//! The suite is how validators are compared, so the answers are the strict ones: a good path, a name that is covered, and a
//! form without complaints. The answer is a document of that schema and not a stream of records, hence written as it is.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use maint_core::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, SanName};
use crate::cli::Purpose;
use crate::path::{Crl, Problem, Question, Revocation, covers, form, judge};
use crate::work::Work;

#[derive(Deserialize)]
struct Suite<'a> {
    version: u32,
    #[serde(borrow)]
    testcases: Vec<Case<'a>>,
}

/// A test case; what is not of use here is not read.
#[derive(Deserialize)]
struct Case<'a> {
    id: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(borrow)]
    trusted_certs: Vec<Text<'a>>,
    #[serde(borrow)]
    untrusted_intermediates: Vec<Text<'a>>,
    peer_certificate: String,
    validation_time: Option<Timestamp>,
    #[serde(default)]
    signature_algorithms: Vec<String>,
    #[serde(default)]
    extended_key_usage: Vec<String>,
    expected_peer_name: Option<Peer>,
    #[serde(default)]
    expected_peer_names: Vec<Peer>,
    max_chain_depth: Option<usize>,
    #[serde(borrow, default)]
    crls: Vec<Text<'a>>,
}

/// Text that is borrowed from the suite where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[derive(Deserialize)]
struct Peer {
    kind: Kind,
    value: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Dns,
    Ip,
    Rfc822,
}

#[derive(Serialize)]
struct Answers {
    version: u32,
    harness: String,
    results: Vec<Answer>,
}

#[derive(Serialize)]
struct Answer {
    id: String,
    actual_result: Verdict,
    context: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "UPPERCASE")]
enum Verdict {
    Success,
    Failure,
    Skipped,
}

/// Answers the suite in `file` on stdout.
///
/// # Errors
/// It cannot be read, is of another schema, or the answer cannot be written.
pub fn run(file: &Path, work: &mut Work<'_>) -> Result<(), Failure> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let suite: Suite<'_> = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{shown} is no suite of x509-limbo: {error}")))?;
    if suite.version != 1 {
        return Err(Failure::usage(format!("{shown} is of version {} of the schema, not 1", suite.version)));
    }
    let mut reader = Reader::default();
    let results = suite.testcases.iter().map(|case| answer(case, &mut reader, work.now)).collect();
    let answers = Answers { version: 1, harness: format!("{}-{}", crate::TOOL, env!("CARGO_PKG_VERSION")), results };
    let cannot = |error: &dyn std::fmt::Display| Failure::critical(format!("cannot write the answers: {error}"));
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &answers).map_err(|error| cannot(&error))?;
    writeln!(stdout).and_then(|()| stdout.flush()).map_err(|error| cannot(&error))
}

/// What was read already: a suite's cases share most of their certificates.
#[derive(Default)]
struct Reader {
    certificates: HashMap<String, Vec<Certificate>>,
    crls: HashMap<String, Vec<Crl>>,
}

impl Reader {
    /// What cannot be read proves nothing, and does no harm: it is as if it were not there.
    fn certificates(&mut self, texts: &[Text<'_>]) -> Vec<Certificate> {
        let mut all = Vec::new();
        for Text(text) in texts {
            if !self.certificates.contains_key(text.as_ref()) {
                let read = Certificate::all_from_pem(text.as_bytes()).unwrap_or_default();
                self.certificates.insert(text.to_string(), read);
            }
            all.extend(self.certificates.get(text.as_ref()).into_iter().flatten().cloned());
        }
        all
    }

    fn crls(&mut self, texts: &[Text<'_>]) -> Vec<Crl> {
        let mut all = Vec::new();
        for Text(text) in texts {
            if !self.crls.contains_key(text.as_ref()) {
                self.crls.insert(text.to_string(), Crl::all(text.as_bytes()).unwrap_or_default());
            }
            all.extend(self.crls.get(text.as_ref()).into_iter().flatten().cloned());
        }
        all
    }
}

fn answer(case: &Case<'_>, reader: &mut Reader, now: Timestamp) -> Answer {
    let (actual_result, context) = match verdict(case, reader, now) {
        Ok(None) => (Verdict::Success, None),
        Ok(Some(why)) => (Verdict::Failure, Some(why)),
        Err(why) => (Verdict::Skipped, Some(why)),
    };
    Answer { id: case.id.clone(), actual_result, context }
}

/// What is wrong, if anything; an error when the case asks for what we do not do.
fn verdict(case: &Case<'_>, reader: &mut Reader, now: Timestamp) -> Result<Option<String>, String> {
    if !case.signature_algorithms.is_empty() {
        return Err("which algorithms are good enough cannot be chosen".to_owned());
    }
    let purpose = match case.extended_key_usage.as_slice() {
        [] => Purpose::Any,
        [one] if one == "serverAuth" => Purpose::Server,
        [one] if one == "clientAuth" => Purpose::Client,
        [one] if one == "anyExtendedKeyUsage" => Purpose::Any,
        other => return Err(format!("the purpose {} is none of TLS", other.join(", "))),
    };
    let leaf = match Certificate::all_from_pem(case.peer_certificate.as_bytes()).as_deref() {
        Ok([leaf]) => leaf.clone(),
        Ok(_) => return Ok(Some("there is not exactly one certificate".to_owned())),
        Err(error) => return Ok(Some(error.to_string())),
    };
    let roots = reader.certificates(&case.trusted_certs);
    let intermediates = reader.certificates(&case.untrusted_intermediates);
    let crls = reader.crls(&case.crls);
    let revocation = if crls.is_empty() { Revocation::Ignore } else { Revocation::Require };
    let at = case.validation_time.unwrap_or(now);
    let question =
        Question { leaf: &leaf, intermediates: &intermediates, roots: &roots, crls: &crls, at, purpose, revocation };
    let path = match judge(&question) {
        Ok(path) => path,
        Err(problems) => return Ok(Some(told(&problems))),
    };
    if let Some(limit) = case.max_chain_depth
        && path.len().saturating_sub(2) > limit
    {
        return Ok(Some(format!("the path has more than {limit} certificates between leaf and root")));
    }
    let names = case.expected_peer_name.iter().chain(&case.expected_peer_names);
    if let Some(name) = names.into_iter().find(|name| !is_for(&leaf, name)) {
        return Ok(Some(format!("the certificate is not for {}", name.value)));
    }
    if case.features.iter().any(|feature| feature == PATH_ONLY) {
        return Ok(None);
    }
    let complaints = form::complaints(&path);
    Ok((!complaints.is_empty()).then(|| told(&complaints)))
}

/// Problems, one a line.
fn told(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|one| format!("{}: {}", one.code, one.message)).collect();
    lines.join("\n")
}

/// A feature of our own: judge the path, and not its certificates' form.
const PATH_ONLY: &str = "path-only";

fn is_for(leaf: &Certificate, peer: &Peer) -> bool {
    match peer.kind {
        Kind::Dns | Kind::Ip => covers(leaf, &peer.value),
        Kind::Rfc822 => leaf.names.contains(&SanName::Other(format!("email:{}", peer.value))),
    }
}
