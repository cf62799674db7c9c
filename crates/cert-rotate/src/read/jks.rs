//! Java's own keystores (the layout is that of `sun.security.provider.JavaKeyStore`).
//!
//! Read here and not by a library, because the only one there is trusts the lengths in the file: a damaged store would
//! make it ask for all memory. Certificates stand in it as they are; keys are hidden by a stream of SHA-1, and the end is a
//! SHA-1 over everything that begins with the passphrase. Both are as weak as they sound, so stores are only read.

use maint_core::secret::Secret;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN};
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::{Entry, Format, Read, der};
use crate::certificate::Certificate;
use crate::key::PrivateKey;
use crate::tlv::{self, OCTET_STRING, SEQUENCE};

const JKS: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
const JCEKS: &[u8] = &[0xce, 0xce, 0xce, 0xce];
/// What the digest at the end has between the passphrase and the store.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// 1.3.6.1.4.1.42.2.17.1.1, the way keys are hidden.
const PROTECTION: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Reads a store; `None` when it is none.
pub(super) fn read(source: &str, content: &[u8], passphrase: Option<&Secret>) -> Option<Read> {
    let mut read = Read::new(source, Format::Jks);
    if content.starts_with(JCEKS) {
        let why =
            "a JCEKS keystore is not read here; write it anew with `keytool -importkeystore -deststoretype PKCS12`";
        read.problems.push(why.to_owned());
        return Some(read);
    }
    let rest = content.strip_prefix(JKS)?;
    let password = passphrase.map(|text| utf16(text.expose()));
    let (store, digest) = content.split_at_checked(content.len().saturating_sub(SHA1_OUTPUT_LEN))?;
    if password.as_ref().is_some_and(|password| sha1(&[password, WHITENER, store]).as_ref() != digest) {
        read.locked = true;
        read.problems.push("the passphrase is not the keystore's, or the keystore was changed without it".to_owned());
    }
    if entries(&mut read, rest, password.as_deref().map(Vec::as_slice)).is_none() {
        read.problems.push("the keystore ends in the middle of an entry".to_owned());
    }
    Some(read)
}

/// All entries; `None` when the store does not hold, with those before kept.
fn entries(read: &mut Read, mut rest: &[u8], password: Option<&[u8]>) -> Option<()> {
    let version = number(&mut rest)?;
    let count = number(&mut rest)?;
    if !matches!(version, 1 | 2) {
        read.problems.push(format!("keystores of version {version} are not known"));
        return Some(());
    }
    for _ in 0..count {
        let tag = number(&mut rest)?;
        let alias = text(&mut rest)?;
        let _created = take(&mut rest, 8)?;
        let mut entry = Entry { alias: String::from_utf8_lossy(alias).into_owned(), ..Entry::default() };
        match tag {
            1 => {
                let hidden = counted(&mut rest)?;
                let certificates = number(&mut rest)?;
                for _ in 0..certificates {
                    certificate(read, &mut entry, version, &mut rest)?;
                }
                match key(hidden, password, &read.certificates) {
                    Ok(found) => {
                        entry.key = Some(read.keys.len());
                        read.keys.push(found);
                    }
                    Err(why) => {
                        entry.locked = true;
                        read.locked = true;
                        read.problems.push(format!("the private key `{}`: {why}", entry.alias));
                    }
                }
            }
            2 => certificate(read, &mut entry, version, &mut rest)?,
            _ => {
                read.problems.push(format!("entries of kind {tag} are not known; what follows is not read"));
                return Some(());
            }
        }
        read.entries.push(entry);
    }
    Some(())
}

fn certificate(read: &mut Read, entry: &mut Entry, version: u32, rest: &mut &[u8]) -> Option<()> {
    if version == 2 {
        text(rest)?;
    }
    let bytes = counted(rest)?;
    match der::certificate(read, bytes) {
        Ok(()) => entry.certificates.push(read.certificates.len() - 1),
        Err(why) => read.problems.push(format!("the certificate `{}`: {why}", entry.alias)),
    }
    Some(())
}

/// A key is hidden as salt, key xor stream, and digest of passphrase and key; the stream is SHA-1 of the passphrase and of
/// its own last block, first of the salt.
fn key(hidden: &[u8], password: Option<&[u8]>, certificates: &[Certificate]) -> Result<PrivateKey, String> {
    let password = password.ok_or("it is encrypted; give a file with the keystore's passphrase")?;
    let broken = || "it is hidden in a way that is not known".to_owned();
    let (info, _) = tlv::first(hidden).filter(|(info, _)| info.tag == SEQUENCE).ok_or_else(broken)?;
    let (algorithm, rest) = tlv::first(info.content).ok_or_else(broken)?;
    let (octets, _) = tlv::first(rest).filter(|(octets, _)| octets.tag == OCTET_STRING).ok_or_else(broken)?;
    let (salt, rest) = octets.content.split_at_checked(SHA1_OUTPUT_LEN).ok_or_else(broken)?;
    let (masked, digest) =
        rest.len().checked_sub(SHA1_OUTPUT_LEN).and_then(|end| rest.split_at_checked(end)).ok_or_else(broken)?;
    if !algorithm.content.starts_with(PROTECTION) {
        return Err(broken());
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(masked.len()));
    let mut block = salt.to_vec();
    for part in masked.chunks(SHA1_OUTPUT_LEN) {
        block = sha1(&[password, &block]).as_ref().to_vec();
        plain.extend(part.iter().zip(&block).map(|(masked, mask)| masked ^ mask));
    }
    if sha1(&[password, &plain]).as_ref() != digest {
        return Err("the passphrase does not open it".to_owned());
    }
    der::usable_of(&PrivateKeyDer::Pkcs8(plain.as_slice().into()), certificates)
}

fn sha1(parts: &[&[u8]]) -> ring::digest::Digest {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish()
}

/// Java's characters, two bytes each, the higher first.
fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    for unit in text.encode_utf16() {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    bytes
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    take(rest, length as usize)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length: [u8; 2] = take(rest, 2)?.try_into().ok()?;
    take(rest, usize::from(u16::from_be_bytes(length)))
}
