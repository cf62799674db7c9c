//! Glob patterns as the server matches them.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<u8>);

impl Glob {
    /// The pattern of these bytes.
    pub fn new(pattern: &[u8]) -> Self {
        Glob(pattern.to_vec())
    }

    /// Whether it matches every key.
    pub fn is_everything(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|&byte| byte == b'*')
    }

    /// Whether it matches the key.
    pub fn matches(&self, key: &[u8]) -> bool {
        fn go(p: &[u8], k: &[u8]) -> bool {
            match p.split_first() {
                None => k.is_empty(),
                Some((b'*', rest)) => go(rest, k) || k.split_first().is_some_and(|(_, k)| go(p, k)),
                Some((a, rest)) => k.split_first().is_some_and(|(b, k)| a == b && go(rest, k)),
            }
        }
        go(&self.0, key)
    }
}
