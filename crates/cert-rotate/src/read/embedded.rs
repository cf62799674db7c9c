//! PEM in base64 inside of other text: `certificate-authority-data` of a kubeconfig, `tls.crt` of a Kubernetes Secret.
//!
//! No YAML is parsed for it. The base64 of `-----BEGIN ` is the same letters wherever it stands, so that it is found in
//! YAML, JSON and templates alike, also in a file whose YAML no longer holds.

use maint_core::secret::Secret;

use super::{Read, base64, pem};

/// Base64 of `-----BEGIN`, without the last bits, which depend on what follows.
const BEGIN: &[u8] = b"LS0tLS1CRUdJT";

/// Adds what stands in base64.
pub(super) fn add(read: &mut Read, content: &[u8], passphrase: Option<&Secret>) {
    let mut lines = content.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let mut rest = line;
        while let Some(start) = find(rest, BEGIN) {
            let run = rest.get(start..).unwrap_or_default();
            let length = run.iter().position(|byte| !is_symbol(*byte)).unwrap_or(run.len());
            let (first, after) = run.split_at_checked(length).unwrap_or_default();
            rest = after;
            let mut parts = vec![first];
            // In a YAML block the base64 goes on in the next lines, which have nothing else.
            if after.trim_ascii().is_empty() && !first.ends_with(b"=") {
                while let Some((_, next)) = lines.next_if(|(_, next)| continues(next)) {
                    parts.push(next.trim_ascii());
                }
            }
            let place = |inner: usize| format!("line {} (line {inner} in its base64)", number + 1);
            match base64::decode(&parts) {
                Ok(text) => pem::add(read, &text, passphrase, &place),
                Err(_) => read.problems.push(format!("line {}: PEM in base64 that does not hold", number + 1)),
            }
        }
    }
}

fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// A line of nothing but base64, and indented: so is what belongs to a block in YAML.
fn continues(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    line.starts_with(b" ") && !text.is_empty() && !text.starts_with(BEGIN) && text.iter().all(|byte| is_symbol(*byte))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
