//! Which operators make NaNs, and what makes these canonical.

use wasm_encoder::{Function, Ieee32, Ieee64, Instruction, ValType};
use wasmparser::Operator;

/// The canonical NaN of 32 bits.
const NAN32: u32 = 0x7fc0_0000;
/// The canonical NaN of 64 bits.
const NAN64: u64 = 0x7ff8_0000_0000_0000;

/// What an operator makes that can be a NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Float {
    F32,
    F64,
    F32x4,
    F64x2,
}

/// What the operator makes, if it makes NaNs whose bits depend on the engine. Operators that only
/// move bits, or change a sign, do not.
pub(super) fn made_by(op: &Operator<'_>) -> Option<Float> {
    use Operator::*;
    Some(match op {
        F32Ceil | F32Floor | F32Trunc | F32Nearest | F32Sqrt | F32Add | F32Sub | F32Mul
        | F32Div | F32Min | F32Max | F32DemoteF64 => Float::F32,
        F64Ceil | F64Floor | F64Trunc | F64Nearest | F64Sqrt | F64Add | F64Sub | F64Mul
        | F64Div | F64Min | F64Max | F64PromoteF32 => Float::F64,
        F32x4Ceil | F32x4Floor | F32x4Trunc | F32x4Nearest | F32x4Sqrt | F32x4Add | F32x4Sub
        | F32x4Mul | F32x4Div | F32x4Min | F32x4Max | F32x4DemoteF64x2Zero | F32x4RelaxedMadd
        | F32x4RelaxedNmadd | F32x4RelaxedMin | F32x4RelaxedMax => Float::F32x4,
        F64x2Ceil | F64x2Floor | F64x2Trunc | F64x2Nearest | F64x2Sqrt | F64x2Add | F64x2Sub
        | F64x2Mul | F64x2Div | F64x2Min | F64x2Max | F64x2PromoteLowF32x4 | F64x2RelaxedMadd
        | F64x2RelaxedNmadd | F64x2RelaxedMin | F64x2RelaxedMax => Float::F64x2,
        _ => return None,
    })
}

impl Float {
    /// The types of the locals that [`Float::canonicalize`] needs, one each.
    pub(super) const SCRATCH: [ValType; 3] = [ValType::F32, ValType::F64, ValType::V128];

    /// Makes the value on the stack canonical if it is a NaN. The locals from `scratch` on have the
    /// types [`Float::SCRATCH`].
    pub(super) fn canonicalize(self, function: &mut Function, scratch: u32) {
        let (local, nan, eq) = match self {
            Float::F32 => {
                let nan = Instruction::F32Const(Ieee32::new(NAN32));
                (scratch, nan, Instruction::F32Eq)
            }
            Float::F64 => {
                let nan = Instruction::F64Const(Ieee64::new(NAN64));
                (scratch + 1, nan, Instruction::F64Eq)
            }
            Float::F32x4 => {
                let nan =
                    Instruction::V128Const(i128::from(NAN32) * (1 | 1 << 32 | 1 << 64 | 1 << 96));
                (scratch + 2, nan, Instruction::F32x4Eq)
            }
            Float::F64x2 => {
                let nan = Instruction::V128Const(i128::from(NAN64) * (1 | 1 << 64));
                (scratch + 2, nan, Instruction::F64x2Eq)
            }
        };
        let get = Instruction::LocalGet(local);
        function.instruction(&Instruction::LocalTee(local));
        function.instruction(&nan).instruction(&get).instruction(&get).instruction(&eq);
        // Both take the first value where it is equal to itself.
        function.instruction(match self {
            Float::F32 | Float::F64 => &Instruction::Select,
            Float::F32x4 | Float::F64x2 => &Instruction::V128Bitselect,
        });
    }
}
