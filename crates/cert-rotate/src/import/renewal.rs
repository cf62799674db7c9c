//! `renewal/NAME.conf`: what certbot noted about renewing a certificate.
//!
//! The format is ConfigObj's, of which certbot writes keys, sections in one or two pairs of brackets, lists with commas, and
//! comments. Keys that are not known here are passed over: plugins note what they like.

use std::collections::BTreeMap;

/// The section `[renewalparams]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Renewal {
    values: BTreeMap<String, String>,
}

impl Renewal {
    /// A value, if it is there and not the word for nothing.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty() && *value != "None")
    }

    /// The first of a list.
    pub(super) fn first(&self, key: &str) -> Option<&str> {
        self.get(key)?.split(',').map(str::trim).find(|item| !item.is_empty())
    }

    /// Whether it is set.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.get(key) == Some("True")
    }
}

/// Reads it. A line that does not hold is passed over: what is lost is a hint.
pub(super) fn parse(text: &str) -> Renewal {
    let (mut renewal, mut inside) = (Renewal::default(), false);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            inside = line == "[renewalparams]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            renewal.values.insert(key.trim().to_owned(), unquoted(value.trim()).to_owned());
        }
    }
    renewal
}

/// Values with a comma or a `#` in them are quoted.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_parameters_are_read_and_nothing_else() {
        let renewal = parse(
            "# renew_before_expiry = 30 days\nversion = 5.8.0\n\n[renewalparams]\naccount = None\n\
             server = https://acme.test/dir\nwebroot_path = /srv/www,\nreuse_key = True\n\
             renew_hook = \"systemctl reload nginx, really\"\n[[webroot_map]]\nserver = /srv/www\n",
        );
        assert_eq!(renewal.get("server"), Some("https://acme.test/dir"));
        assert_eq!(renewal.first("webroot_path"), Some("/srv/www"));
        assert_eq!(renewal.get("renew_hook"), Some("systemctl reload nginx, really"));
        assert!(renewal.is_set("reuse_key") && renewal.get("account").is_none() && renewal.get("version").is_none());
    }
}
