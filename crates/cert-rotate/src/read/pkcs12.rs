//! PKCS #12 (RFC 7292).

use maint_core::secret::Secret;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::{Entry, Read, der};
use crate::tlv::{self, INTEGER, SEQUENCE};

/// Version 3 and a ContentInfo: nothing else begins so.
pub(super) fn looks_like(content: &[u8]) -> bool {
    let Some((whole, _)) = tlv::first(content) else { return false };
    let mut values = tlv::all(whole.content);
    let version = values.next().is_some_and(|value| value.tag == INTEGER && value.content == [3]);
    let content = values.next().filter(|value| value.tag == SEQUENCE);
    version && content.and_then(|info| tlv::first(info.content)).is_some_and(|(kind, _)| kind.tag == tlv::OID)
}

/// "No passphrase" is two things: the empty text, which ends in two bytes of zero when it is hashed, and nothing at all. Of the
/// latter the library knows nothing; without its digest at the end, which then protects nobody, such a store can be read.
fn open(store: &[u8], passphrase: &str) -> Result<Pkcs12Archive, Error> {
    let opened = Pkcs12Archive::from_pkcs12(store, passphrase);
    match (&opened, without_digest(store)) {
        (Err(Error::MacError(_)), Some(open)) if passphrase.is_empty() => {
            Pkcs12Archive::from_pkcs12(&open, passphrase).or(opened)
        }
        _ => opened,
    }
}

/// The version and the content, without the MacData after them.
fn without_digest(store: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (whole, _) = tlv::first(store)?;
    let mut values = tlv::all(whole.content);
    let (version, content) = (values.next()?.whole, values.next()?.whole);
    let start = tlv::header(SEQUENCE, version.len() + content.len());
    let mut open = Zeroizing::new(Vec::with_capacity(start.len() + version.len() + content.len()));
    for part in [&start, version, content] {
        open.extend_from_slice(part);
    }
    Some(open)
}

/// Adds what is in a store. Without a passphrase the empty one is tried, which many trust stores have.
pub(super) fn add(read: &mut Read, content: &[u8], passphrase: Option<&Secret>) {
    let whole = tlv::first(content).map_or(content, |(value, _)| value.whole);
    let archive = match open(whole, passphrase.map_or("", Secret::expose)) {
        Ok(archive) => archive,
        Err(Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError) => {
            read.locked = true;
            read.problems.push(match passphrase {
                Some(_) => "the passphrase does not open the keystore".to_owned(),
                None => "the keystore is encrypted; give a file with its passphrase".to_owned(),
            });
            return;
        }
        Err(error) => {
            read.problems.push(format!("the keystore does not hold: {error}"));
            return;
        }
    };
    let mut entries = Vec::new();
    for bag in &archive.certs {
        let alias = bag.friendly_name.clone().unwrap_or_default();
        match der::certificate(read, bag.cert.as_der()) {
            Ok(()) => {
                let certificates = vec![read.certificates.len() - 1];
                entries.push(Entry { alias, certificates, ..Entry::default() });
            }
            Err(why) => read.problems.push(format!("the certificate `{alias}`: {why}")),
        }
    }
    for bag in &archive.keys {
        let alias = bag.friendly_name.clone().unwrap_or_default();
        match der::usable_of(&PrivateKeyDer::Pkcs8(bag.key.as_der().into()), &read.certificates) {
            Ok(key) => {
                // Which certificate is the key's is said by the key, whatever the store notes about it.
                let theirs = |entry: &Entry| {
                    entry.key.is_none()
                        && entry
                            .certificates
                            .iter()
                            .filter_map(|at| read.certificates.get(*at))
                            .any(|cert| key.is_of(cert))
                };
                let at = Some(read.keys.len());
                match entries.iter_mut().find(|entry| theirs(entry)) {
                    Some(entry) => {
                        entry.key = at;
                        if !alias.is_empty() {
                            entry.alias = alias;
                        }
                    }
                    None => entries.push(Entry { alias, key: at, ..Entry::default() }),
                }
                read.keys.push(key);
                // Whoever can read the file has the key.
                read.bare_keys += usize::from(passphrase.is_none_or(|passphrase| passphrase.expose().is_empty()));
            }
            Err(why) => read.problems.push(format!("the private key `{alias}`: {why}")),
        }
    }
    if !archive.secrets.is_empty() {
        read.problems.push(format!("{} secret keys in it are not read here", archive.secrets.len()));
    }
    read.entries = entries;
}
