//! The bytes of the new file.

use maint_core::failure::Failure;
use maint_core::secret::Secret;
use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKeyChain};
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::arrange::Contents;
use crate::certificate::{Certificate, pem};
use crate::cli::ConvertTo;
use crate::key::PrivateKey;

/// Encodes everything.
///
/// # Errors
/// This kind of file cannot hold it, or a passphrase is needed.
pub(super) fn encode(
    contents: &Contents,
    to: ConvertTo,
    passphrase: Option<&Secret>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match to {
        ConvertTo::Pem => text(contents, passphrase),
        ConvertTo::Der => single(contents, passphrase),
        ConvertTo::P12 => store(contents, passphrase),
    }
}

/// Certificates first: what reads only one finds the leaf.
fn text(contents: &Contents, passphrase: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut parts: Vec<Zeroizing<String>> = Vec::new();
    parts.extend(contents.certificates.iter().map(|one| Zeroizing::new(one.to_pem())));
    for key in &contents.keys {
        parts.push(match passphrase {
            Some(passphrase) => Zeroizing::new(pem("ENCRYPTED PRIVATE KEY", &encrypted(key, passphrase)?)),
            None => key.to_pem(),
        });
    }
    parts.extend(contents.requests.iter().map(|one| Zeroizing::new(pem("CERTIFICATE REQUEST", one))));
    parts.extend(contents.crls.iter().map(|one| Zeroizing::new(pem("X509 CRL", one))));
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in &parts {
        whole.extend_from_slice(part.as_bytes());
    }
    Ok(whole)
}

fn single(contents: &Contents, passphrase: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let Contents { certificates, keys, crls, requests } = contents;
    let bytes = match (certificates.as_slice(), keys.as_slice(), crls.as_slice(), requests.as_slice()) {
        ([one], [], [], []) => one.der().to_vec(),
        ([], [key], [], []) => match passphrase {
            Some(passphrase) => encrypted(key, passphrase)?,
            None => key.to_der().secret_der().to_vec(),
        },
        ([], [], [one], []) | ([], [], [], [one]) => one.clone(),
        _ => {
            return Err(Failure::usage(format!("a DER file holds one thing, and this is {}", contents.summary()))
                .hint("write PEM or PKCS #12, or name one input"));
        }
    };
    Ok(Zeroizing::new(bytes))
}

/// PBES2 with scrypt and AES-256.
fn encrypted(key: &PrivateKey, passphrase: &Secret) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::critical(format!("cannot encrypt the private key: {why}"));
    let plain = key.to_der();
    let info = PrivateKeyInfoRef::try_from(plain.secret_der()).map_err(|error| failed(error.to_string()))?;
    let done = info.encrypt(passphrase.expose()).map_err(|error| failed(error.to_string()))?;
    Ok(done.as_bytes().to_vec())
}

/// A key with its chain is one entry; other certificates are entries of their own, trusted ones to Java.
fn store(contents: &Contents, passphrase: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let passphrase = passphrase.ok_or_else(|| {
        Failure::usage("a PKCS #12 file needs a passphrase").hint("give --new-passphrase-file, a file with mode 0600")
    })?;
    if !contents.crls.is_empty() || !contents.requests.is_empty() {
        return Err(Failure::usage("a PKCS #12 file holds no requests and no revocation lists"));
    }
    let failed = |error: p12_keystore::error::Error| Failure::critical(format!("cannot write PKCS #12: {error}"));
    let theirs = |one: &Certificate| p12_keystore::Certificate::from_der(one.der()).map_err(failed);
    let (mut store, mut in_chains) = (KeyStore::new(), Vec::new());
    for key in &contents.keys {
        let chain = contents.chain(key);
        let Some(leaf) = chain.first() else {
            return Err(Failure::usage("a PKCS #12 file needs the certificate of a private key").hint("name it too"));
        };
        let certificates = chain.iter().map(|one| theirs(one)).collect::<Result<Vec<_>, _>>()?;
        let key = p12_keystore::PrivateKey::from_der(key.to_der().secret_der()).map_err(failed)?;
        let chained = PrivateKeyChain::new(leaf.sha256().to_vec(), key, certificates);
        store.add_entry(&free(&store, &leaf.title()), KeyStoreEntry::PrivateKeyChain(chained));
        in_chains.extend(chain.iter().map(|one| one.sha256()));
    }
    for one in contents.certificates.iter().filter(|one| !in_chains.contains(&one.sha256())) {
        store.add_entry(&free(&store, &one.title()), KeyStoreEntry::Certificate(theirs(one)?));
    }
    store.writer(passphrase.expose()).write().map(Zeroizing::new).map_err(failed)
}

/// A name that no entry has yet.
fn free(store: &KeyStore, title: &str) -> String {
    let mut names = std::iter::once(title.to_owned()).chain((2_u64..).map(|number| format!("{title} {number}")));
    names.find(|name| store.entry(name).is_none()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;
    use crate::read;

    fn contents() -> Contents {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let signed = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap().self_signed(key.pair()).unwrap();
        let certificates = vec![Certificate::from_der(signed.der()).unwrap()];
        Contents { certificates, keys: vec![key], ..Contents::default() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let contents = contents();
        let secret = Secret::from("open".to_owned());
        for (to, passphrase) in
            [(ConvertTo::Pem, None), (ConvertTo::Pem, Some(&secret)), (ConvertTo::P12, Some(&secret))]
        {
            let bytes = encode(&contents, to, passphrase).unwrap();
            let found = read::bytes("test", &bytes, passphrase).unwrap();
            assert_eq!((found.problems.len(), &found.certificates), (0, &contents.certificates), "{to}");
            assert!(found.keys[0].is_of(&contents.certificates[0]));
            assert_eq!(found.bare_keys, usize::from(passphrase.is_none()));
        }
    }

    #[test]
    fn what_a_kind_of_file_cannot_hold_is_refused() {
        let secret = Secret::from("open".to_owned());
        let both = contents();
        assert!(encode(&both, ConvertTo::Der, None).unwrap_err().message.contains("1 certificate, 1 private key"));
        assert!(encode(&both, ConvertTo::P12, None).unwrap_err().message.contains("needs a passphrase"));
        let key = Contents { certificates: Vec::new(), ..both };
        assert!(encode(&key, ConvertTo::P12, Some(&secret)).is_err());
        assert_eq!(&**encode(&key, ConvertTo::Der, None).unwrap(), key.keys[0].to_der().secret_der());
    }
}
