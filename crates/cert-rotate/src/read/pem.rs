//! Text with PEM blocks (RFC 7468), as people keep it: bundles with notes between, indented in YAML, with the line ends of
//! any system.

use maint_core::secret::Secret;
use rustls::pki_types::PrivateKeyDer;

use super::{Read, base64, der};

/// How far into a file is looked for bytes that no text has.
const LOOKED_AT: usize = 4096;

/// Whether it can be text.
pub(super) fn is_text(content: &[u8]) -> bool {
    content.starts_with(b"-----BEGIN ") || !content.iter().take(LOOKED_AT).any(|byte| *byte == 0)
}

/// Adds every block; `place` says where a line is.
pub(super) fn add(read: &mut Read, content: &[u8], passphrase: Option<&Secret>, place: &dyn Fn(usize) -> String) {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut open: Option<Block<'_>> = None;
    for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        match Mark::of(line) {
            Mark::None => {
                if let Some(block) = &mut open {
                    block.lines.push(line);
                }
            }
            Mark::Begin(label) => {
                let block = Block { label, line: number + 1, lines: Vec::new() };
                if let Some(unfinished) = open.replace(block) {
                    unfinished.has_no_end(read, place);
                }
            }
            Mark::End(label) => match open.take() {
                Some(block) if block.label == label => block.add(read, passphrase, place),
                Some(block) => block.has_no_end(read, place),
                None if is_ours(label) => {
                    read.problems.push(format!("{}: an END {} without its BEGIN", place(number + 1), shown(label)));
                }
                None => {}
            },
            Mark::Broken => {
                if let Some(unfinished) = open.take() {
                    unfinished.has_no_end(read, place);
                }
                let why = "looks like the begin or end of a block, but has not five dashes on both sides";
                read.problems.push(format!("{}: `{}` {why}", place(number + 1), shown(line)));
            }
        }
    }
    if let Some(unfinished) = open {
        unfinished.has_no_end(read, place);
    }
}

/// What a line is to the blocks.
enum Mark<'a> {
    None,
    Begin(&'a [u8]),
    End(&'a [u8]),
    /// A begin or end with too few dashes, or with more after it.
    Broken,
}

impl Mark<'_> {
    fn of(line: &[u8]) -> Mark<'_> {
        if !line.starts_with(b"--") {
            return Mark::None;
        }
        let dashes = line.iter().take_while(|byte| **byte == b'-').count();
        let text = line.get(dashes..).unwrap_or_default();
        let (is_begin, text) = match (text.strip_prefix(b"BEGIN "), text.strip_prefix(b"END ")) {
            (Some(label), _) => (true, label),
            (_, Some(label)) => (false, label),
            _ => return Mark::None,
        };
        match text.strip_suffix(b"-----") {
            Some(label) if dashes == 5 && !label.ends_with(b"-") => {
                if is_begin {
                    Mark::Begin(label)
                } else {
                    Mark::End(label)
                }
            }
            _ if contains_ours(text) => Mark::Broken,
            _ => Mark::None,
        }
    }
}

/// Whether blocks of this label are looked into.
fn is_ours(label: &[u8]) -> bool {
    const LABELS: [&[u8]; 15] = [
        b"CERTIFICATE",
        b"X509 CERTIFICATE",
        b"TRUSTED CERTIFICATE",
        b"CERTIFICATE REQUEST",
        b"NEW CERTIFICATE REQUEST",
        b"X509 CRL",
        b"PRIVATE KEY",
        b"RSA PRIVATE KEY",
        b"EC PRIVATE KEY",
        b"DSA PRIVATE KEY",
        b"ENCRYPTED PRIVATE KEY",
        b"PKCS7",
        b"CMS",
        b"PKCS #7 SIGNED DATA",
        b"CERTIFICATE CHAIN",
    ];
    LABELS.contains(&label)
}

fn contains_ours(text: &[u8]) -> bool {
    let label = text.iter().rposition(|byte| *byte != b'-').and_then(|last| text.get(..=last)).unwrap_or_default();
    is_ours(label.trim_ascii())
}

/// For a message: it may be anything.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

struct Block<'a> {
    label: &'a [u8],
    line: usize,
    lines: Vec<&'a [u8]>,
}

impl Block<'_> {
    fn has_no_end(&self, read: &mut Read, place: &dyn Fn(usize) -> String) {
        if is_ours(self.label) {
            read.problems.push(format!("{}: BEGIN {} has no END", place(self.line), shown(self.label)));
        }
    }

    fn add(&self, read: &mut Read, passphrase: Option<&Secret>, place: &dyn Fn(usize) -> String) {
        if is_ours(self.label)
            && let Err(why) = self.try_add(read, passphrase, place)
        {
            read.problems.push(format!("{}: {}: {why}", place(self.line), shown(self.label)));
        }
    }

    fn try_add(
        &self,
        read: &mut Read,
        passphrase: Option<&Secret>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<(), String> {
        let (headers, lines) = self.parts();
        if headers.iter().any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED")) {
            read.locked = true;
            return Err(
                "the private key is encrypted in OpenSSL's old way, which is not read here; write it anew with \
                        `openssl pkey`"
                    .to_owned(),
            );
        }
        let bytes = base64::decode(lines)
            .map_err(|line| format!("no base64 in {}", place(self.line + 1 + headers.len() + line)))?;
        if bytes.is_empty() {
            return Err("there is nothing in it".to_owned());
        }
        let bytes = bytes.as_slice();
        match self.label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => der::certificate(read, bytes),
            b"TRUSTED CERTIFICATE" => der::trusted_certificate(read, bytes),
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => der::request(read, bytes),
            b"X509 CRL" => der::crl(read, bytes),
            b"PRIVATE KEY" => der::key(read, &PrivateKeyDer::Pkcs8(bytes.into())),
            b"RSA PRIVATE KEY" => der::key(read, &PrivateKeyDer::Pkcs1(bytes.into())),
            b"EC PRIVATE KEY" => der::key(read, &PrivateKeyDer::Sec1(bytes.into())),
            b"ENCRYPTED PRIVATE KEY" => der::encrypted_key(read, bytes, passphrase),
            b"DSA PRIVATE KEY" => {
                read.bare_keys += 1;
                Err("a private key of a kind that is not used here: DSA".to_owned())
            }
            _ => Err("PKCS #7 is not read here; write it anew with `openssl pkcs7 -print_certs`".to_owned()),
        }
    }

    /// Headers (RFC 1421, 4.6) with the empty line after them, and the rest.
    fn parts(&self) -> (&[&[u8]], &[&[u8]]) {
        if self.lines.first().is_some_and(|line| line.contains(&b':')) {
            let end = self.lines.iter().position(|line| line.is_empty()).map_or(self.lines.len(), |empty| empty + 1);
            self.lines.split_at_checked(end).unwrap_or_default()
        } else {
            (&[], &self.lines)
        }
    }
}
