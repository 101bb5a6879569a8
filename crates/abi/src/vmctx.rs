//! `VMContext`: what a wasm function finds through its first argument.
//!
//! One per instance, in one allocation whose address does not change while the store lives:
//!
//! ```text
//!   VMContextHeader
//!   [VMFunctionImport;  imported functions]
//!   [*VMMemoryDefinition; imported memories]
//!   [*VMTableDefinition;  imported tables]
//!   [*VMGlobalDefinition; imported globals]
//!   [VMMemoryDefinition;  defined memories]
//!   [VMTableDefinition;   defined tables]
//!   [VMFuncRef;           defined functions that escape]
//!   (to 16 bytes)
//!   [VMGlobalDefinition;  defined globals]
//! ```
//!
//! Every wasm function, and every trampoline that stands for one, has the signature
//! `(callee vmctx, caller vmctx, parameters…) -> results…` in Cranelift's `tail` convention.
//! References are `i64` in generated code: a function reference is the address of a [`VMFuncRef`]
//! or 0; an external reference is an index into the store's slab plus one, or 0.

use crate::builtins::BuiltinTable;
use crate::limits::VMRuntimeLimits;
use crate::module::ModuleInfo;
use std::cell::{Cell, UnsafeCell};
use std::mem::{align_of, offset_of, size_of};
use std::sync::atomic::AtomicU64;

/// First word of a wasm instance's context.
pub const VMCONTEXT_MAGIC: u64 = u64::from_le_bytes(*b"sf-wasm\0");
/// First word of a host function's context.
pub const VMHOSTCONTEXT_MAGIC: u64 = u64::from_le_bytes(*b"sf-host\0");

/// The fixed part at the start of every instance's `VMContext`. All fields are written once,
/// before any code of the instance runs, and are constant from then on.
#[repr(C)]
#[derive(Debug)]
pub struct VMContextHeader {
    /// [`VMCONTEXT_MAGIC`].
    pub magic: u64,
    /// The store's limits.
    pub limits: *const VMRuntimeLimits,
    /// The runtime's functions.
    pub builtins: *const BuiltinTable,
    /// The engine's epoch counter.
    pub epoch: *const AtomicU64,
    /// Engine-wide ids of the module's function types: `[u32; types]`.
    pub type_ids: *const u32,
    /// The runtime's own record of the instance; generated code does not follow it.
    pub instance: *mut (),
}

/// The fixed part at the start of a host function's context. Generated code follows `limits`,
/// `builtins` and `epoch` (in the wasm-to-host trampoline); the rest is the runtime's.
#[repr(C)]
#[derive(Debug)]
pub struct VMHostContextHeader {
    /// [`VMHOSTCONTEXT_MAGIC`].
    pub magic: u64,
    /// The store's limits. At the offset of [`VMContextHeader::limits`].
    pub limits: *const VMRuntimeLimits,
    /// The runtime's functions. At the offset of [`VMContextHeader::builtins`].
    pub builtins: *const BuiltinTable,
    /// The engine's epoch counter. At the offset of [`VMContextHeader::epoch`].
    pub epoch: *const AtomicU64,
}

/// What a function reference points to. Constant while the store lives.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VMFuncRef {
    /// Code in the `tail` convention: the function itself, or the wasm-to-host trampoline of its
    /// type.
    pub wasm_call: *const u8,
    /// The callee's context: an instance's or a host function's.
    pub vmctx: *mut (),
    /// Engine-wide id of the function's type.
    pub type_id: u32,
}

/// An imported function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VMFunctionImport {
    /// As in [`VMFuncRef::wasm_call`].
    pub wasm_call: *const u8,
    /// As in [`VMFuncRef::vmctx`].
    pub vmctx: *mut (),
    /// The function's reference, for `ref.func`.
    pub func_ref: *const VMFuncRef,
}

/// A linear memory as generated code sees it.
#[repr(C)]
#[derive(Debug)]
pub struct VMMemoryDefinition {
    /// Address of byte 0. Constant for 32-bit memories (`memory.grow` does not move them); a
    /// 64-bit memory can move at any call. What lies behind it: [`MEMORY32_RESERVATION`].
    pub base: Cell<*mut u8>,
    /// Accessible bytes: a multiple of the page size. Grows only.
    pub length: Cell<usize>,
}

/// A table as generated code sees it: elements are `i64` references.
#[repr(C)]
#[derive(Debug)]
pub struct VMTableDefinition {
    /// Address of element 0. Can move at any call.
    pub base: Cell<*mut u64>,
    /// Number of elements. Grows only.
    pub length: Cell<usize>,
}

/// A global: the value in its low bytes, little-endian.
#[repr(C, align(16))]
#[derive(Debug)]
pub struct VMGlobalDefinition {
    /// The value's bytes.
    pub bytes: UnsafeCell<[u8; 16]>,
}

/// The most bytes that one access of generated code to linear memory touches.
pub const MEMORY32_MAX_ACCESS: usize = 16;

/// Bytes of address space that belong to each 32-bit memory, from [`VMMemoryDefinition::base`] on.
/// The runtime reserves them; of these, the first [`VMMemoryDefinition::length`] bytes can be read
/// and written, and every access to one of the others faults.
///
/// Generated code does not test the bounds of a 32-bit memory: it accesses `base + index + offset`,
/// where the index and the static offset are each below 2^32, and relies on the fault. (Accesses to
/// a 64-bit memory are compared with its length; one that is out of bounds goes to address 0, and
/// faults there.)
pub const MEMORY32_RESERVATION: usize = (8 << 30) + (64 << 10);

const _: () = assert!(MEMORY32_RESERVATION >= 2 * (u32::MAX as usize) + MEMORY32_MAX_ACCESS);

/// A cell of the argument arrays that trampolines and host functions share: one value, in its low
/// bytes, little-endian. The bytes above a value are unspecified.
pub const ARG_CELL_SIZE: usize = 16;

/// Offsets in [`VMContextHeader`] (and [`VMHostContextHeader`] for those they share).
pub mod offsets {
    use super::*;

    /// Offset of [`VMContextHeader::limits`].
    pub const LIMITS: usize = offset_of!(VMContextHeader, limits);
    /// Offset of [`VMContextHeader::builtins`].
    pub const BUILTINS: usize = offset_of!(VMContextHeader, builtins);
    /// Offset of [`VMContextHeader::epoch`].
    pub const EPOCH: usize = offset_of!(VMContextHeader, epoch);
    /// Offset of [`VMContextHeader::type_ids`].
    pub const TYPE_IDS: usize = offset_of!(VMContextHeader, type_ids);
    /// Offset of [`VMFuncRef::wasm_call`].
    pub const FUNC_REF_WASM_CALL: usize = offset_of!(VMFuncRef, wasm_call);
    /// Offset of [`VMFuncRef::vmctx`].
    pub const FUNC_REF_VMCTX: usize = offset_of!(VMFuncRef, vmctx);
    /// Offset of [`VMFuncRef::type_id`].
    pub const FUNC_REF_TYPE_ID: usize = offset_of!(VMFuncRef, type_id);
    /// Offset of [`VMFunctionImport::wasm_call`].
    pub const IMPORT_WASM_CALL: usize = offset_of!(VMFunctionImport, wasm_call);
    /// Offset of [`VMFunctionImport::vmctx`].
    pub const IMPORT_VMCTX: usize = offset_of!(VMFunctionImport, vmctx);
    /// Offset of [`VMFunctionImport::func_ref`].
    pub const IMPORT_FUNC_REF: usize = offset_of!(VMFunctionImport, func_ref);
    /// Offset of [`VMMemoryDefinition::base`].
    pub const MEMORY_BASE: usize = offset_of!(VMMemoryDefinition, base);
    /// Offset of [`VMMemoryDefinition::length`].
    pub const MEMORY_LENGTH: usize = offset_of!(VMMemoryDefinition, length);
    /// Offset of [`VMTableDefinition::base`].
    pub const TABLE_BASE: usize = offset_of!(VMTableDefinition, base);
    /// Offset of [`VMTableDefinition::length`].
    pub const TABLE_LENGTH: usize = offset_of!(VMTableDefinition, length);

    const _: () = assert!(offset_of!(VMHostContextHeader, limits) == LIMITS);
    const _: () = assert!(offset_of!(VMHostContextHeader, builtins) == BUILTINS);
    const _: () = assert!(offset_of!(VMHostContextHeader, epoch) == EPOCH);
}

// Generated code loads and stores these as 64-bit words.
const _: () = assert!(size_of::<VMFuncRef>() == 24 && size_of::<VMFunctionImport>() == 24);
const _: () =
    assert!(size_of::<VMMemoryDefinition>() == 16 && size_of::<VMTableDefinition>() == 16);
const _: () =
    assert!(size_of::<VMGlobalDefinition>() == 16 && align_of::<VMGlobalDefinition>() == 16);

/// Where the variable parts of a module's `VMContext` lie; a function of the module alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VMOffsets {
    function_imports: u32,
    memory_imports: u32,
    table_imports: u32,
    global_imports: u32,
    memories: u32,
    tables: u32,
    func_refs: u32,
    globals: u32,
    size: u32,
}

impl VMOffsets {
    /// The layout for this module.
    ///
    /// # Panics
    ///
    /// If the context would exceed 2 GiB; the validator's limits keep it far below.
    pub fn new(module: &ModuleInfo) -> VMOffsets {
        let mut at = size_of::<VMContextHeader>();
        let mut take = |count: usize, size: usize, align: usize| {
            at = at.next_multiple_of(align);
            let start = at;
            at += count * size;
            assert!(at < i32::MAX as usize, "VMContext larger than 2 GiB");
            start as u32
        };
        VMOffsets {
            function_imports: take(module.num_imported_functions, size_of::<VMFunctionImport>(), 8),
            memory_imports: take(module.num_imported_memories, 8, 8),
            table_imports: take(module.num_imported_tables, 8, 8),
            global_imports: take(module.num_imported_globals, 8, 8),
            memories: take(module.num_defined_memories(), size_of::<VMMemoryDefinition>(), 8),
            tables: take(module.num_defined_tables(), size_of::<VMTableDefinition>(), 8),
            func_refs: take(module.num_escaping_functions, size_of::<VMFuncRef>(), 8),
            globals: take(module.num_defined_globals(), size_of::<VMGlobalDefinition>(), 16),
            size: take(0, 0, 16),
        }
    }

    /// Bytes of the whole context; it is aligned to 16.
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Offset of the [`VMFunctionImport`] of imported function `index`.
    pub fn function_import(&self, index: u32) -> usize {
        self.function_imports as usize + index as usize * size_of::<VMFunctionImport>()
    }

    /// Offset of the pointer to the [`VMMemoryDefinition`] of imported memory `index`.
    pub fn memory_import(&self, index: u32) -> usize {
        self.memory_imports as usize + index as usize * 8
    }

    /// Offset of the pointer to the [`VMTableDefinition`] of imported table `index`.
    pub fn table_import(&self, index: u32) -> usize {
        self.table_imports as usize + index as usize * 8
    }

    /// Offset of the pointer to the [`VMGlobalDefinition`] of imported global `index`.
    pub fn global_import(&self, index: u32) -> usize {
        self.global_imports as usize + index as usize * 8
    }

    /// Offset of the [`VMMemoryDefinition`] of the `defined`-th memory the module defines.
    pub fn memory(&self, defined: u32) -> usize {
        self.memories as usize + defined as usize * size_of::<VMMemoryDefinition>()
    }

    /// Offset of the [`VMTableDefinition`] of the `defined`-th table the module defines.
    pub fn table(&self, defined: u32) -> usize {
        self.tables as usize + defined as usize * size_of::<VMTableDefinition>()
    }

    /// Offset of the [`VMFuncRef`] number `slot` ([`ModuleInfo::func_ref_slots`]).
    pub fn func_ref(&self, slot: u32) -> usize {
        self.func_refs as usize + slot as usize * size_of::<VMFuncRef>()
    }

    /// Offset of the [`VMGlobalDefinition`] of the `defined`-th global the module defines.
    pub fn global(&self, defined: u32) -> usize {
        self.globals as usize + defined as usize * size_of::<VMGlobalDefinition>()
    }
}
