//! What translating a function needs to know of its module and of the settings.

use crate::costs::OperatorCosts;
use crate::inline::Inlinables;
use cranelift_codegen::ir::{self, AbiParam, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use stillframe_abi::artifact::FrameState;
use stillframe_abi::builtins::Builtin;
use stillframe_abi::module::ModuleInfo;
use stillframe_abi::types::{FuncType, ValType};
use stillframe_abi::vmctx::VMOffsets;

/// Which metering code does.
#[derive(Clone, Debug)]
pub(crate) struct Metering {
    /// Count fuel, in the pinned register.
    pub(crate) fuel: bool,
    /// Test epochs.
    pub(crate) epochs: bool,
    /// What operators cost.
    pub(crate) costs: OperatorCosts,
}

impl Metering {
    /// Units of fuel after which wasm that counts fuel looks at the epoch, for each unit that the
    /// cheapest operator costs: so many operators at most, some tens of microseconds.
    const EPOCH_SLICE: u64 = 100_000;

    /// Units of fuel that the runtime gives out at a time, so that epochs are seen when they are
    /// used up; `None` if code tests epochs itself, or does not have to see them.
    pub(crate) fn epoch_slice(&self) -> Option<u64> {
        let cheapest = u64::from(self.costs.cheapest());
        (self.fuel && self.epochs && cheapest > 0).then(|| cheapest * Self::EPOCH_SLICE)
    }

    /// Whether checkpoints compare the epoch with the deadline.
    pub(crate) fn tests_epochs(&self) -> bool {
        self.epochs && self.epoch_slice().is_none()
    }
}

/// The module and settings that a function is translated in. Shared by all functions.
pub(crate) struct ModuleEnv<'a> {
    pub(crate) info: &'a ModuleInfo,
    pub(crate) offsets: VMOffsets,
    pub(crate) isa: &'a dyn TargetIsa,
    /// For functions that are compiled in the plain way: it optimises nothing.
    pub(crate) plain_isa: &'a dyn TargetIsa,
    /// For those of them that have long chains of blocks: it allocates registers in a single pass.
    pub(crate) single_pass_isa: &'a dyn TargetIsa,
    /// Whether all functions are compiled in the plain way.
    pub(crate) plain: bool,
    /// Whether all plain code has its registers allocated so.
    pub(crate) single_pass: bool,
    pub(crate) metering: &'a Metering,
    /// What is inlined.
    pub(crate) inlinable: Inlinables<'a>,
    /// What frames keep.
    pub(crate) frame_state: FrameState,
    /// Whether code loads again what a debugger may have written.
    pub(crate) frame_writes: bool,
}

/// The Cranelift type of a wasm value. Vectors are `i8x16` wherever they are stored or passed;
/// references are `i64`.
pub(crate) fn clif_type(ty: ValType) -> ir::Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => types::I8X16,
        ValType::FuncRef | ValType::ExternRef | ValType::ExnRef => types::I64,
    }
}

/// The wasm type of the validator's type. Only types of supported proposals come here: the
/// validator has refused the others.
pub(crate) fn val_type(ty: wasmparser::ValType) -> ValType {
    match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(r) if r.is_func_ref() => ValType::FuncRef,
        wasmparser::ValType::Ref(r) if r.is_extern_ref() => ValType::ExternRef,
        wasmparser::ValType::Ref(_) => ValType::ExnRef,
    }
}

/// The signature of a wasm function's code: `(callee vmctx, caller vmctx, params…) -> results…`.
pub(crate) fn wasm_signature(ty: &FuncType) -> ir::Signature {
    let mut sig = ir::Signature::new(CallConv::Tail);
    sig.params.push(AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext));
    sig.params.push(AbiParam::new(types::I64));
    sig.params.extend(ty.params().iter().map(|&p| AbiParam::new(clif_type(p))));
    sig.returns.extend(ty.results().iter().map(|&r| AbiParam::new(clif_type(r))));
    sig
}

/// The signature of a builtin.
pub(crate) fn builtin_signature(builtin: Builtin) -> ir::Signature {
    let mut sig = ir::Signature::new(match builtin {
        Builtin::Checkpoint | Builtin::EpochCheckpoint | Builtin::CheckpointFor => {
            CallConv::PreserveAll
        }
        _ => CallConv::SystemV,
    });
    sig.params.extend((0..builtin.arity()).map(|_| AbiParam::new(types::I64)));
    if let Builtin::Checkpoint | Builtin::EpochCheckpoint = builtin {
        sig.params.push(AbiParam::new(types::F64));
    }
    if builtin.has_result() {
        sig.returns.push(AbiParam::new(types::I64));
    }
    sig
}
