//! The frame table: from a code address to the place in the wasm program.
//!
//! One per module. A row stands for an address where a frame can be found stopped: the return
//! address of a call (the frame is frozen there), or an instruction that can trap. It gives the
//! wasm pc, and for a trap its [`Trap`] and the fuel that the instruction's straight-line run had
//! charged in advance and that the trap leaves unexecuted; see `docs/rationale.md`.
//!
//! # Format
//!
//! ```text
//!   u32               number of defined functions n
//!   [u32; n + 1]      where each function's rows start in the rows below; the last is their end
//!   rows              per row, in ascending native offset:
//!                       varint   native offset − that of the row before (first: − 0)
//!                       varint   zigzag(wasm pc − that of the row before (first: − body start))
//!                       u8       0: a call; 127: a call with a handler, whose offset and frame size
//!                                follow as varints; else bits 0..6 the trap's code, and bit 7:
//!                                refund follows
//!                       varint   refund, if so marked
//! ```
//!
//! Native offsets count from the function's first byte, wasm pcs from the start of the wasm file.
//! Two rows can have the same native offset: a call's return address can be a trapping
//! instruction, and one instruction can trap in two ways.

use crate::trap::Trap;
use anyhow::{Context, Result, bail, ensure};

/// Bytes from the start of a function's machine code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NativeOffset(pub u32);

/// Bytes from the start of the wasm file: where an operator's first byte is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WasmPc(pub u32);

/// A row of the frame table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// For a call, the return address; for a trap, the instruction.
    pub native: NativeOffset,
    /// The operator that the instruction belongs to.
    pub wasm_pc: WasmPc,
    /// What stops here.
    pub kind: RowKind,
}

/// What stops at a row's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowKind {
    /// A call out of this frame.
    Call,
    /// A call out of this frame, inside of a `try_table`: where exceptions of the callee go.
    CallWithHandler(Handler),
    /// An instruction that can trap.
    Trap {
        /// Why it traps.
        trap: Trap,
        /// Fuel charged by the run and not executed when it traps, in units of fuel.
        refund: u64,
    },
}

/// Where an exception that comes out of a call goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// The handler's code.
    pub landing: NativeOffset,
    /// Bytes from the frame pointer down to the stack pointer that the handler wants.
    pub frame_size: u32,
}

impl RowKind {
    /// Whether the frame stands here because it called.
    pub fn is_call(self) -> bool {
        matches!(self, RowKind::Call | RowKind::CallWithHandler(_))
    }
}

/// The mark of a call with a handler; no trap has this code.
const WITH_HANDLER: u8 = 0x7f;

/// Collects the rows of a module, function by function.
#[derive(Debug, Default)]
pub struct FrameTableBuilder {
    starts: Vec<u32>,
    rows: Vec<u8>,
}

impl FrameTableBuilder {
    /// A table without functions.
    pub fn new() -> FrameTableBuilder {
        FrameTableBuilder::default()
    }

    /// Adds the encoded rows of the next defined function, as [`encode_rows`] made them.
    pub fn push_function(&mut self, encoded: &[u8]) {
        self.starts.push(self.rows.len() as u32);
        self.rows.extend_from_slice(encoded);
    }

    /// The table's bytes.
    ///
    /// # Errors
    ///
    /// If the rows exceed 4 GiB.
    pub fn finish(self) -> Result<Vec<u8>> {
        let end = u32::try_from(self.rows.len()).context("frame table exceeds 4 GiB")?;
        let mut bytes = Vec::with_capacity(8 + 4 * self.starts.len() + self.rows.len());
        bytes.extend_from_slice(&(self.starts.len() as u32).to_le_bytes());
        for start in self.starts.iter().copied().chain([end]) {
            bytes.extend_from_slice(&start.to_le_bytes());
        }
        bytes.extend_from_slice(&self.rows);
        Ok(bytes)
    }
}

/// Encodes one function's rows, which must ascend by native offset; `body_start` is where its body
/// lies in the wasm file.
///
/// # Panics
///
/// If the rows do not ascend.
pub fn encode_rows(rows: &[Row], body_start: WasmPc) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 3);
    let (mut native, mut pc) = (0, body_start.0);
    for row in rows {
        assert!(row.native.0 >= native, "frame table rows must ascend");
        write_varint(&mut out, u64::from(row.native.0 - native));
        write_varint(&mut out, zigzag(i64::from(row.wasm_pc.0) - i64::from(pc)));
        match row.kind {
            RowKind::Call => out.push(0),
            RowKind::CallWithHandler(handler) => {
                out.push(WITH_HANDLER);
                write_varint(&mut out, u64::from(handler.landing.0));
                write_varint(&mut out, u64::from(handler.frame_size));
            }
            RowKind::Trap { trap, refund: 0 } => out.push(trap.code()),
            RowKind::Trap { trap, refund } => {
                out.push(trap.code() | 0x80);
                write_varint(&mut out, refund);
            }
        }
        (native, pc) = (row.native.0, row.wasm_pc.0);
    }
    out
}

/// A frame table's bytes, checked once at [`FrameTable::parse`].
#[derive(Clone, Copy, Debug)]
pub struct FrameTable<'a> {
    starts: &'a [u8],
    rows: &'a [u8],
}

impl<'a> FrameTable<'a> {
    /// Reads the table of a module with `functions` defined functions.
    ///
    /// # Errors
    ///
    /// If the header does not fit the bytes or the number of functions.
    pub fn parse(bytes: &'a [u8], functions: usize) -> Result<FrameTable<'a>> {
        let (count, rest) = bytes.split_first_chunk::<4>().context("frame table is cut off")?;
        ensure!(
            u32::from_le_bytes(*count) as usize == functions,
            "frame table is of a module with another number of functions"
        );
        let header = (functions + 1) * 4;
        ensure!(rest.len() >= header, "frame table is cut off");
        let (starts, rows) = rest.split_at(header);
        let table = FrameTable { starts, rows };
        let mut last = 0;
        for i in 0..=functions {
            let start = table.start(i);
            if start < last || start > rows.len() {
                bail!("frame table: the rows of function {i} are out of order");
            }
            last = start;
        }
        Ok(table)
    }

    /// The table in bytes that [`FrameTable::parse`] has accepted for as many functions.
    ///
    /// # Panics
    ///
    /// If the bytes are too short; other bytes give wrong rows.
    pub fn of_checked(bytes: &'a [u8], functions: usize) -> FrameTable<'a> {
        let (starts, rows) = bytes[4..].split_at((functions + 1) * 4);
        FrameTable { starts, rows }
    }

    fn start(&self, i: usize) -> usize {
        let bytes = self.starts[i * 4..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    /// The rows of the `defined`-th function of the module, in ascending native offset. Damaged
    /// rows end the iteration.
    pub fn rows(&self, defined: usize, body_start: WasmPc) -> Rows<'a> {
        let bytes = match defined < self.starts.len() / 4 - 1 {
            true => &self.rows[self.start(defined)..self.start(defined + 1)],
            false => &[],
        };
        Rows { bytes, native: 0, pc: body_start.0 }
    }

    /// The row of the call that returns to `native`, if there is one.
    pub fn call_at(&self, defined: usize, body_start: WasmPc, native: NativeOffset) -> Option<Row> {
        self.rows(defined, body_start)
            .take_while(|row| row.native <= native)
            .find(|row| row.native == native && row.kind.is_call())
    }

    /// The rows of the traps that the instruction at `native` can raise: none, one or two.
    pub fn traps_at(
        &self,
        defined: usize,
        body_start: WasmPc,
        native: NativeOffset,
    ) -> impl Iterator<Item = Row> + use<'a> {
        self.rows(defined, body_start)
            .take_while(move |row| row.native <= native)
            .filter(move |row| row.native == native && !row.kind.is_call())
    }
}

/// Iterator over a function's rows.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    native: u32,
    pc: u32,
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let native = u32::try_from(read_varint(&mut self.bytes)?).ok()?;
        self.native = self.native.checked_add(native)?;
        let pc = i64::from(self.pc).checked_add(unzigzag(read_varint(&mut self.bytes)?))?;
        self.pc = u32::try_from(pc).ok()?;
        let (&kind, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let kind = match kind {
            0 => RowKind::Call,
            WITH_HANDLER => {
                let mut word = || u32::try_from(read_varint(&mut self.bytes)?).ok();
                let landing = NativeOffset(word()?);
                RowKind::CallWithHandler(Handler { landing, frame_size: word()? })
            }
            code => {
                let refund = if code & 0x80 != 0 { read_varint(&mut self.bytes)? } else { 0 };
                RowKind::Trap { trap: Trap::from_code(code & 0x7f)?, refund }
            }
        };
        Some(Row { native: NativeOffset(self.native), wasm_pc: WasmPc(self.pc), kind })
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(native: u32, pc: u32, kind: RowKind) -> Row {
        Row { native: NativeOffset(native), wasm_pc: WasmPc(pc), kind }
    }

    #[test]
    fn rows_round_trip_and_are_found_by_address_and_kind() {
        let oob = |refund| RowKind::Trap { trap: Trap::MemoryOutOfBounds, refund };
        let handler = Handler { landing: NativeOffset(299), frame_size: 512 };
        let first = [
            row(7, 110, RowKind::Call),
            row(7, 112, oob(0)),
            row(200, 113, RowKind::CallWithHandler(handler)),
            row(300, 105, oob(1 << 40)),
        ];
        let second = [row(0, 999, RowKind::Trap { trap: Trap::StackOverflow, refund: u64::MAX })];
        let mut builder = FrameTableBuilder::new();
        builder.push_function(&encode_rows(&first, WasmPc(100)));
        builder.push_function(&encode_rows(&[], WasmPc(150)));
        builder.push_function(&encode_rows(&second, WasmPc(1000)));
        let bytes = builder.finish().unwrap();
        let table = FrameTable::parse(&bytes, 3).unwrap();
        assert_eq!(table.rows(0, WasmPc(100)).collect::<Vec<_>>(), first);
        assert_eq!(table.rows(1, WasmPc(150)).count(), 0);
        assert_eq!(table.rows(2, WasmPc(1000)).collect::<Vec<_>>(), second);
        assert_eq!(table.call_at(0, WasmPc(100), NativeOffset(7)), Some(first[0]));
        assert_eq!(table.call_at(0, WasmPc(100), NativeOffset(200)), Some(first[2]));
        assert_eq!(table.call_at(0, WasmPc(100), NativeOffset(8)), None);
        let traps: Vec<_> = table.traps_at(0, WasmPc(100), NativeOffset(7)).collect();
        assert_eq!(traps, first[1..2]);
        assert_eq!(table.rows(3, WasmPc(0)).count(), 0);
    }

    #[test]
    fn damaged_tables_are_refused_or_end_early() {
        let mut builder = FrameTableBuilder::new();
        builder.push_function(&encode_rows(&[row(7, 110, RowKind::Call)], WasmPc(100)));
        let bytes = builder.finish().unwrap();
        assert!(FrameTable::parse(&bytes, 2).is_err());
        assert!(FrameTable::parse(&bytes[..9], 1).is_err());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(table) = FrameTable::parse(&damaged, 1) {
                    let _ = table.rows(0, WasmPc(100)).count();
                }
            }
        }
    }
}
