//! Call frame information: how to step from a frame to its caller's, at any instruction.
//!
//! Every function keeps a frame pointer, so a few rules are all there is:
//!
//! ```text
//!                              CFA        rbp         return address: always at CFA−8
//!   push rbp                   rsp+8      as it is
//!   mov rbp, rsp               rsp+16     at CFA−16
//!   ...                        rbp+16     at CFA−16
//!   mov rsp, rbp; pop rbp      rbp+16     at CFA−16
//!   ret, or a tail call        rsp+8      as it is
//! ```
//!
//! A function of the `tail` convention pops its arguments on the stack as it returns. That is no
//! matter here: its caller finds everything by its own `rbp`.
//!
//! A function with tail calls that take more arguments on the stack than it has itself moves its
//! frame down behind the prologue:
//!
//! ```text
//!   sub rsp, n                 rbp+16     at CFA−16
//!   mov rbp, rsp               rbp+16     at CFA−16
//!   4 moves through r11        rbp+n+16   at CFA−16: the old place, which they leave alone
//!   ...                        rbp+16     at CFA−16: the new one
//! ```
//!
//! A tail call that takes fewer moves the return address up between its epilogue and its jump:
//! `mov r, [rsp]; mov [rsp+n], r; add rsp, n`. The rule holds at all of them, for the old place is
//! left alone and the new one is as good.
//!
//! Of the other registers that a callee preserves, the place is not told: they are *undefined*,
//! and a debugger shows them as not saved.

use super::{NativeCode, PROLOGUE};
use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, X86_64};

/// `mov rsp, rbp; pop rbp`
const EPILOGUE: [u8; 4] = [0x48, 0x89, 0xec, 0x5d];
/// `mov rbp, rsp`
const MOV_RBP_RSP: [u8; 3] = [0x48, 0x89, 0xe5];

/// The version is `.debug_frame`'s own, which happens to be that of DWARF 4.
const ENCODING: Encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 8 };

/// An entry for each function that starts as they all should; an unwinder is better off without
/// rules than with wrong ones.
pub(super) fn frame_table(code: &NativeCode<'_>) -> FrameTable {
    let mut table = FrameTable::default();
    let mut common = CommonInformationEntry::new(ENCODING, 1, -8, X86_64::RA);
    common.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 8));
    common.add_instruction(CallFrameInstruction::Offset(X86_64::RA, -8));
    for register in [X86_64::RBX, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15] {
        common.add_instruction(CallFrameInstruction::Undefined(register));
    }
    let common = table.add_cie(common);
    for function in &code.functions {
        let bytes = code.code_of(function);
        if !bytes.starts_with(&PROLOGUE) {
            continue;
        }
        let start = Address::Constant(code.address_of(function));
        let mut entry = FrameDescriptionEntry::new(start, bytes.len() as u32);
        if function.outermost {
            entry.add_instruction(0, CallFrameInstruction::Undefined(X86_64::RA));
        }
        for (offset, instruction) in changes(bytes) {
            entry.add_instruction(offset, instruction);
        }
        table.add_fde(common, entry);
    }
    table
}

/// What changes where in a function that starts with the prologue.
fn changes(bytes: &[u8]) -> Vec<(u32, CallFrameInstruction)> {
    let mut changes = vec![
        (1, CallFrameInstruction::CfaOffset(16)),
        (1, CallFrameInstruction::Offset(X86_64::RBP, -16)),
        (4, CallFrameInstruction::CfaRegister(X86_64::RBP)),
    ];
    if let Some(growth) = growth(bytes) {
        changes.push((growth.moved, CallFrameInstruction::CfaOffset(16 + growth.bytes)));
        changes.push((growth.done, CallFrameInstruction::CfaOffset(16)));
    }
    // The bytes of an epilogue can be those of a constant by chance. The rules change for one byte
    // alone, the first of the instruction behind it. Such a byte inside of an instruction is never
    // a program counter; and it is no return address less one, by which callers are looked up,
    // because these five bytes do not fit behind the opcode of a call. The longer sequence of a
    // tail call, 17 bytes or more that depend on each other, does not come about by chance.
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(EPILOGUE.len()).position(|code| code == EPILOGUE) {
        at += found + EPILOGUE.len();
        if at < bytes.len() {
            let (popped, next) = (at as u32, (at + return_address_moves(&bytes[at..])) as u32 + 1);
            changes.push((popped, CallFrameInstruction::Cfa(X86_64::RSP, 8)));
            changes.push((popped, CallFrameInstruction::Restore(X86_64::RBP)));
            if (next as usize) < bytes.len() {
                changes.push((next, CallFrameInstruction::Cfa(X86_64::RBP, 16)));
                changes.push((next, CallFrameInstruction::Offset(X86_64::RBP, -16)));
            }
        }
    }
    changes.sort_by_key(|(offset, _)| *offset);
    changes
}

/// Bytes of the instructions that move the return address up for a tail call, if that is what
/// `bytes` start with; else 0.
fn return_address_moves(bytes: &[u8]) -> usize {
    let moves = || {
        let [rex @ (0x48 | 0x4c), 0x8b, modrm, 0x24, rest @ ..] = bytes else { return None };
        let register = modrm & 0b111_000;
        (*modrm == register | 0b100).then_some(())?;
        let (store, n, rest) = match rest {
            [a, 0x89, b, 0x24, n, rest @ ..] if b >> 6 == 1 => ([a, b], i32::from(*n as i8), rest),
            [a, 0x89, b, 0x24, n0, n1, n2, n3, rest @ ..] if b >> 6 == 2 => {
                ([a, b], i32::from_le_bytes([*n0, *n1, *n2, *n3]), rest)
            }
            _ => return None,
        };
        (store[0] == rex && store[1] & 0b111_111 == register | 0b100).then_some(())?;
        let (added, rest) = match rest {
            [0x48, 0x83, 0xc4, n, rest @ ..] => (i32::from(*n as i8), rest),
            [0x48, 0x81, 0xc4, a, b, c, d, rest @ ..] => {
                (i32::from_le_bytes([*a, *b, *c, *d]), rest)
            }
            _ => return None,
        };
        (added == n && !rest.is_empty()).then_some(bytes.len() - rest.len())
    };
    moves().unwrap_or(0)
}

/// How a function moves its frame down.
#[derive(PartialEq, Eq, Debug)]
struct Growth {
    bytes: i32,
    /// Where `rbp` has moved.
    moved: u32,
    /// Where the return address and the caller's `rbp` have, too.
    done: u32,
}

/// Finds the code that moves the frame: what the test of the stack limit is before it varies.
fn growth(bytes: &[u8]) -> Option<Growth> {
    /// The moves through r11, with displacements of a byte or of four.
    const LOAD: [u8; 2] = [0x4c, 0x8b];
    const STORE: [u8; 2] = [0x4c, 0x89];
    /// The test of the stack limit is shorter.
    const SEARCHED: usize = 64;

    let searched = &bytes[..bytes.len().min(SEARCHED)];
    for at in PROLOGUE.len()..searched.len() {
        // sub rsp, n
        let rest = &bytes[at..];
        let (n, sub) = match rest {
            [0x48, 0x83, 0xec, n, ..] => (i32::from(*n as i8), 4),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => (i32::from_le_bytes([*a, *b, *c, *d]), 7),
            _ => continue,
        };
        let Some(moves) = rest[sub..].strip_prefix(&MOV_RBP_RSP) else { continue };
        // mov r11, [rsp+n]; mov [rsp], r11; mov r11, [rsp+n+8]; mov [rsp+8], r11
        let mut length = 0;
        for opcode in [LOAD, STORE, LOAD, STORE] {
            let [a, b, modrm, 0x24, ..] = &moves[length..] else { return None };
            if [*a, *b] != opcode {
                return None;
            }
            length += match modrm {
                0x1c => 4,
                0x5c => 5,
                0x9c => 8,
                _ => return None,
            };
            moves.get(length..)?;
        }
        let moved = (at + sub + MOV_RBP_RSP.len()) as u32;
        return Some(Growth { bytes: n, moved, done: moved + length as u32 });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::NativeFunction;
    use super::super::tests::{sample, sample_text};
    use super::*;
    use gimli::write::{DebugFrame as Out, EndianVec};
    use gimli::{
        BaseAddresses, CfaRule, DebugFrame, LittleEndian, RegisterRule, UnwindContext,
        UnwindSection as _,
    };

    /// The rules at an address: `(CFA register, offset)`, rbp's, and whether the return address is
    /// known.
    fn rules(
        code: &NativeCode<'_>,
        address: u64,
    ) -> Option<((gimli::Register, i64), Option<i64>, bool)> {
        let mut out = Out(EndianVec::new(LittleEndian));
        frame_table(code).write_debug_frame(&mut out).unwrap();
        let mut section = DebugFrame::new(out.0.slice(), LittleEndian);
        section.set_address_size(8);
        let mut context = UnwindContext::new();
        let row = section.unwind_info_for_address(
            &BaseAddresses::default(),
            &mut context,
            address,
            DebugFrame::cie_from_offset,
        );
        let row = row.ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { panic!() };
        let rbp = match row.register(X86_64::RBP) {
            Some(RegisterRule::Offset(offset)) => Some(offset),
            None => None,
            other => panic!("{other:?}"),
        };
        let ra = match row.register(X86_64::RA) {
            Some(RegisterRule::Offset(-8)) => true,
            Some(RegisterRule::Undefined) => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(row.register(X86_64::RBX), Some(RegisterRule::Undefined));
        Some(((register, offset), rbp, ra))
    }

    const ENTERED: ((gimli::Register, i64), Option<i64>, bool) = ((X86_64::RSP, 8), None, true);
    const PUSHED: ((gimli::Register, i64), Option<i64>, bool) =
        ((X86_64::RSP, 16), Some(-16), true);
    const FRAMED: ((gimli::Register, i64), Option<i64>, bool) =
        ((X86_64::RBP, 16), Some(-16), true);

    #[test]
    fn every_instruction_of_a_prologue_and_an_epilogue_has_its_rules() {
        let text = sample_text();
        let code = sample(&text);
        let at = |offset: u64| rules(&code, 0x10000 + offset);
        assert_eq!(at(16), Some(ENTERED)); // push rbp
        assert_eq!(at(17), Some(PUSHED)); // mov rbp, rsp
        for offset in 20..47 {
            assert_eq!(at(offset), Some(FRAMED), "{offset}"); // to the `pop rbp`
        }
        assert_eq!(at(47), Some(ENTERED)); // ret
        assert_eq!((at(15), at(48), at(63)), (None, None, None));
        // The outermost function's caller is nobody's business, from its first byte on.
        for (offset, expected) in [(64, ENTERED), (65, PUSHED), (68, FRAMED), (79, ENTERED)] {
            assert_eq!(at(offset), Some((expected.0, expected.1, false)), "{offset}");
        }
        assert_eq!(at(80), None);
    }

    fn function(bytes: &[u8]) -> NativeCode<'_> {
        let functions = vec![NativeFunction {
            name: "f".into(),
            code: 0..bytes.len() as u32,
            lines: vec![],
            outermost: false,
        }];
        NativeCode { functions, address: 0, ..sample(bytes) }
    }

    #[test]
    fn a_tail_call_and_code_behind_a_return_have_their_rules() {
        let mut bytes = PROLOGUE.to_vec();
        bytes.extend(EPILOGUE);
        bytes.extend([0xe9, 1, 2, 3, 4]); // jmp
        bytes.extend([0x90; 3]);
        bytes.extend(EPILOGUE);
        bytes.extend([0xc2, 16, 0]); // ret 16
        bytes.extend([0x0f, 0x0b]); // ud2
        let code = function(&bytes);
        for at in 4..bytes.len() as u64 {
            let expected = if at == 8 || at == 20 { ENTERED } else { FRAMED };
            assert_eq!(rules(&code, at), Some(expected), "{at}");
        }
    }

    #[test]
    fn a_tail_call_that_moves_the_return_address_has_its_rules() {
        let narrow: &[u8] = &[
            0x4c, 0x8b, 0x1c, 0x24, // mov r11, [rsp]
            0x4c, 0x89, 0x5c, 0x24, 0x60, // mov [rsp+96], r11
            0x48, 0x83, 0xc4, 0x60, // add rsp, 96
            0xe9, 1, 2, 3, 4, // jmp
        ];
        let wide: &[u8] = &[
            0x48, 0x8b, 0x04, 0x24, // mov rax, [rsp]
            0x48, 0x89, 0x84, 0x24, 0x50, 1, 0, 0, // mov [rsp+336], rax
            0x48, 0x81, 0xc4, 0x50, 1, 0, 0, // add rsp, 336
            0xff, 0xe1, // jmp rcx
        ];
        for (moves, jump) in [(narrow, 5), (wide, 2)] {
            let bytes = [&PROLOGUE, &EPILOGUE, moves, &[0x90, 0x90]].concat();
            let code = function(&bytes);
            for at in 4..bytes.len() {
                let popped = (8..=8 + moves.len() - jump).contains(&at);
                let expected = if popped { ENTERED } else { FRAMED };
                assert_eq!(rules(&code, at as u64), Some(expected), "{at}");
            }
            // Any other instruction among them, and it is not that.
            assert_eq!(return_address_moves(moves), moves.len() - jump);
            for at in 0..moves.len() - jump {
                let mut other = moves.to_vec();
                other[at] ^= 1;
                assert_eq!(return_address_moves(&other), 0, "{at}");
                assert_eq!(return_address_moves(&moves[..at]), 0, "{at}");
            }
        }
    }

    #[test]
    fn a_frame_that_moves_has_its_rules() {
        for wide in [false, true] {
            let mut bytes = PROLOGUE.to_vec();
            bytes.extend([0x48, 0x83, 0xec, 0x20]); // no growth: sub rsp, 32
            bytes.extend(match wide {
                true => &[0x48, 0x81, 0xec, 0x50, 0x01, 0, 0][..], // sub rsp, 336
                false => &[0x48, 0x83, 0xec, 0x50],                // sub rsp, 80
            });
            bytes.extend(MOV_RBP_RSP);
            let moved = bytes.len() as u64;
            bytes.extend(match wide {
                true => &[0x4c, 0x8b, 0x9c, 0x24, 0x50, 0x01, 0, 0][..],
                false => &[0x4c, 0x8b, 0x5c, 0x24, 0x50],
            });
            bytes.extend([0x4c, 0x89, 0x1c, 0x24]);
            bytes.extend(match wide {
                true => &[0x4c, 0x8b, 0x9c, 0x24, 0x58, 0x01, 0, 0][..],
                false => &[0x4c, 0x8b, 0x5c, 0x24, 0x58],
            });
            bytes.extend([0x4c, 0x89, 0x5c, 0x24, 0x08]);
            let done = bytes.len() as u64;
            bytes.extend([0x90, 0x90]);
            let code = function(&bytes);
            let bytes_moved = if wide { 336 } else { 80 };
            for at in 4..bytes.len() as u64 {
                let offset = if (moved..done).contains(&at) { 16 + bytes_moved } else { 16 };
                let expected = ((X86_64::RBP, offset), Some(-16), true);
                assert_eq!(rules(&code, at), Some(expected), "{at}");
            }
            // Cut off anywhere, it is not taken for one that moves.
            for cut in moved as usize - 3..done as usize {
                assert_eq!(growth(&bytes[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn a_function_that_starts_otherwise_has_no_rules() {
        let code = [0x48, 0x83, 0xec, 0x08, 0xc3];
        assert_eq!(rules(&function(&code), 1), None);
    }
}
