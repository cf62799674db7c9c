//! The description of a certificate for certs.toml, from what certbot noted.
//!
//! It is a proposal: how a name is proven and where the certificate is served is certbot's plugins' business, so what cannot
//! be known is left as a comment that says what to fill in.

use std::fmt::Write as _;

use super::certbot::Lineage;
use super::renewal::Renewal;
use crate::certificate::PublicKeyKind;

/// What certbot orders from when nothing is noted.
const DEFAULT_SERVER: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The tables `[issuers.NAME]` and `[certs.NAME]`.
pub(super) fn describe(lineage: &Lineage) -> String {
    let renewal = lineage.renewal.clone().unwrap_or_default();
    let server = renewal.get("server").unwrap_or(DEFAULT_SERVER);
    let issuer = issuer_name(server);
    let mut text = String::new();
    let _ = writeln!(text, "[issuers.{issuer}]\nkind = \"acme\"\ndirectory = {}", quoted(server));
    challenge(&mut text, &renewal);
    let _ = writeln!(text, "\n[certs.{}]", quoted(&lineage.name));
    let leaf = lineage.generations.iter().find(|old| Some(old.number) == lineage.current);
    let leaf = leaf.or(lineage.generations.last()).and_then(|old| old.chain.first());
    if let Some(leaf) = leaf {
        let names: Vec<String> = leaf.names.iter().map(|name| quoted(&name.to_string())).collect();
        let _ = writeln!(text, "names = [{}]", names.join(", "));
    }
    let _ = writeln!(text, "issuer = \"{issuer}\"");
    let kind = match leaf.map(|leaf| &leaf.key) {
        Some(PublicKeyKind::Ec(384)) => Some("p384"),
        Some(PublicKeyKind::Rsa(bits)) if *bits > 3072 => Some("rsa4096"),
        Some(PublicKeyKind::Rsa(bits)) if *bits > 2048 => Some("rsa3072"),
        Some(PublicKeyKind::Rsa(_)) => Some("rsa2048"),
        _ => None,
    };
    if let Some(kind) = kind {
        let _ = writeln!(text, "key_type = \"{kind}\"");
    }
    if renewal.is_set("reuse_key") {
        text.push_str("reuse_key = true\n");
    }
    consumer(&mut text, lineage, &renewal);
    text
}

fn issuer_name(server: &str) -> String {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    if host.ends_with("letsencrypt.org") {
        return if host.contains("staging") { "letsencrypt-staging" } else { "letsencrypt" }.to_owned();
    }
    let plain: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-').to_owned();
    if plain.is_empty() { "acme".to_owned() } else { plain }
}

fn challenge(text: &mut String, renewal: &Renewal) {
    let authenticator = renewal.get("authenticator").unwrap_or_default();
    let done = match (authenticator, renewal.first("webroot_path")) {
        ("webroot", Some(path)) => {
            writeln!(text, "challenge = {{ type = \"webroot\", path = {} }}", quoted(path))
        }
        ("standalone", _) => match (renewal.get("http01_address"), renewal.get("http01_port")) {
            (None, None) => writeln!(text, "challenge = {{ type = \"http-01\" }}"),
            (address, port) => {
                let listen = format!("{}:{}", address.unwrap_or("[::]"), port.unwrap_or("80"));
                writeln!(text, "challenge = {{ type = \"http-01\", listen = {} }}", quoted(&listen))
            }
        },
        _ if authenticator.starts_with("dns") || authenticator == "manual" => writeln!(
            text,
            "# certbot proved the names by `{authenticator}`: name a command that sets and clears TXT records\n\
             challenge = {{ type = \"dns-01\", hook = [\"/FILL/IN\"] }}"
        ),
        _ => writeln!(
            text,
            "# certbot proved the names by `{authenticator}`: name a directory that the web server serves\n\
             challenge = {{ type = \"webroot\", path = \"/FILL/IN\" }}"
        ),
    };
    // Writing to a string does not fail.
    let _ = done;
}

fn consumer(text: &mut String, lineage: &Lineage, renewal: &Renewal) {
    let hook = renewal.get("renew_hook").or(renewal.get("deploy_hook"));
    let installer = renewal.get("installer").filter(|installer| matches!(*installer, "nginx" | "apache"));
    let (name, command) = match (hook, installer) {
        (Some(hook), _) => ("hook", words(hook)),
        (None, Some("nginx")) => ("nginx", vec!["nginx", "-s", "reload"]),
        (None, Some(_)) => ("apache", vec!["apachectl", "graceful"]),
        (None, None) => {
            text.push_str(
                "# certbot noted no hook for it; look in its renewal-hooks/deploy/, and name who serves it:\n\
                 # [[certs.NAME.consumers]]\n# name = \"nginx\"\n\
                 # reload = { by = \"pid-file\", path = \"/run/nginx.pid\" }\n# verify = [\"HOST:443\"]\n",
            );
            return;
        }
    };
    let command: Vec<String> = command.into_iter().map(quoted).collect();
    let _ = writeln!(
        text,
        "\n[[certs.{}.consumers]]\nname = \"{name}\"\nreload = {{ by = \"command\", command = [{}] }}\n\
         # without a place to look at, nothing is proven: verify = [\"HOST:443\"]",
        quoted(&lineage.name),
        command.join(", ")
    );
}

/// certbot gives a hook to a shell; what has nothing that only a shell understands is a list of words.
fn words(hook: &str) -> Vec<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ./_-:=@+,".contains(c);
    if hook.chars().all(plain) { hook.split_whitespace().collect() } else { vec!["/bin/sh", "-c", hook] }
}

/// A basic string of TOML: one of JSON, but that DEL has to be escaped too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests;
