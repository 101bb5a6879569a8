//! `VMRuntimeLimits`: the one place that says how far wasm may go and where it left.
//!
//! One per store, at an address that does not change while the store lives; every `VMContext` of
//! the store points to it. Generated code and the assembly stubs reach the fields by offset
//! ([`offsets`]); Rust reaches them through `Cell`, because generated code writes them behind any
//! shared reference.

use std::cell::Cell;
use std::mem::{offset_of, size_of};
use std::sync::atomic::AtomicU64;

/// The value of [`VMRuntimeLimits::last_wasm_entry_sp`] while a host function runs that the host
/// called straight, without wasm in between.
pub const ENTRY_SP_HOST_DIRECT: usize = usize::MAX;

/// What generated code tests to know whether it may go on, and what it leaves behind when it
/// stops. Each field's contract stands at its declaration.
#[repr(C)]
#[derive(Debug, Default)]
pub struct VMRuntimeLimits {
    /// Lowest address that the running wasm stack may use; prologues test it.
    ///
    /// While wasm runs: the bottom of the current wasm stack plus its reserve. While none runs:
    /// whatever it was at the latest exit; nothing reads it then. A nested entry saves and
    /// restores it.
    pub stack_limit: Cell<usize>,

    /// Fuel: minus the units in hand, counting up. At zero or above the next checkpoint takes the
    /// slow path, which may find more in the store.
    ///
    /// Exact at every frozen point. While metered wasm runs, the truth is in the pinned register
    /// (r15) and this cell is stale; every exit stores it and every way back in loads it.
    pub fuel_consumed: Cell<i64>,

    /// When the engine's epoch reaches this number, the next checkpoint takes the slow path.
    pub epoch_deadline: Cell<u64>,

    /// Frame pointer of the wasm frame that made the latest exit to the host; 0 while wasm runs
    /// and before its first exit.
    pub last_wasm_exit_fp: Cell<usize>,

    /// Return address into wasm code of the latest exit to the host (for a hardware trap: the
    /// address of the instruction that faulted); 0 while wasm runs and before its first exit.
    pub last_wasm_exit_pc: Cell<usize>,

    /// The host's stack pointer at the latest entry into wasm, just below the saved registers that
    /// the entry stub pushed; 0 while there is no entry, and while host code runs where a suspended
    /// call stands (its asynchronous host function is polled, an epoch callback is asked): its
    /// frames are there, and no host frame is behind them;
    /// [`ENTRY_SP_HOST_DIRECT`] for a host function that the host called straight: an empty run of
    /// frames, and the exit fields must not be followed.
    pub last_wasm_entry_sp: Cell<usize>,

    /// The wasm stack pointer at the latest exit through a stub: what going back in loads.
    /// Meaningful only while the innermost activation is frozen; a nested entry saves it.
    pub last_wasm_exit_sp: Cell<usize>,

    /// The execution version of the innermost activation's frozen period: what frame handles of it
    /// carry. 0 while wasm runs, and until somebody asks for frames, who then sets it to a number
    /// that no frozen period of the process has had before. Every way back into wasm zeroes it. A
    /// nested entry saves and restores it; a suspended call takes it along.
    ///
    /// An atomic, because it is set through a shared reference to the store, which several threads
    /// can have while wasm is frozen.
    pub execution_version: AtomicU64,
}

/// Offsets of the fields, for generated code and for the stubs.
pub mod offsets {
    use super::{VMRuntimeLimits, offset_of};

    /// Offset of [`VMRuntimeLimits::stack_limit`].
    pub const STACK_LIMIT: usize = offset_of!(VMRuntimeLimits, stack_limit);
    /// Offset of [`VMRuntimeLimits::fuel_consumed`].
    pub const FUEL_CONSUMED: usize = offset_of!(VMRuntimeLimits, fuel_consumed);
    /// Offset of [`VMRuntimeLimits::epoch_deadline`].
    pub const EPOCH_DEADLINE: usize = offset_of!(VMRuntimeLimits, epoch_deadline);
    /// Offset of [`VMRuntimeLimits::last_wasm_exit_fp`].
    pub const LAST_WASM_EXIT_FP: usize = offset_of!(VMRuntimeLimits, last_wasm_exit_fp);
    /// Offset of [`VMRuntimeLimits::last_wasm_exit_pc`].
    pub const LAST_WASM_EXIT_PC: usize = offset_of!(VMRuntimeLimits, last_wasm_exit_pc);
    /// Offset of [`VMRuntimeLimits::last_wasm_entry_sp`].
    pub const LAST_WASM_ENTRY_SP: usize = offset_of!(VMRuntimeLimits, last_wasm_entry_sp);
    /// Offset of [`VMRuntimeLimits::last_wasm_exit_sp`].
    pub const LAST_WASM_EXIT_SP: usize = offset_of!(VMRuntimeLimits, last_wasm_exit_sp);
    /// Offset of [`VMRuntimeLimits::execution_version`].
    pub const EXECUTION_VERSION: usize = offset_of!(VMRuntimeLimits, execution_version);
}

// Generated code loads and stores each field as one 64-bit word.
const _: () = assert!(size_of::<VMRuntimeLimits>() == 8 * 8);
const _: () = assert!(size_of::<Cell<usize>>() == 8 && size_of::<AtomicU64>() == 8);
const _: () = assert!(offsets::STACK_LIMIT == 0 && offsets::EXECUTION_VERSION == 7 * 8);
