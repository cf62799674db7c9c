//! What a certificate must be before it may become live.
//!
//! Reading it off the wire of a server that is already broken would be too late, and a server does not check all of this
//! anyway: nginx starts happily with last year's certificate.

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::{Certificate, PublicKeyKind, SanName};
use crate::config::CertSpec;
use crate::key::{KeyType, PrivateKey};
use crate::roots::Roots;

/// Why a certificate may not become live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable, for programs.
    pub code: &'static str,
    /// For a person.
    pub message: String,
}

fn problem(code: &'static str, message: impl Into<String>) -> Problem {
    Problem { code, message: message.into() }
}

/// A certificate that wants to become live.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The chain, leaf first.
    pub chain: &'a [Certificate],
    /// Its key.
    pub key: &'a PrivateKey,
    /// What it must be.
    pub spec: &'a CertSpec,
    /// What its chain must end at.
    pub roots: &'a Roots,
    /// What it takes the place of.
    pub replaces: Option<&'a [Certificate]>,
    /// It may end before what it replaces: it is asked for by name.
    pub may_end_earlier: bool,
    /// The time to judge by.
    pub now: Timestamp,
}

/// Everything that speaks against it; nothing, when it may become live.
pub fn judge(candidate: &Candidate<'_>) -> Vec<Problem> {
    let Some((leaf, above)) = candidate.chain.split_first() else {
        return vec![problem("chain-empty", "there is no certificate in the chain")];
    };
    let mut problems = Vec::new();
    if !candidate.key.is_of(leaf) {
        problems.push(problem("key-mismatch", "the private key is not the certificate's"));
    }
    let lacking = lacking(leaf, &candidate.spec.names);
    if !lacking.is_empty() {
        problems.push(problem("names-missing", format!("it is not for {}", lacking.join(", "))));
    }
    let now = candidate.now;
    if now < leaf.not_before {
        problems.push(problem("not-yet-valid", format!("it is valid from {} on only", leaf.not_before)));
    } else if !leaf.is_valid_at(now) {
        problems.push(problem("expired", format!("it was valid until {}", leaf.not_after)));
    } else if let Err(why) = trusted(leaf, above, candidate.roots, now) {
        let root = candidate.roots;
        problems.push(problem("chain-untrusted", format!("no chain from it to a root of {root}: {why}")));
    }
    if let Some(current) = candidate.replaces
        && let Some(current_leaf) = current.first()
    {
        if leaf.not_after < current_leaf.not_after && !candidate.may_end_earlier {
            let message = format!("it ends at {}, before the current one ({})", leaf.not_after, current_leaf.not_after);
            problems.push(problem("ends-earlier", message));
        }
        if is_staging(candidate.chain) && !is_staging(current) {
            let message = format!("a staging authority ({}) signed it, and the current one is real", leaf.issuer);
            problems.push(problem("staging-issuer", message));
        }
        if strength(&leaf.key) < strength(&current_leaf.key) && !is_of_type(&leaf.key, candidate.spec.key_type) {
            let message = format!("its key ({}) is weaker than the current one's ({})", leaf.key, current_leaf.key);
            problems.push(problem("key-weaker", message));
        }
    }
    problems
}

/// The wanted names that a certificate is not for. A wildcard is for itself, and for every name with one more label.
pub fn lacking(leaf: &Certificate, wanted: &[String]) -> Vec<String> {
    let has = |name: &str| {
        let lower = name.to_ascii_lowercase();
        leaf.names.iter().any(|san| match san {
            SanName::Dns(dns) => {
                let below = dns.strip_prefix("*.").zip(lower.split_once('.'));
                *dns == lower || below.is_some_and(|(parent, (label, rest))| parent == rest && label != "*")
            }
            SanName::Ip(address) => name.parse() == Ok(*address),
            SanName::Other(_) => false,
        })
    };
    wanted.iter().filter(|name| !has(name)).cloned().collect()
}

/// Whether a key is what the configuration calls this type.
pub fn is_of_type(key: &PublicKeyKind, wanted: KeyType) -> bool {
    *key == match wanted {
        KeyType::P256 => PublicKeyKind::Ec(256),
        KeyType::P384 => PublicKeyKind::Ec(384),
        KeyType::Ed25519 => PublicKeyKind::Ed25519,
        KeyType::Rsa2048 => PublicKeyKind::Rsa(2048),
        KeyType::Rsa3072 => PublicKeyKind::Rsa(3072),
        KeyType::Rsa4096 => PublicKeyKind::Rsa(4096),
    }
}

/// Bits of security (NIST SP 800-57 part 1, table 2).
fn strength(key: &PublicKeyKind) -> usize {
    match key {
        PublicKeyKind::Rsa(bits) => match bits {
            7680.. => 192,
            3072.. => 128,
            2048.. => 112,
            1024.. => 80,
            _ => 0,
        },
        PublicKeyKind::Ec(bits) => bits / 2,
        PublicKeyKind::Ed25519 => 128,
        PublicKeyKind::Other(_) => 0,
    }
}

/// Staging authorities say so in their names: Let's Encrypt's are called `(STAGING) Artificial Apricot R3` and the like,
/// before that `Fake LE Intermediate X1`.
fn is_staging(chain: &[Certificate]) -> bool {
    chain.iter().any(|certificate| {
        let issuer = certificate.issuer.to_ascii_lowercase();
        issuer.contains("(staging)") || issuer.contains("fake le ")
    })
}

/// Whether rustls, with these roots, would take it from a server or from a client: consumers may be either.
fn trusted(leaf: &Certificate, above: &[Certificate], roots: &Roots, now: Timestamp) -> Result<(), String> {
    let loaded = match roots {
        Roots::Mozilla => Vec::new(),
        other => other.load().map_err(|failure| failure.message)?,
    };
    let mut anchors: Vec<_> =
        loaded.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root.der()).ok()).collect();
    if *roots == Roots::Mozilla {
        anchors.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let intermediates: Vec<_> = above.iter().map(|certificate| certificate.der().clone()).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let end_entity = EndEntityCert::try_from(leaf.der()).map_err(|error| error.to_string())?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let verify =
        |usage| end_entity.verify_for_usage(algorithms, &anchors, &intermediates, at, usage, None, None).map(drop);
    verify(KeyUsage::server_auth()).or_else(|error| verify(KeyUsage::client_auth()).map_err(|_| error.to_string()))
}

#[cfg(test)]
mod tests;
