//! The policy file: which keys are to go, which are to expire, and which are to be left alone.
//!
//! The rules are tried in their order and the first one that matches a key decides about it, whatever it says; a rule
//! further down never sees that key. So exceptions stand above what they are exceptions to.

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::units::{HumanDuration, HumanRatio, HumanSize};
use serde::Deserialize;

use crate::entry::KeyType;
use crate::glob::Glob;
use crate::scan::Attribute;

/// What a rule does with a key that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Remove it (`cache-cleanup`).
    Delete,
    /// Give it a time to live (`expire-keys`).
    Expire,
    /// Leave it alone.
    Keep,
}

/// Which keys an expire rule changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Those without a time to live.
    #[default]
    Missing,
    /// Those without one, and those whose time to live is longer than the rule's.
    Cap,
}

/// A rule as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    #[serde(rename = "match")]
    matches: OneOrMore,
    not: Option<OneOrMore>,
    action: Option<Action>,
    #[serde(rename = "type")]
    kind: Option<String>,
    idle: Option<HumanDuration>,
    larger: Option<HumanSize>,
    no_ttl: Option<bool>,
    age: Option<HumanDuration>,
    lifetime: Option<HumanDuration>,
    ttl: Option<HumanDuration>,
    mode: Option<Mode>,
    jitter: Option<HumanRatio>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_globs(self) -> Vec<Glob> {
        let texts = match self {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        };
        texts.iter().map(|text| Glob::new(text.as_bytes())).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
    max_share: Option<HumanRatio>,
    max_keys: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Written>,
    #[serde(default)]
    limits: WrittenLimits,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, or its first pattern.
    pub name: String,
    /// A key has to match one of these...
    pub matches: Vec<Glob>,
    /// ...and none of these.
    pub not: Vec<Glob>,
    /// What to do.
    pub action: Action,
    /// Only this type.
    pub kind: Option<KeyType>,
    /// Only keys that nobody touched for this many seconds.
    pub idle_seconds: Option<u64>,
    /// Only keys that take more bytes than this.
    pub larger_bytes: Option<u64>,
    /// Only keys without a time to live.
    pub no_ttl: bool,
    /// Only keys of this age, told by how much of `lifetime` is left: at most this many milliseconds.
    pub left_at_most_ms: Option<u64>,
    /// The time to live to give, in milliseconds.
    pub ttl_ms: u64,
    /// To which keys.
    pub mode: Mode,
    /// By how much the time to live is shortened at most, so that not all expire at once.
    pub jitter: f64,
}

impl Rule {
    /// Whether the name is one that the rule is about.
    pub fn covers(&self, key: &[u8]) -> bool {
        self.matches.iter().any(|glob| glob.matches(key)) && !self.not.iter().any(|glob| glob.matches(key))
    }

    /// What has to be known about a key to apply the rule.
    pub fn needs(&self) -> Vec<Attribute> {
        let expires = self.no_ttl || self.left_at_most_ms.is_some() || self.action == Action::Expire;
        [
            (self.kind.is_some(), Attribute::Type),
            (self.idle_seconds.is_some(), Attribute::Idle),
            (self.larger_bytes.is_some(), Attribute::Bytes),
            (expires, Attribute::Expiry),
        ]
        .into_iter()
        .filter_map(|(needed, attribute)| needed.then_some(attribute))
        .collect()
    }
}

/// What a policy file says.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// The share of all keys that a cleanup may take without `--yes`.
    pub max_share: f64,
    /// The number of keys that one run may change at most.
    pub max_keys: Option<u64>,
}

/// The share of the keys that a cleanup may take when the policy does not say.
const MAX_SHARE: f64 = 0.5;

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or does not hold: the message names the line or the rule.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read the policy {}: {error}", path.display())))?;
        Policy::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn parse(text: &str, name: &str) -> Result<Self, Failure> {
        let file: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
            Failure::usage(format!("{name}:{line}: {}", error.message().trim()))
        })?;
        if file.rule.is_empty() {
            return Err(Failure::usage(format!("{name}: no [[rule]] in the policy")));
        }
        let rules = file.rule.into_iter().enumerate();
        let rules = rules
            .map(|(index, written)| {
                rule(written).map_err(|why| Failure::usage(format!("{name}: rule {}: {why}", index + 1)))
            })
            .collect::<Result<Vec<Rule>, Failure>>()?;
        for (index, rule) in rules.iter().enumerate() {
            if rules.iter().take(index).any(|earlier| earlier.name == rule.name) {
                return Err(Failure::usage(format!("{name}: rule {}: a second rule named {:?}", index + 1, rule.name)));
            }
        }
        let max_share = file.limits.max_share.map_or(MAX_SHARE, |share| share.0);
        Ok(Policy { rules, max_share, max_keys: file.limits.max_keys })
    }

    /// The rule that decides about the key, when it is one for `action`.
    pub fn rule_for(&self, key: &[u8]) -> Option<usize> {
        self.rules.iter().position(|rule| rule.covers(key))
    }
}

fn rule(written: Written) -> Result<Rule, String> {
    let name = written.name.unwrap_or_else(|| match &written.matches {
        OneOrMore::One(text) => text.clone(),
        OneOrMore::More(texts) => texts.join(" "),
    });
    let action = written.action.unwrap_or(if written.ttl.is_some() { Action::Expire } else { Action::Delete });
    let matches = written.matches.into_globs();
    if matches.is_empty() {
        return Err("`match` names no pattern".to_owned());
    }
    let seconds = |duration: HumanDuration| duration.0.as_secs();
    let ms = |duration: HumanDuration| u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX);
    let conditions = written.idle.is_some() || written.larger.is_some() || written.age.is_some();
    if action == Action::Keep && (conditions || written.ttl.is_some() || written.kind.is_some()) {
        return Err("a rule with action = \"keep\" takes only `match` and `not`".to_owned());
    }
    if action == Action::Expire {
        let ttl = written.ttl.ok_or("an expire rule needs `ttl`, e.g. ttl = \"24h\"")?;
        if ttl.0.as_millis() == 0 {
            return Err("`ttl` is zero: that would delete the keys; say action = \"delete\"".to_owned());
        }
        if conditions {
            return Err("`idle`, `larger` and `age` are for delete rules".to_owned());
        }
    } else if written.ttl.is_some() || written.mode.is_some() || written.jitter.is_some() {
        return Err("`ttl`, `mode` and `jitter` are for expire rules".to_owned());
    }
    let left_at_most_ms = match (written.age, written.lifetime) {
        (None, None) => None,
        (Some(age), Some(lifetime)) => {
            Some(ms(lifetime).checked_sub(ms(age)).ok_or("`age` is longer than `lifetime`")?)
        }
        _ => {
            return Err(
                "the server does not keep when a key was made: `age` needs `lifetime`, the time to live that such \
                        keys get, and is told by how much of it is left"
                    .to_owned(),
            );
        }
    };
    if left_at_most_ms.is_some() && written.no_ttl == Some(true) {
        return Err("`age` is told by the time to live, so it cannot go with no_ttl = true".to_owned());
    }
    let everything = matches.iter().any(Glob::is_everything);
    if everything && action == Action::Delete && !conditions && written.no_ttl != Some(true) && written.kind.is_none() {
        return Err("this would delete every key: add a condition (idle, larger, type, age, no_ttl)".to_owned());
    }
    let jitter = written.jitter.map_or(0.0, |jitter| jitter.0);
    if !(0.0..1.0).contains(&jitter) {
        return Err("`jitter` must be below 100 %".to_owned());
    }
    Ok(Rule {
        name,
        matches,
        not: written.not.map(OneOrMore::into_globs).unwrap_or_default(),
        action,
        kind: written.kind.as_deref().map(KeyType::parse),
        idle_seconds: written.idle.map(seconds),
        larger_bytes: written.larger.map(|size| size.0),
        no_ttl: written.no_ttl.unwrap_or(false),
        left_at_most_ms,
        ttl_ms: written.ttl.map_or(0, ms),
        mode: written.mode.unwrap_or_default(),
        jitter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, Failure> {
        Policy::parse(text, "p.toml")
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = parse(
            r#"
            [[rule]]
            match = "cache:vip:*"
            action = "keep"
            [[rule]]
            match = ["cache:*", "tmp:*"]
            not = "cache:*:pinned"
            idle = "30d"
            larger = "1KiB"
            [[rule]]
            match = "session:*"
            ttl = "24h"
            jitter = "10%"
            [limits]
            max_share = "20%"
        "#,
        )
        .unwrap();
        assert_eq!(policy.rule_for(b"cache:vip:1"), Some(0));
        assert_eq!(policy.rule_for(b"cache:1"), Some(1));
        assert_eq!(policy.rule_for(b"cache:1:pinned"), None);
        assert_eq!(policy.rule_for(b"session:\xff"), Some(2));
        assert_eq!(policy.rules[1].idle_seconds, Some(30 * 86400));
        assert_eq!(policy.rules[1].needs(), [Attribute::Idle, Attribute::Bytes]);
        assert_eq!(policy.rules[2].action, Action::Expire);
        assert!((policy.max_share - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_bad_policy_is_refused_with_the_place() {
        for (text, part) in [
            ("", "no [[rule]]"),
            ("[[rule]]\nmatch = \"a:*\"\nidel = \"3d\"", "p.toml:3"),
            ("[[rule]]\nmatch = \"a:*\"\nidle = \"3 dogs\"", "p.toml:3"),
            ("[[rule]]\nidle = \"3d\"", "match"),
            ("[[rule]]\nmatch = \"*\"", "every key"),
            ("[[rule]]\nmatch = \"a\"\naction = \"expire\"", "needs `ttl`"),
            ("[[rule]]\nmatch = \"a\"\nage = \"1d\"", "lifetime"),
            ("[[rule]]\nmatch = \"a\"\nttl = \"0\"", "zero"),
            ("[[rule]]\nmatch = \"a\"\nttl = \"1d\"\nidle = \"1d\"", "delete rules"),
            ("[[rule]]\nmatch = \"a\"\n[[rule]]\nmatch = \"a\"", "second rule"),
            ("[[rule]]\nmatch = []\nidle = \"1d\"", "no pattern"),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.message.contains(part), "{text}: {failure}");
        }
    }

    #[test]
    fn age_is_told_by_what_is_left_of_the_lifetime() {
        let policy = parse("[[rule]]\nmatch = \"s:*\"\nage = \"6d\"\nlifetime = \"7d\"").unwrap();
        assert_eq!(policy.rules[0].left_at_most_ms, Some(86_400_000));
    }
}
