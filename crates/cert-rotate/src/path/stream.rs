//! A question as one stream of bytes, for the fuzz target and for the test of its corpus: certificates and lists in DER, one
//! after another, the first of them the leaf.

use jiff::Timestamp;

use super::der::Der;
use super::search::{Effort, Known, Rule};
use super::{Crl, Purpose, Question, Revocation, chain, covers, form, judge};
use crate::certificate::Certificate;

/// Judges what is in the stream in every way there is. It must come back, whatever the stream.
///
/// A changed certificate has no good signature any more, and a search would end there. So the certificates are also taken
/// for a path as they stand.
pub fn exercise(stream: &[u8]) {
    let (certificates, crls) = read(stream);
    let Some((leaf, others)) = certificates.split_first() else { return };
    let roots: Vec<Certificate> = certificates.iter().filter(|certificate| certificate.self_issued).cloned().collect();
    for (purpose, revocation) in [
        (Purpose::Server, Revocation::Require),
        (Purpose::Client, Revocation::IfKnown),
        (Purpose::Any, Revocation::Ignore),
    ] {
        let at = leaf.not_before;
        let question = Question { leaf, intermediates: others, roots: &roots, crls: &crls, at, purpose, revocation };
        let _ = judge(&question);
        let Ok(known) = Known::read(&question) else { continue };
        let path: Vec<usize> = (0..known.facts.len()).collect();
        let rule = Rule { purpose, revocation, root: None, open: Vec::new() };
        let _ = chain::check(&known, &path, &rule, &mut Effort::new());
    }
    let _ = form::complaints(&certificates);
    let _ = covers(leaf, "a.test");
    let _ = leaf.is_valid_at(Timestamp::MAX);
}

/// The certificates and lists of a stream; what is neither is passed over.
pub(super) fn read(stream: &[u8]) -> (Vec<Certificate>, Vec<Crl>) {
    let (mut certificates, mut crls) = (Vec::new(), Vec::new());
    let mut der = Der::new(stream);
    while let Ok(item) = der.item() {
        match Certificate::from_der(item.raw) {
            Ok(certificate) => certificates.push(certificate),
            Err(_) => crls.extend(Crl::all(item.raw).unwrap_or_default()),
        }
    }
    (certificates, crls)
}
