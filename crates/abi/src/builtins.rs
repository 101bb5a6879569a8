//! The functions of the runtime that generated code calls, and how.
//!
//! Every `VMContext` points to a table of code addresses ([`BuiltinTable`]), one for each
//! [`Builtin`]. The addresses are assembly stubs: they move from the wasm stack to the host's,
//! call the Rust implementation, and move back, or leave wasm for good when it answers
//! so. So generated code never tests a builtin's result for a trap.
//!
//! # Calling convention
//!
//! System V, except the three checkpoints, which are Cranelift's `PreserveAll`: they preserve every register, so that a hot loop with a checkpoint in it spills
//! nothing. Arguments are `i64`, at most six; narrower wasm values are zero-extended by the caller.
//! The first is the caller's `vmctx`. At most one result, an `i64`.
//!
//! Metered code stores its fuel counter to `VMRuntimeLimits::fuel_consumed` before the call and
//! loads it after; the stubs know nothing of fuel, but for that of [`Builtin::Checkpoint`], of which
//! there is one in every loop.

/// A function of the runtime that generated code can call. The discriminant is its slot in the
/// [`BuiltinTable`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Builtin {
    /// `(vmctx)`, as the bits of an `f64`, since loops have more vector registers than they need: fuel
    /// or epoch may have run out; one unit must be left for execution to go on. For code that counts
    /// fuel: the stub stores the counter and loads it again. `PreserveAll`; no result.
    Checkpoint,
    /// The same for code that does not count fuel.
    EpochCheckpoint,
    /// `(vmctx, need)`: the same where `need` units must be left (the cost at bulk operations, at
    /// least 1). `PreserveAll`; no result.
    CheckpointFor,
    /// `(callee_vmctx, caller_vmctx, args)`: called by wasm-to-host trampolines only, which have
    /// stored `last_wasm_exit_fp` and `_pc` themselves. `args` is an array of 16-byte cells on the
    /// wasm stack: parameters in, results out. No result.
    HostCall,
    /// `(vmctx, memory, delta) -> old`: `memory.grow`, pages; `-1` when refused.
    MemoryGrow,
    /// `(vmctx, dst_memory, src_memory, dst, src, len)`: `memory.copy`, bytes.
    MemoryCopy,
    /// `(vmctx, memory, dst, value, len)`: `memory.fill`, bytes.
    MemoryFill,
    /// `(vmctx, memory, data_segment, dst, src, len)`: `memory.init`, bytes.
    MemoryInit,
    /// `(vmctx, data_segment)`: `data.drop`.
    DataDrop,
    /// `(vmctx, table, init, delta) -> old`: `table.grow`, elements; `-1` when refused.
    TableGrow,
    /// `(vmctx, dst_table, src_table, dst, src, len)`: `table.copy`, elements.
    TableCopy,
    /// `(vmctx, table, dst, value, len)`: `table.fill`, elements.
    TableFill,
    /// `(vmctx, table, elem_segment, dst, src, len)`: `table.init`, elements.
    TableInit,
    /// `(vmctx, elem_segment)`: `elem.drop`.
    ElemDrop,
    /// `(vmctx, tag, values) -> exnref`: makes an exception; `values` is an array of 16-byte cells.
    ExnNew,
    /// `(vmctx, exnref, tag) -> 0 or 1`: whether the exception has the tag.
    ExnMatch,
    /// `(vmctx, exnref, values)`: the exception's values, into an array of 16-byte cells.
    ExnLoad,
    /// `(vmctx, exnref)`: throws. Does not come back here: it goes on at the handler of the
    /// innermost `try_call` that has one, with the exception in the first payload register, or
    /// leaves wasm.
    Throw,
}

impl Builtin {
    /// All builtins, in the order of their slots.
    pub const ALL: [Builtin; 18] = [
        Builtin::Checkpoint,
        Builtin::EpochCheckpoint,
        Builtin::CheckpointFor,
        Builtin::HostCall,
        Builtin::MemoryGrow,
        Builtin::MemoryCopy,
        Builtin::MemoryFill,
        Builtin::MemoryInit,
        Builtin::DataDrop,
        Builtin::TableGrow,
        Builtin::TableCopy,
        Builtin::TableFill,
        Builtin::TableInit,
        Builtin::ElemDrop,
        Builtin::ExnNew,
        Builtin::ExnMatch,
        Builtin::ExnLoad,
        Builtin::Throw,
    ];

    /// Number of `i64` arguments, `vmctx` included.
    pub const fn arity(self) -> usize {
        match self {
            Builtin::Checkpoint | Builtin::EpochCheckpoint => 0,
            Builtin::CheckpointFor | Builtin::DataDrop | Builtin::ElemDrop | Builtin::Throw => 2,
            Builtin::HostCall
            | Builtin::MemoryGrow
            | Builtin::ExnNew
            | Builtin::ExnMatch
            | Builtin::ExnLoad => 3,
            Builtin::TableGrow => 4,
            Builtin::MemoryFill | Builtin::TableFill => 5,
            Builtin::MemoryCopy | Builtin::MemoryInit | Builtin::TableCopy | Builtin::TableInit => {
                6
            }
        }
    }

    /// Whether there is an `i64` result.
    pub const fn has_result(self) -> bool {
        matches!(
            self,
            Builtin::MemoryGrow | Builtin::TableGrow | Builtin::ExnNew | Builtin::ExnMatch
        )
    }

    /// Byte offset of the builtin's address in the [`BuiltinTable`].
    pub const fn offset(self) -> usize {
        self as usize * 8
    }
}

/// Code addresses of all builtins, by slot.
pub type BuiltinTable = [usize; Builtin::ALL.len()];

const _: () = {
    let mut i = 0;
    while i < Builtin::ALL.len() {
        assert!(Builtin::ALL[i] as usize == i);
        i += 1;
    }
};
