//! Frame tables of any bytes: reading them must end.

use super::Outcome;
use stillframe_abi::frame_table::{FrameTable, NativeOffset, WasmPc};

/// Larger tables are left alone: a row can take time that is in proportion to the cells that it
/// says a frame has.
const MAX_LEN: usize = 64 << 10;

/// Rows that are read of a function.
const MAX_ROWS: usize = 200;

/// Reads what there is to read.
pub(super) fn check(bytes: &[u8], functions: usize, outcome: &mut Outcome) {
    let bytes = &bytes[..bytes.len().min(MAX_LEN)];
    let table = match FrameTable::parse(bytes, functions) {
        Ok(table) => table,
        Err(_) => {
            outcome.tables_refused += 1;
            return;
        }
    };
    outcome.tables += 1;
    for defined in 0..functions.min(20) {
        let function = table.function(defined, WasmPc(1000));
        let _ = function.layout();
        let mut places = vec![NativeOffset(0), NativeOffset(u32::MAX)];
        let mut rows = function.rows();
        for _ in 0..MAX_ROWS {
            let Some(row) = rows.next() else { break };
            outcome.rows += 1;
            places.push(row.native);
            // Cells can be counted.
            let _ = rows.state().cells.iter().count();
        }
        places.truncate(20);
        for native in places {
            let _ = function.call_at(native);
            let _ = function.traps_at(native);
        }
    }
    // A function that is not there has none.
    assert!(table.function(functions, WasmPc(0)).rows().next().is_none());
}
