//! From the leaf to a root: which certificates are tried, in which order, and how many at most.
//!
//! Whoever we validate can hand over any number of certificates that sign each other, so the search has a budget of
//! steps, of signatures, of whole paths and of comparisons of names. The best candidates come first, so that what the
//! budget cuts off is what was made to waste it; and running out of it is a finding, never an acceptance.

use std::collections::HashMap;

use super::chain;
use super::crl::List;
use super::der::Malformed;
use super::extension::KEY_CERT_SIGN;
use super::facts::Facts;
use super::name::Name;
use super::signature::{Unsigned, verify};
use super::{Problem, Purpose, Question, Revocation};

/// The longest path: real ones have two to five certificates, those of cross-certified states eight.
const LENGTH: usize = 16;

/// The distance of what no root is above.
const FAR: usize = usize::MAX;

/// What is left to spend on one question.
#[derive(Debug)]
pub(super) struct Effort {
    steps: usize,
    signatures: usize,
    paths: usize,
    /// Looks at a revocation list, and at the parts of it.
    looks: usize,
    /// Comparisons of a name with a constraint. Others that bound it (Go, webpki) chose the same.
    pub(super) comparisons: usize,
    /// Something was left undone for want of budget.
    pub(super) exhausted: bool,
    signed: HashMap<(Thing, usize), Result<(), Unsigned>>,
}

impl Effort {
    pub(super) fn new() -> Self {
        let (steps, signatures, paths, looks, comparisons) = (20_000, 512, 256, 4_000_000, 250_000);
        Effort { steps, signatures, paths, looks, comparisons, exhausted: false, signed: HashMap::new() }
    }

    fn step(&mut self) -> bool {
        spend(&mut self.steps, &mut self.exhausted)
    }

    /// Takes the cost of a look at a list; false when nothing is left.
    pub(super) fn look(&mut self, cost: usize) -> bool {
        self.exhausted |= self.looks < cost;
        self.looks = self.looks.saturating_sub(cost);
        !self.exhausted
    }
}

fn spend(budget: &mut usize, exhausted: &mut bool) -> bool {
    *exhausted |= *budget == 0;
    *budget = budget.saturating_sub(1);
    !*exhausted
}

/// What bears a signature: a certificate or a list, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    Certificate(usize),
    List(usize),
}

/// Everything at hand, read; the leaf is number 0.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) facts: Vec<Facts<'a>>,
    pub(super) lists: Vec<List<'a>>,
    /// Certificates that validation cannot read: whose, and why.
    unreadable: Vec<(String, String)>,
    /// How many certificates away a root is, going by names alone; roots are at 0, and `FAR` is out of reach.
    distances: Vec<usize>,
    by_subject: HashMap<Vec<Vec<u8>>, Vec<usize>>,
}

/// What is asked of a path.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) purpose: Purpose,
    pub(super) revocation: Revocation,
    /// Where it must end, when that matters.
    pub(super) root: Option<usize>,
    /// Certificates whose revocation is being looked into, the outermost first: none may vouch for itself.
    pub(super) open: Vec<usize>,
}

impl<'a> Known<'a> {
    /// Reads what the question brings. Of the issuers and lists, those that cannot be read are left out: they can prove
    /// nothing.
    pub(super) fn read(question: &'a Question<'a>) -> Result<Self, Malformed> {
        let leaf = Facts::read(question.leaf)?;
        let mut known = Known {
            question,
            facts: Vec::new(),
            lists: Vec::new(),
            unreadable: Vec::new(),
            distances: Vec::new(),
            by_subject: HashMap::new(),
        };
        let mut seen = std::collections::HashSet::new();
        let is_root = question.roots.iter().any(|root| root.sha256() == question.leaf.sha256());
        seen.insert(question.leaf.sha256());
        known.add(leaf, is_root);
        for (certificates, is_root) in [(question.roots, true), (question.intermediates, false)] {
            for certificate in certificates {
                if !seen.insert(certificate.sha256()) {
                    continue;
                }
                match Facts::read(certificate) {
                    Ok(facts) => known.add(facts, is_root),
                    Err(Malformed(why)) => known.unreadable.push((certificate.subject.clone(), why)),
                }
            }
        }
        known.measure();
        if question.revocation != Revocation::Ignore {
            known.lists = question.crls.iter().filter_map(|crl| List::read(crl.der()).ok()).collect();
        }
        Ok(known)
    }

    fn add(&mut self, facts: Facts<'a>, is_root: bool) {
        let number = self.facts.len();
        self.by_subject.entry(facts.subject.key().to_vec()).or_default().push(number);
        self.facts.push(facts);
        self.distances.push(if is_root { 0 } else { FAR });
    }

    /// Finds the distances, from the roots outwards.
    fn measure(&mut self) {
        let mut by_issuer: HashMap<&[Vec<u8>], Vec<usize>> = HashMap::new();
        for (number, facts) in self.facts.iter().enumerate() {
            by_issuer.entry(facts.issuer.key()).or_default().push(number);
        }
        let mut ring: Vec<usize> = (0..self.facts.len()).filter(|&number| self.is_root(number)).collect();
        let mut distances = self.distances.clone();
        for distance in 1.. {
            let mut next = Vec::new();
            for subject in ring.iter().filter_map(|&number| self.facts.get(number)).map(|facts| facts.subject.key()) {
                // Each name needs to be reached only once.
                for number in by_issuer.remove(subject).unwrap_or_default() {
                    if let Some(known) = distances.get_mut(number).filter(|known| **known == FAR) {
                        *known = distance;
                        next.push(number);
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            ring = next;
        }
        self.distances = distances;
    }

    fn distance(&self, number: usize) -> usize {
        self.distances.get(number).copied().unwrap_or(FAR)
    }

    pub(super) fn is_root(&self, number: usize) -> bool {
        self.distance(number) == 0
    }

    /// Certificates of this subject; those with the wanted key identifier first, then the nearest to a root.
    pub(super) fn named(&self, subject: &Name, key: Option<&[u8]>) -> Vec<usize> {
        let mut found = self.by_subject.get(subject.key()).cloned().unwrap_or_default();
        found.sort_by_key(|&number| {
            let id = self.facts.get(number).and_then(|facts| facts.extensions.subject_key);
            (key.is_some() && id.is_some() && key != id, self.distance(number))
        });
        found
    }

    /// Whether the certificate with that number signed it.
    pub(super) fn is_signed(&self, thing: Thing, by: usize, effort: &mut Effort) -> Result<(), Unsigned> {
        if let Some(known) = effort.signed.get(&(thing, by)) {
            return *known;
        }
        let signed = match thing {
            Thing::Certificate(number) => self.facts.get(number).map(|facts| facts.signed),
            Thing::List(number) => self.lists.get(number).map(|list| list.signed),
        };
        let (Some(signed), Some(signer)) = (signed, self.facts.get(by)) else { return Err(Unsigned::Wrong) };
        if !spend(&mut effort.signatures, &mut effort.exhausted) {
            return Err(Unsigned::Wrong);
        }
        let verdict = verify(signed, signer.key);
        effort.signed.insert((thing, by), verdict);
        verdict
    }

    /// Whether it could be an authority in any path at all.
    fn is_plausible(&self, facts: &Facts<'_>) -> bool {
        facts.is_ca()
            && facts.may(KEY_CERT_SIGN)
            && facts.extensions.unknown.is_empty()
            && facts.certificate.is_valid_at(self.question.at)
    }

    /// A path from `target` to a root that is good in every respect, as numbers; or what is wrong with the one that came
    /// furthest.
    pub(super) fn find(&self, target: usize, rule: &Rule, effort: &mut Effort) -> Result<Vec<usize>, Vec<Problem>> {
        let mut best = Best::default();
        let mut path = vec![target];
        if self.extend(&mut path, rule, effort, &mut best, false) {
            return Ok(path);
        }
        // With those that cannot lead to a good path: they tell what is wrong.
        path.truncate(1);
        if best.passed_over && self.extend(&mut path, rule, effort, &mut best, true) {
            return Ok(path);
        }
        if effort.exhausted {
            let message = "more certificates were handed over than can be tried; hand over only those of the chain";
            best.problems.push(Problem::new("too-much-work", message, 0));
        }
        if best.problems.is_empty() {
            best.problems.push(Problem::new("untrusted-root", "no path leads to the root that it must", 0));
        }
        Err(best.problems)
    }

    /// Goes on from the end of the path; true when it then is a good one.
    fn extend(
        &self,
        path: &mut Vec<usize>,
        rule: &Rule,
        effort: &mut Effort,
        best: &mut Best,
        desperate: bool,
    ) -> bool {
        let depth = path.len() - 1;
        let Some((&last, facts)) = path.last().and_then(|last| Some((last, self.facts.get(*last)?))) else {
            return false;
        };
        if self.is_root(last) {
            if rule.root.is_some_and(|root| root != last) || !spend(&mut effort.paths, &mut effort.exhausted) {
                return false;
            }
            let problems = chain::check(self, path, rule, effort);
            if problems.is_empty() {
                return true;
            }
            best.offer((true, usize::MAX - problems.len(), 0), problems);
            return false;
        }
        if path.len() >= LENGTH {
            let message = format!("more than {LENGTH} certificates are no path that anybody needs");
            best.offer((false, depth, 0), vec![Problem::new("path-too-long", message, depth)]);
            return false;
        }
        let wanted = facts.extensions.authority_key.and_then(|key| key.id);
        let mut tried = false;
        for number in self.named(&facts.issuer, wanted) {
            let Some(candidate) = self.facts.get(number) else { continue };
            let is_there = |known: &usize| self.facts.get(*known).is_some_and(|known| known.is_same_entity(candidate));
            // The same authority twice makes a path longer, never better.
            if !effort.step() {
                return false;
            }
            if path.contains(&number) || (!self.is_root(number) && path.iter().any(is_there)) {
                continue;
            }
            if !desperate && (self.distance(number) == FAR || !self.is_plausible(candidate)) {
                best.passed_over = true;
                continue;
            }
            tried = true;
            match self.is_signed(Thing::Certificate(last), number, effort) {
                Ok(()) => {
                    path.push(number);
                    if self.extend(path, rule, effort, best, desperate) {
                        return true;
                    }
                    path.pop();
                }
                Err(Unsigned::Wrong) => {
                    let message = format!("{} is not signed by {}", title(facts), title(candidate));
                    best.offer((false, depth, 1), vec![Problem::new("bad-signature", message, depth)]);
                }
                Err(Unsigned::Unknown) => {
                    let message = format!(
                        "{} is signed with an algorithm that is too weak or not known, or the key of {} is",
                        title(facts),
                        title(candidate)
                    );
                    best.offer((false, depth, 1), vec![Problem::new("unsupported-signature", message, depth)]);
                }
            }
        }
        if !tried {
            let issuer = &facts.certificate.issuer;
            let unreadable = self.unreadable.iter().find(|(subject, _)| subject == issuer);
            let problem = if let Some((subject, why)) = unreadable {
                Problem::new("malformed", format!("{subject}: {why}"), depth + 1)
            } else if facts.is_self_issued() {
                let message = format!("{} is its own issuer, and is not trusted", title(facts));
                Problem::new("untrusted-root", message, depth)
            } else {
                let message = format!("no certificate of {issuer} is at hand, which issued {}", title(facts));
                Problem::new("unknown-issuer", message, depth)
            };
            best.offer((false, depth, 0), vec![problem]);
        }
        false
    }
}

fn title(facts: &Facts<'_>) -> String {
    facts.certificate.title()
}

/// The path that came furthest.
#[derive(Debug, Default)]
struct Best {
    /// Ends at a root; how few problems, or how long it is; how telling the problem is.
    score: (bool, usize, u8),
    problems: Vec<Problem>,
    passed_over: bool,
}

impl Best {
    fn offer(&mut self, score: (bool, usize, u8), problems: Vec<Problem>) {
        if self.problems.is_empty() || score > self.score {
            self.score = score;
            self.problems = problems;
        }
    }
}
