//! Certificate policies (RFC 5280, 6.1.2 to 6.1.5) as RFC 9618 puts them: a level of policies, not a tree of them.
//!
//! The tree of RFC 5280 grows exponentially when certificates are made for that. Whoever accepts any policy, as we do, only
//! asks whether a policy is left at the end; for that the last level suffices, and it grows with the certificates' size.

use std::collections::{BTreeMap, BTreeSet};

use super::extension::{ANY_POLICY, Extensions};

/// The policies that are valid so far, each with those that may follow it.
type Level<'a> = BTreeMap<&'a [u8], BTreeSet<&'a [u8]>>;

/// The state on the way from the root to the leaf.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    level: Level<'a>,
    explicit: u32,
    mapping: u32,
    any: u32,
}

/// Why a path's policies do not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A policy is required and none is left.
    NoneLeft,
    /// anyPolicy is mapped.
    AnyMapped,
}

impl<'a> Policies<'a> {
    /// Before the first of `length` certificates.
    pub(super) fn new(length: usize) -> Self {
        let beyond = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1);
        let level = Level::from([(ANY_POLICY, BTreeSet::from([ANY_POLICY]))]);
        Policies { level, explicit: beyond, mapping: beyond, any: beyond }
    }

    /// Takes one certificate in (6.1.3, d to f).
    pub(super) fn enter(&mut self, extensions: &Extensions<'a>, self_issued: bool, last: bool) -> Result<(), Refused> {
        let previous = std::mem::take(&mut self.level);
        if let Some(policies) = &extensions.policies {
            let expected: BTreeSet<&[u8]> = previous.values().flatten().copied().collect();
            let after_any = previous.contains_key(ANY_POLICY);
            let mut keep = |policy: &'a [u8]| drop(self.level.insert(policy, BTreeSet::from([policy])));
            for policy in policies {
                if *policy != ANY_POLICY && (after_any || expected.contains(policy)) {
                    keep(policy);
                }
            }
            if policies.contains(&ANY_POLICY) && (self.any > 0 || (self_issued && !last)) {
                expected.into_iter().for_each(keep);
            }
        }
        if self.explicit == 0 && self.level.is_empty() { Err(Refused::NoneLeft) } else { Ok(()) }
    }

    /// Prepares for the next certificate (6.1.4, a, b, h to j).
    pub(super) fn leave(&mut self, extensions: &Extensions<'a>, self_issued: bool) -> Result<(), Refused> {
        let mut mapped: Level<'a> = BTreeMap::new();
        for (from, to) in &extensions.mappings {
            if *from == ANY_POLICY || *to == ANY_POLICY {
                return Err(Refused::AnyMapped);
            }
            mapped.entry(from).or_default().insert(to);
        }
        let any_is_valid = self.level.contains_key(ANY_POLICY);
        for (from, to) in mapped {
            if self.mapping == 0 {
                self.level.remove(from);
            } else if any_is_valid || self.level.contains_key(from) {
                self.level.insert(from, to);
            }
        }
        if !self_issued {
            for count in [&mut self.explicit, &mut self.mapping, &mut self.any] {
                *count = count.saturating_sub(1);
            }
        }
        for (count, limit) in [
            (&mut self.explicit, extensions.require_explicit),
            (&mut self.mapping, extensions.inhibit_mapping),
            (&mut self.any, extensions.inhibit_any),
        ] {
            *count = (*count).min(limit.unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// The end of the path (6.1.5, a, b, g).
    pub(super) fn end(&mut self, extensions: &Extensions<'a>) -> Result<(), Refused> {
        self.explicit = self.explicit.saturating_sub(1);
        if extensions.require_explicit == Some(0) {
            self.explicit = 0;
        }
        if self.explicit == 0 && self.level.is_empty() { Err(Refused::NoneLeft) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLD: &[u8] = &[1];
    const SILVER: &[u8] = &[2];

    fn with(policies: &[&'static [u8]]) -> Extensions<'static> {
        Extensions { policies: Some(policies.to_vec()), ..Extensions::default() }
    }

    /// Authorities from the root on, then the leaf.
    fn judge(authorities: &[Extensions<'static>], leaf: &Extensions<'static>) -> Result<(), Refused> {
        let mut state = Policies::new(authorities.len() + 1);
        for one in authorities {
            state.enter(one, false, false)?;
            state.leave(one, false)?;
        }
        state.enter(leaf, false, true)?;
        state.end(leaf)
    }

    #[test]
    fn a_required_policy_must_go_all_the_way() {
        let requires = Extensions { require_explicit: Some(0), ..with(&[GOLD]) };
        assert_eq!(judge(std::slice::from_ref(&requires), &with(&[GOLD])), Ok(()));
        assert_eq!(judge(std::slice::from_ref(&requires), &with(&[SILVER])), Err(Refused::NoneLeft));
        assert_eq!(judge(&[requires], &Extensions::default()), Err(Refused::NoneLeft));
        assert_eq!(judge(&[with(&[GOLD])], &with(&[SILVER])), Ok(()), "nobody requires one");
    }

    #[test]
    fn a_mapping_counts_unless_it_is_inhibited() {
        let maps = Extensions { mappings: vec![(GOLD, SILVER)], require_explicit: Some(0), ..with(&[GOLD]) };
        assert_eq!(judge(std::slice::from_ref(&maps), &with(&[SILVER])), Ok(()));
        assert_eq!(judge(std::slice::from_ref(&maps), &with(&[GOLD])), Err(Refused::NoneLeft));
        let inhibits = Extensions { inhibit_mapping: Some(0), ..with(&[GOLD]) };
        assert_eq!(judge(&[inhibits, maps], &with(&[SILVER])), Err(Refused::NoneLeft));
        let maps_any = Extensions { mappings: vec![(ANY_POLICY, SILVER)], ..with(&[GOLD]) };
        assert_eq!(judge(&[maps_any], &with(&[SILVER])), Err(Refused::AnyMapped));
    }

    #[test]
    fn any_policy_stands_for_all_unless_it_is_inhibited() {
        let requires = Extensions { require_explicit: Some(0), ..with(&[ANY_POLICY]) };
        assert_eq!(judge(std::slice::from_ref(&requires), &with(&[GOLD])), Ok(()));
        let inhibits = Extensions { inhibit_any: Some(0), require_explicit: Some(0), ..with(&[GOLD]) };
        assert_eq!(judge(&[inhibits], &with(&[ANY_POLICY])), Err(Refused::NoneLeft));
    }
}
