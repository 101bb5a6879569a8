//! What can happen to bytes.

use crate::Choices;

/// Damages bytes in one of many ways; `other` is what parts can come from instead. The result may
/// be the same bytes by chance.
pub fn damaged(bytes: &[u8], other: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=choices.below(3) {
        damage(&mut out, other, choices);
    }
    out
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], choices: &mut Choices<'_>) {
    if bytes.is_empty() {
        bytes.push(choices.number() as u8);
        return;
    }
    let len = bytes.len();
    let at = place(len, choices);
    match choices.below(9) {
        0 => bytes[at] ^= 1 << choices.below(8),
        1 => bytes[at] = choices.pick(&[0, 1, 0x7f, 0x80, 0xff]),
        // A length, or an offset.
        2 => {
            let number = choices.pick(&[0, 1, 0xffff, u32::MAX, i32::MAX as u32, len as u32]);
            let end = len.min(at + 4);
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
        3 => bytes.truncate(at),
        4 => {
            bytes.remove(at);
        }
        5 => bytes.insert(at, choices.number() as u8),
        // The rest comes from another artifact.
        6 => {
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or(&[]));
        }
        // Two ranges change places.
        7 => {
            let to = place(len, choices);
            let (low, high) = (at.min(to), at.max(to));
            let count = choices.below(64).min(high - low).min(len - high);
            let (front, back) = bytes.split_at_mut(high);
            front[low..low + count].swap_with_slice(&mut back[..count]);
        }
        _ => {
            let end = len.min(at + choices.below(64));
            bytes[at..end].fill(0);
        }
    }
}

/// A place in so many bytes: often near the start or the end, where formats have their headers.
fn place(len: usize, choices: &mut Choices<'_>) -> usize {
    let near = choices.number() as usize % len.min(128);
    match choices.below(4) {
        0 => near,
        1 => len - 1 - near,
        _ => choices.number() as usize % len,
    }
}
