//! Source lines of machine code, as far as the frame table's rows tell them.
//!
//! A row is exact: it names an instruction that can trap, or the return address of a call, and the
//! operator it belongs to. What lies between is a guess: code leads up to the next row, since it
//! computes what the call or the access wants. A trap that is a bare `ud2` lies behind the
//! function's proper code and nothing leads up to it; what is before it belongs to the row before.
//!
//! ```text
//!   0           4                          T                      R
//!   │ push, mov │ computes an address ...  │ load │ computes ...  call │ ...
//!   │ line of   │ line of the load         │      │ line of the call   │ line of the next row
//!   │ the       │                          │      │                    │
//!   │ function  │                          │      └ not a statement: maybe inside of the load
//! ```
//!
//! A debugger puts breakpoints at lines that are marked as statements, so these start where an
//! instruction is known to start; the others are there to be looked up.

use super::PROLOGUE;
use crate::dwarf::SourceLocation;
use std::collections::HashMap;
use std::ops::Range;
use stillframe_abi::frame_table::{Row, RowKind};

/// The source line of the code from an offset on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// From the function's first byte.
    pub(super) offset: u32,
    /// `None`: the source is not known.
    pub(super) place: Option<Place>,
    /// Whether an instruction starts at `offset`.
    pub(super) is_statement: bool,
}

/// A place in a source file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Index into [`Files::names`].
    pub(super) file: usize,
    pub(super) line: u32,
    /// 0: not known.
    pub(super) column: u32,
}

/// The source files that lines are of.
#[derive(Debug, Default)]
pub(super) struct Files {
    names: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Files {
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Where a location is, if it says a line.
    pub(super) fn place(&mut self, location: &SourceLocation) -> Option<Place> {
        let line = location.line?;
        let file = match self.indices.get(&location.file) {
            Some(&file) => file,
            None => {
                self.names.push(super::printable(&location.file));
                self.indices.insert(location.file.clone(), self.names.len() - 1);
                self.names.len() - 1
            }
        };
        Some(Place { file, line, column: location.column.unwrap_or(0) })
    }
}

/// The lines of a function whose body is at `body` in the wasm file. `place` knows the source of
/// the first of some wasm pcs that has any. No lines if it knows none.
pub(super) fn of_function(
    code: &[u8],
    body: &Range<u32>,
    rows: impl Iterator<Item = Row>,
    mut place: impl FnMut(Range<u32>) -> Option<Place>,
) -> Vec<Line> {
    let mut lines = Lines { lines: Vec::new(), next: 0, next_is_statement: true };
    // It starts with the types of its locals, of which DWARF says nothing.
    let function = place(body.clone());
    if code.starts_with(&PROLOGUE) {
        lines.until(PROLOGUE.len() as u32, function);
    }
    let mut last = function;
    for row in rows {
        let here = place(row.wasm_pc.0..row.wasm_pc.0.saturating_add(1));
        let at = row.native.0;
        match row.kind {
            // Its last byte is before the return address.
            RowKind::Call | RowKind::CallWithHandler(_) => lines.until(at, here),
            RowKind::Trap { .. } => {
                let isolated = code.get(at as usize..).is_some_and(|code| code.starts_with(&UD2));
                lines.until(at, if isolated { last } else { here });
                lines.instruction(here);
            }
        }
        last = here;
    }
    lines.until(code.len() as u32, last);
    let mut lines = lines.lines;
    if lines.iter().all(|line| line.place.is_none()) {
        lines.clear();
    }
    lines
}

const UD2: [u8; 2] = [0x0f, 0x0b];

struct Lines {
    lines: Vec<Line>,
    /// The first byte of code without a line, and whether an instruction starts there.
    next: u32,
    next_is_statement: bool,
}

impl Lines {
    /// The code up to `end`, where an instruction starts, is of `place`.
    fn until(&mut self, end: u32, place: Option<Place>) {
        if self.next < end {
            self.push(place);
        }
        (self.next, self.next_is_statement) = (end, true);
    }

    /// The instruction at `next` is of `place`; it is at least a byte long.
    fn instruction(&mut self, place: Option<Place>) {
        self.push(place);
        (self.next, self.next_is_statement) = (self.next + 1, false);
    }

    fn push(&mut self, place: Option<Place>) {
        let line = Line { offset: self.next, place, is_statement: self.next_is_statement };
        let tells_nothing =
            |last: &Line| last.place == line.place && (last.is_statement || !line.is_statement);
        if !self.lines.last().is_some_and(tells_nothing) {
            self.lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::Trap;
    use stillframe_abi::frame_table::{NativeOffset, WasmPc};

    const CALL: RowKind = RowKind::Call;
    const TRAP: RowKind = RowKind::Trap { trap: Trap::MemoryOutOfBounds, refund: 0 };

    /// The lines of 100 bytes of code with these rows; wasm pc n is line n, 0 is unknown.
    fn lines(rows: &[(u32, u32, RowKind)], ud2: &[usize]) -> Vec<(u32, u32, bool)> {
        let mut code = vec![0x90; 100];
        code[..4].copy_from_slice(&PROLOGUE);
        for &at in ud2 {
            code[at..at + 2].copy_from_slice(&UD2);
        }
        let rows = rows.iter().map(|&(native, pc, kind)| Row {
            native: NativeOffset(native),
            wasm_pc: WasmPc(pc),
            site: None,
            kind,
        });
        let place = |pcs: Range<u32>| {
            (pcs.start != 0).then_some(Place { file: 0, line: pcs.start, column: 0 })
        };
        let lines = of_function(&code, &(1..9), rows, place);
        let line =
            |line: Line| (line.offset, line.place.map_or(0, |place| place.line), line.is_statement);
        lines.into_iter().map(line).collect()
    }

    #[test]
    fn code_leads_up_to_calls_and_accesses() {
        assert_eq!(lines(&[], &[]), [(0, 1, true)]);
        assert_eq!(
            lines(&[(20, 5, CALL), (40, 6, TRAP), (60, 7, CALL), (70, 8, TRAP)], &[]),
            [
                (0, 1, true),
                (4, 5, true),
                (20, 6, true),  // up to the access and with it,
                (41, 7, false), // from somewhere behind its start on the next
                (60, 8, true),
            ]
        );
    }

    #[test]
    fn two_rows_of_one_address_are_both_told() {
        let rows = [(20, 5, CALL), (20, 6, TRAP), (20, 6, TRAP), (21, 7, CALL)];
        assert_eq!(lines(&rows, &[])[1..], [(4, 5, true), (20, 6, true), (21, 7, true)]);
        let rows = [(20, 5, CALL), (20, 6, TRAP), (22, 7, CALL)];
        assert_eq!(lines(&rows, &[])[2..4], [(20, 6, true), (21, 7, false)]);
    }

    #[test]
    fn nothing_leads_up_to_a_bare_trap() {
        let rows = [(20, 5, CALL), (80, 6, TRAP), (82, 7, TRAP), (84, 8, CALL)];
        assert_eq!(
            lines(&rows, &[80, 82]),
            [
                (0, 1, true),
                (4, 5, true),
                (80, 6, true),
                (82, 7, true),
                (83, 8, false),
                (84, 8, true)
            ]
        );
    }

    #[test]
    fn code_without_source_is_told_apart_and_a_function_without_any_has_no_lines() {
        let rows = [(20, 0, CALL), (30, 9, CALL)];
        assert_eq!(lines(&rows, &[]), [(0, 1, true), (4, 0, true), (20, 9, true)]);
        let nowhere = of_function(&[0x90; 100], &(1..9), std::iter::empty(), |_| None);
        assert_eq!(nowhere, []);
    }

    #[test]
    fn files_are_told_apart_by_name() {
        let mut files = Files::default();
        let mut place = |file: &str, line| {
            files.place(&SourceLocation { file: file.into(), line, column: None })
        };
        assert_eq!(place("a.c", None), None);
        assert_eq!(place("a.c", Some(1)), Some(Place { file: 0, line: 1, column: 0 }));
        assert_eq!(place("b\nc", Some(2)).unwrap().file, 1);
        assert_eq!(place("a.c", Some(3)).unwrap().file, 0);
        assert_eq!(files.names(), ["a.c", "b\u{fffd}c"]);
    }
}
