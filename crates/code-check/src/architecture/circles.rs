//! Circles in a graph: its strongly connected components of more than one node (R. Tarjan, "Depth-First Search and Linear
//! Graph Algorithms", SIAM Journal on Computing 1, 1972), without recursion, as a graph may be a chain of thousands.

use std::collections::{BTreeMap, BTreeSet};

/// What each node leads to.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

#[derive(Default)]
struct Search<'a> {
    index: BTreeMap<&'a str, usize>,
    low: BTreeMap<&'a str, usize>,
    open: Vec<&'a str>,
    is_open: BTreeSet<&'a str>,
    found: Vec<Vec<String>>,
}

/// The circles, each sorted, in order.
pub(super) fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let mut search = Search::default();
    for node in graph.keys() {
        if !search.index.contains_key(node.as_str()) {
            search.from(node, graph);
        }
    }
    search.found.sort();
    search.found
}

impl<'a> Search<'a> {
    fn enter(&mut self, node: &'a str) {
        let next = self.index.len();
        self.index.insert(node, next);
        self.low.insert(node, next);
        self.open.push(node);
        self.is_open.insert(node);
    }

    fn lower(&mut self, node: &'a str, to: Option<usize>) {
        if let (Some(low), Some(to)) = (self.low.get_mut(node), to) {
            *low = to.min(*low);
        }
    }

    fn from(&mut self, start: &'a str, graph: &'a Graph) {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let next = |node: &str| graph.get(node).unwrap_or(&NONE).iter();
        let mut way = vec![(start, next(start))];
        self.enter(start);
        while let Some((node, rest)) = way.last_mut() {
            let node = *node;
            if let Some(other) = rest.next() {
                if !self.index.contains_key(other.as_str()) {
                    self.enter(other);
                    way.push((other, next(other)));
                } else if self.is_open.contains(other.as_str()) {
                    self.lower(node, self.index.get(other.as_str()).copied());
                }
                continue;
            }
            way.pop();
            if let Some((above, _)) = way.last() {
                self.lower(above, self.low.get(node).copied());
            }
            if self.low.get(node) == self.index.get(node) {
                self.close(node);
            }
        }
    }

    /// All that was opened since `node` is one component.
    fn close(&mut self, node: &'a str) {
        let mut members = Vec::new();
        while let Some(last) = self.open.pop() {
            self.is_open.remove(last);
            members.push(last.to_owned());
            if last == node {
                break;
            }
        }
        if members.len() > 1 {
            members.sort();
            self.found.push(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn circles_are_found_and_what_only_leads_to_one_is_not_in_it() {
        let found = circles(&graph(&[
            ("a", "b"),
            ("b", "c"),
            ("c", "b"),
            ("c", "d"),
            ("e", "f"),
            ("f", "g"),
            ("g", "e"),
            ("g", "b"),
        ]));
        assert_eq!(found, [vec!["b", "c"], vec!["e", "f", "g"]]);
    }

    #[test]
    fn a_graph_without_circles_has_none() {
        assert!(circles(&graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])).is_empty());
        assert!(circles(&Graph::new()).is_empty());
    }

    #[test]
    fn a_chain_may_be_long() {
        let mut long = Graph::new();
        for i in 0..50_000 {
            long.entry(format!("{i:05}")).or_default().insert(format!("{:05}", (i + 1) % 50_000));
        }
        assert_eq!(circles(&long)[0].len(), 50_000);
    }
}
