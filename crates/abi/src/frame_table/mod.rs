//! The frame table: from a code address to the place in the wasm program, and to its state.
//!
//! One per module. A row stands for an address where a frame can be found stopped: the return
//! address of a call (the frame is frozen there), or an instruction that can trap. It gives the
//! wasm pc, what of the frame's locals and operands can be read and where ([`Readable`], over the
//! function's [`FrameLayout`]), and for a trap its [`Trap`] and the fuel that the instruction's
//! straight-line run had charged in advance and that the trap leaves unexecuted; see
//! `docs/rationale.md`.
//!
//! # Format
//!
//! ```text
//!   u32               number of defined functions n
//!   [u32; n + 1]      where each function starts in what follows; the last is the end
//!   functions, each:
//!     varint          bytes of the layout
//!     layout          locals and cells: `layout.rs`
//!     varint          number d of blocks after the first
//!     [3 × u32; d]    of each block's first row the native offset and the wasm pc, and where the
//!                     block starts in the rows
//!     rows            in ascending native offset, in blocks of at least 32:
//!       varint        native offset − that of the row before (in a first block's first row: − 0)
//!       varint        zigzag(wasm pc − that of the row before (first: − body start))
//!       u8, varint    if the row is of another inlined body than the row before: 30, and the number
//!                     of its site in the layout, 0 for the function's own body
//!       u8            bits 0..5: 0 for a call, 31 for a call with a handler, else the trap's code
//!                     bit 5: the readable cells are not those of the row before
//!                     bit 6: the operands are not those of the row before
//!                     bit 7: a refund follows
//!       2 × varint    the handler's offset and frame size, if it is a call with one
//!       varint        the refund, if so marked
//!       cells         if so marked: what changed, as varints: twice the number of items, and 1
//!                     more if these are runs; then for each the gap to the cell before, and for a
//!                     run how many cells follow its first
//!       operands      if so marked: varint how many of the row before stay, varint how many come
//!                     on top, and a byte for each of these
//! ```
//!
//! A block's first row is coded against nothing: no readable cells, no operands, and the function's
//! own body; its native offset and wasm pc are against those in the directory. So a row is found by reading at most one
//! block. A block goes on beyond 32 rows until it is several times as long as the list of readable
//! cells that the next one has to start with.
//!
//! Native offsets count from the function's first byte, wasm pcs from the start of the wasm file.
//! Two rows can have the same native offset: a call's return address can be a trapping
//! instruction, and one instruction can trap in two ways.

mod bytes;
mod layout;

pub use layout::{Cell, CellSet, FrameLayout, InlineSite, Readable};

use crate::trap::Trap;
use anyhow::{Context, Result, bail, ensure};
use bytes::{read_u8, read_u32, read_varint, unzigzag, write_varint, zigzag};
use layout::{changes, decode_changes, decode_layout, encode_changes, encode_layout};
use std::borrow::BorrowMut;

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
    /// The inlined body that the operator is in, as a position in [`FrameLayout::sites`]; `None`: the
    /// function's own.
    pub site: Option<u32>,
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

/// What marks a call with a handler; no trap has this code.
const WITH_HANDLER: u8 = 31;
/// What comes before the kind of a row that is of another body than the row before; no trap has
/// this code.
const SITE: u8 = 30;
/// The bits of a row's kind.
const KIND: u8 = 0x1f;
/// Marks a row with a refund.
const REFUND: u8 = 0x80;

const _: () = assert!(Trap::ALL.len() < SITE as usize);

/// Rows in a block, at least.
const BLOCK: usize = 32;
/// How many times as long a block must be, in bytes, as what the next one must say of its first
/// row's state.
const BLOCK_RATIO: usize = 4;
/// Bytes of a block's entry in the directory.
const ENTRY: usize = 12;

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

    /// Adds the next defined function, as [`encode_function`] made it.
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

/// Encodes one function: where its state lies, and its rows with what can be read at each. The
/// rows must ascend by native offset; `body_start` is where its body lies in the wasm file.
///
/// # Panics
///
/// If the rows do not ascend.
pub fn encode_function(
    layout: &FrameLayout,
    rows: &[(Row, &Readable)],
    body_start: WasmPc,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + rows.len() * 4);
    let mut encoded = Vec::new();
    encode_layout(layout, &mut encoded);
    write_varint(&mut out, encoded.len() as u64);
    out.append(&mut encoded);

    let nothing = Readable::default();
    let (mut native, mut pc, mut before, mut site) = (0, body_start.0, &nothing, None);
    let mut directory = Vec::new();
    // Of the block that is being written: its rows, and where it starts.
    let (mut in_block, mut start) = (0, 0);
    for &(row, state) in rows {
        assert!(row.native.0 >= native, "frame table rows must ascend");
        if in_block >= BLOCK {
            let mut head = Vec::new();
            encode_changes(&nothing, state, &mut head);
            if encoded.len() - start >= BLOCK_RATIO * head.len() {
                (native, pc, before, site) = (row.native.0, row.wasm_pc.0, &nothing, None);
                (in_block, start) = (0, encoded.len());
                for word in [native, pc, start as u32] {
                    directory.extend_from_slice(&word.to_le_bytes());
                }
            }
        }
        in_block += 1;
        write_varint(&mut encoded, u64::from(row.native.0 - native));
        write_varint(&mut encoded, zigzag(i64::from(row.wasm_pc.0) - i64::from(pc)));
        if row.site != site {
            encoded.push(SITE);
            write_varint(&mut encoded, row.site.map_or(0, |site| u64::from(site) + 1));
        }
        encode_kind(row.kind, changes(before, state), &mut encoded);
        encode_changes(before, state, &mut encoded);
        (native, pc, before, site) = (row.native.0, row.wasm_pc.0, state, row.site);
    }
    write_varint(&mut out, (directory.len() / ENTRY) as u64);
    out.append(&mut directory);
    out.append(&mut encoded);
    out
}

fn encode_kind(kind: RowKind, changes: u8, out: &mut Vec<u8>) {
    match kind {
        RowKind::Call => out.push(changes),
        RowKind::CallWithHandler(handler) => {
            out.push(WITH_HANDLER | changes);
            write_varint(out, u64::from(handler.landing.0));
            write_varint(out, u64::from(handler.frame_size));
        }
        RowKind::Trap { trap, refund: 0 } => out.push(trap.code() | changes),
        RowKind::Trap { trap, refund } => {
            out.push(trap.code() | changes | REFUND);
            write_varint(out, refund);
        }
    }
}

/// A frame table's bytes, checked once at [`FrameTable::parse`].
#[derive(Clone, Copy, Debug)]
pub struct FrameTable<'a> {
    starts: &'a [u8],
    functions: &'a [u8],
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
        let (starts, functions_bytes) = rest.split_at(header);
        let table = FrameTable { starts, functions: functions_bytes };
        let mut last = 0;
        for i in 0..=functions {
            let start = table.start(i);
            if start < last || start > functions_bytes.len() {
                bail!("frame table: function {i} is out of order");
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
        let (starts, functions) = bytes[4..].split_at((functions + 1) * 4);
        FrameTable { starts, functions }
    }

    fn start(&self, i: usize) -> usize {
        let bytes = self.starts[i * 4..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    /// The `defined`-th function of the module, whose body starts at `body_start`. One that is not
    /// there has no rows.
    pub fn function(&self, defined: usize, body_start: WasmPc) -> FunctionFrames<'a> {
        let mut bytes = match defined < self.starts.len() / 4 - 1 {
            true => &self.functions[self.start(defined)..self.start(defined + 1)],
            false => &[],
        };
        FunctionFrames::split(&mut bytes, body_start).unwrap_or(FunctionFrames {
            layout: &[],
            directory: &[],
            rows: &[],
            body_start,
        })
    }
}

/// The part of a frame table that is about one function. Damaged parts have fewer rows.
#[derive(Clone, Copy, Debug)]
pub struct FunctionFrames<'a> {
    layout: &'a [u8],
    directory: &'a [u8],
    rows: &'a [u8],
    body_start: WasmPc,
}

impl<'a> FunctionFrames<'a> {
    fn split(bytes: &mut &'a [u8], body_start: WasmPc) -> Option<FunctionFrames<'a>> {
        let len = usize::try_from(read_varint(bytes)?).ok()?;
        let (layout, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        let blocks = usize::try_from(read_varint(bytes)?).ok()?;
        let (directory, rows) = bytes.split_at_checked(blocks.checked_mul(ENTRY)?)?;
        Some(FunctionFrames { layout, directory, rows, body_start })
    }

    /// Where the state of the function's frames lies; `None` if that part is damaged.
    pub fn layout(&self) -> Option<FrameLayout> {
        decode_layout(&mut &self.layout[..])
    }

    /// All rows, in ascending native offset. Damaged rows end the iteration.
    pub fn rows(&self) -> Rows<'a> {
        self.rows_of_block(0, Readable::default())
    }

    /// The rows from the `block`-th block on; the memory of `state` is used again.
    fn rows_of_block<S: BorrowMut<Readable>>(&self, block: usize, mut state: S) -> Rows<'a, S> {
        state.borrow_mut().clear();
        let mut rows = Rows {
            bytes: self.rows,
            directory: self.directory,
            len: self.rows.len(),
            native: 0,
            pc: self.body_start.0,
            site: None,
            state,
        };
        if let Some(before) = block.checked_sub(1) {
            rows.directory = &self.directory[before * ENTRY..];
            let at = read_u32(&rows.directory[8..]).expect("whole entries") as usize;
            rows.bytes = self.rows.get(at..).unwrap_or(&[]);
            rows.start_block();
        }
        rows
    }

    /// Iterates from the block on in which the first row at `native` is, if there is one.
    fn rows_near<S: BorrowMut<Readable>>(&self, native: NativeOffset, state: S) -> Rows<'a, S> {
        let first = |block: &[u8]| read_u32(block).expect("whole entries");
        let (mut low, mut high) = (0, self.directory.len() / ENTRY);
        // Blocks that start before `native`, not counting the very first.
        while low < high {
            let middle = low.midpoint(high);
            match first(&self.directory[middle * ENTRY..]) < native.0 {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        self.rows_of_block(low, state)
    }

    /// The row of the call that returns to `native`, if there is one, and what can be read there.
    pub fn call_at(&self, native: NativeOffset) -> Option<(Row, Readable)> {
        let mut state = Readable::default();
        let row = self.find_call(native, &mut state)?;
        Some((row, state))
    }

    /// The same, for who looks for many: what can be read is put into `state`, whose memory is used
    /// again.
    pub fn find_call(&self, native: NativeOffset, state: &mut Readable) -> Option<Row> {
        let mut rows = self.rows_near(native, state);
        rows.find(|row| row.native > native || (row.native == native && row.kind.is_call()))
            .filter(|row| row.native == native)
    }

    /// The rows of the traps that the instruction at `native` can raise, none, one or two, and what
    /// can be read there.
    pub fn traps_at(&self, native: NativeOffset) -> Vec<(Row, Readable)> {
        let mut found = Vec::new();
        let mut rows = self.rows_near(native, Readable::default());
        while let Some(row) = rows.next() {
            if row.native > native {
                break;
            }
            if row.native == native && !row.kind.is_call() {
                found.push((row, rows.state.clone()));
            }
        }
        found
    }
}

/// Iterator over a function's rows; what can be read at each is in `S`.
#[derive(Clone, Debug)]
pub struct Rows<'a, S = Readable> {
    bytes: &'a [u8],
    /// The blocks that come after this one.
    directory: &'a [u8],
    /// Bytes of all rows.
    len: usize,
    native: u32,
    pc: u32,
    site: Option<u32>,
    state: S,
}

impl<S: BorrowMut<Readable>> Rows<'_, S> {
    /// What can be read at the row that was returned last.
    pub fn state(&self) -> &Readable {
        self.state.borrow()
    }

    /// Goes on with the next block, of the first entry of the directory.
    fn start_block(&mut self) -> Option<()> {
        let (entry, rest) = self.directory.split_at_checked(ENTRY)?;
        (self.native, self.pc) = (read_u32(entry)?, read_u32(&entry[4..])?);
        self.directory = rest;
        self.site = None;
        self.state.borrow_mut().clear();
        Some(())
    }

    /// Whether the next row is the first of the next block.
    fn ends_block(&self) -> bool {
        let next = self.directory.get(8..).and_then(read_u32);
        next.is_some_and(|start| self.len - self.bytes.len() >= start as usize)
    }
}

impl<S: BorrowMut<Readable>> Iterator for Rows<'_, S> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ends_block() {
            self.start_block()?;
        }
        let native = u32::try_from(read_varint(&mut self.bytes)?).ok()?;
        self.native = self.native.checked_add(native)?;
        let pc = i64::from(self.pc).checked_add(unzigzag(read_varint(&mut self.bytes)?))?;
        self.pc = u32::try_from(pc).ok()?;
        let mut marks = read_u8(&mut self.bytes)?;
        if marks == SITE {
            let site = u32::try_from(read_varint(&mut self.bytes)?).ok()?;
            self.site = site.checked_sub(1);
            marks = read_u8(&mut self.bytes)?;
        }
        let kind = match marks & KIND {
            0 => RowKind::Call,
            WITH_HANDLER => {
                let mut word = || u32::try_from(read_varint(&mut self.bytes)?).ok();
                let landing = NativeOffset(word()?);
                RowKind::CallWithHandler(Handler { landing, frame_size: word()? })
            }
            code => {
                let refund = if marks & REFUND != 0 { read_varint(&mut self.bytes)? } else { 0 };
                RowKind::Trap { trap: Trap::from_code(code)?, refund }
            }
        };
        decode_changes(marks, self.state.borrow_mut(), &mut self.bytes)?;
        let (native, wasm_pc) = (NativeOffset(self.native), WasmPc(self.pc));
        Some(Row { native, wasm_pc, site: self.site, kind })
    }
}

#[cfg(test)]
mod tests;
