//! The reply of `INFO`: names and values, as the server wrote them. What a server does not say is absent, never zero:
//! versions and forks differ in what they say.

use std::collections::BTreeMap;

/// The fields of one or more sections of `INFO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Info(BTreeMap<String, String>);

/// One line of the keyspace section: what a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyspace {
    /// The database number.
    pub db: u32,
    /// Keys in it.
    pub keys: u64,
    /// Keys with a time to live.
    pub expires: u64,
}

impl Info {
    /// Reads the text; lines that are not `name:value` are passed over.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
        Info(lines.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    /// The fields of `other` as well.
    #[must_use]
    pub fn and(mut self, other: Info) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field as a whole number.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// A field as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// A field that is 0 or 1.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.count(name).map(|value| value != 0)
    }

    /// Every field whose name starts with `prefix`, without it: `cmdstat_`, `slave`, `latency_percentiles_usec_`.
    pub fn starting(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The databases that hold keys.
    pub fn keyspace(&self) -> Vec<Keyspace> {
        let mut all: Vec<Keyspace> = self
            .starting("db")
            .filter_map(|(db, value)| {
                let fields = parts(value);
                let number = |name: &str| fields.get(name)?.parse().ok();
                Some(Keyspace { db: db.parse().ok()?, keys: number("keys")?, expires: number("expires")? })
            })
            .collect();
        all.sort_by_key(|line| line.db);
        all
    }
}

/// A value that is itself `a=1,b=2`.
pub fn parts(value: &str) -> BTreeMap<&str, &str> {
    value.split(',').filter_map(|part| part.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrun_id:abc\r\n# Keyspace\r\n\
        db10:keys=3,expires=1,avg_ttl=5,subexpiry=0\r\ndb0:keys=10,expires=0,avg_ttl=0\r\nmaxmemory:0\r\nratio:nan\r\n\xff\xfe\r\n";

    #[test]
    fn fields_are_read_and_missing_ones_are_not_zero() {
        let info = Info::parse(TEXT);
        assert_eq!(info.text("redis_version"), Some("7.2.4"));
        assert_eq!(info.count("maxmemory"), Some(0));
        assert_eq!(info.count("used_memory"), None);
        assert_eq!(info.number("ratio"), None);
    }

    #[test]
    fn databases_come_in_order_and_new_fields_do_not_matter() {
        let keyspace = Info::parse(TEXT).keyspace();
        assert_eq!(keyspace.len(), 2);
        assert_eq!(keyspace[0], Keyspace { db: 0, keys: 10, expires: 0 });
        assert_eq!(keyspace[1], Keyspace { db: 10, keys: 3, expires: 1 });
    }
}
