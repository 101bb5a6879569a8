//! Which blocks are a function's hot loops.
//!
//! Slow paths come back into the loops that they leave, and so belong to them in the graph. They are
//! told by what they do: they call the runtime's checkpoint. Without the blocks that do, and those
//! that are reached through them only, what is left of a loop is what each iteration may execute.

use super::code::FunctionCode;
use std::collections::{BTreeMap, BTreeSet};

/// The outermost loops, each as the addresses of its blocks, in the order of their headers.
/// `is_slow` tells blocks of slow paths by their address.
pub(super) fn hot_loops(code: &FunctionCode, is_slow: impl Fn(u64) -> bool) -> Vec<BTreeSet<u64>> {
    let mut next: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut pending = vec![code.entry];
    while let Some(block) = pending.pop() {
        next.entry(block).or_insert_with(|| {
            let mut targets = code.next_blocks(block);
            targets.retain(|&target| !is_slow(target));
            pending.extend(&targets);
            targets
        });
    }
    // Blocks that reach each other: each such set is an outermost loop.
    let reached: BTreeMap<u64, BTreeSet<u64>> =
        next.keys().map(|&block| (block, reachable(&next, block))).collect();
    let mut loops = Vec::new();
    let mut placed: BTreeSet<u64> = BTreeSet::new();
    for (&block, from_block) in &reached {
        if from_block.contains(&block) && !placed.contains(&block) {
            let members =
                from_block.iter().copied().filter(|other| reached[other].contains(&block));
            let members: BTreeSet<u64> = members.collect();
            placed.extend(&members);
            loops.push(members);
        }
    }
    loops
}

/// What can be reached from `block` by at least one edge.
fn reachable(next: &BTreeMap<u64, Vec<u64>>, block: u64) -> BTreeSet<u64> {
    let mut reached = BTreeSet::new();
    let mut pending = next[&block].clone();
    while let Some(at) = pending.pop() {
        if reached.insert(at) {
            pending.extend(&next[&at]);
        }
    }
    reached
}

#[test]
fn slow_paths_are_no_part_of_the_loops_that_they_come_back_to() {
    let text = [
        0x85, 0xc0, // 0: test eax, eax
        0x78, 0x06, // 2: js 10
        0xff, 0xc8, // 4: dec eax
        0x75, 0xf8, // 6: jne 0
        0xc3, 0x90, // 8: ret
        0xff, 0xd0, // 10: call rax
        0xeb, 0xf6, // 12: jmp 4
    ];
    let code = FunctionCode::decode(&text, &(0..14));
    assert_eq!(hot_loops(&code, |_| false), [BTreeSet::from([0, 4, 10])]);
    assert_eq!(hot_loops(&code, |block| block == 10), [BTreeSet::from([0, 4])]);
    assert!(hot_loops(&code, |block| block == 4).is_empty());
}
