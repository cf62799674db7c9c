//! How many nodes a radix tree of stream IDs has. The server's own estimate of a stream's size goes by that number, and
//! a snapshot tells the IDs in order, so it can be counted as they pass by, with memory for one path only.
//!
//! The keys are of one length, 16 bytes. Each key is a leaf; wherever keys part there is a branching node; and each run
//! of bytes between two of them, if it is not empty, is one more node. (`rax.c` of the Redis sources.)

const LENGTH: usize = 16;

/// A tree that grows key by key.
#[derive(Debug, Default)]
pub(super) struct Radix {
    keys: u64,
    nodes: u64,
    last: [u8; LENGTH],
    /// Depths of the branching nodes on the way to the last key, shallow ones first.
    branches: Vec<usize>,
}

impl Radix {
    /// Adds the next key; keys must come in ascending order. Any other order only makes the count inexact.
    pub(super) fn add(&mut self, key: [u8; LENGTH]) {
        if self.keys > 0 {
            let shared = self.last.iter().zip(&key).take_while(|(a, b)| a == b).count();
            if shared == LENGTH {
                return;
            }
            let below = self.close_below(shared);
            self.nodes += run(shared, below);
            if self.branches.last() != Some(&shared) {
                self.branches.push(shared);
                self.nodes += 1;
            }
        }
        self.keys += 1;
        self.nodes += 1;
        self.last = key;
    }

    /// Counts the runs below `depth` on the path to the last key and leaves them; returns the depth of the last node.
    fn close_below(&mut self, depth: usize) -> usize {
        let mut child = LENGTH;
        while let Some(&branch) = self.branches.last() {
            if branch <= depth {
                break;
            }
            self.nodes += run(branch, child);
            child = branch;
            self.branches.pop();
        }
        child
    }

    /// Keys and nodes of the whole tree.
    pub(super) fn finish(mut self) -> (u64, u64) {
        if self.keys == 0 {
            return (0, 1);
        }
        let mut child = LENGTH;
        while let Some(branch) = self.branches.pop() {
            self.nodes += run(branch, child);
            child = branch;
        }
        (self.keys, self.nodes + u64::from(child > 0))
    }
}

/// One node for the bytes between a branching node, which takes one byte itself, and the node below it.
fn run(branch: usize, below: usize) -> u64 {
    u64::from(below > branch + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(keys: &[u128]) -> (u64, u64) {
        let mut radix = Radix::default();
        for key in keys {
            radix.add(key.to_be_bytes());
        }
        radix.finish()
    }

    #[test]
    fn an_empty_tree_is_its_root() {
        assert_eq!(counted(&[]), (0, 1));
    }

    #[test]
    fn one_key_is_a_run_and_a_leaf() {
        assert_eq!(counted(&[7]), (1, 2));
    }

    #[test]
    fn keys_that_part_at_the_last_byte_share_run_and_branch() {
        assert_eq!(counted(&[1, 2]), (2, 4));
        assert_eq!(counted(&[1, 2, 3, 4]), (4, 6));
    }

    #[test]
    fn keys_that_part_earlier_have_a_run_each() {
        // Run, branch, two runs of one byte, two leaves.
        assert_eq!(counted(&[0x01_00, 0x02_00]), (2, 6));
        // Below the first branch a second one stands at once.
        assert_eq!(counted(&[0x01_00, 0x01_01, 0x02_00]), (3, 7));
    }
}
