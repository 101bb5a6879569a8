//! Faults, and other stops, put into a function at one of its operators.
//!
//! What is put in leaves the operand stack as it was, so it fits anywhere: with operands of the
//! function below it, in any construct, and as a function's last operator.
//!
//! The loads are what matters most. Cranelift sinks a load into the instruction that uses its
//! result, so some of these faults use it at once, some behind a store or a call or in a local's
//! new value, and some only many operators later, where the fault would be found if its trap code
//! did not tell where it belongs.

use crate::programs::{Body, Program};
use crate::rng::Rng;
use crate::types::Ty;

/// What is put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `unreachable`, and nothing behind it is reachable.
    Unreachable,
    /// `unreachable` behind a condition.
    UnreachableIf,
    /// A load out of bounds whose result is dropped.
    LoadDropped,
    /// The same, of bytes, at an address that is not a constant.
    LoadByteDropped,
    /// A load out of bounds whose result is used some operators later, as an operand of `i64.add`.
    LoadLater,
    /// The same, used in a comparison.
    LoadCompared,
    /// The same, of a vector.
    LoadVectorLater,
    /// The same, of a float.
    LoadFloatLater,
    /// A load out of bounds whose result makes the new value of a local of the function.
    LoadToLocal,
    /// A load out of bounds whose result is stored.
    LoadStored,
    /// A load out of bounds whose result is an argument.
    LoadPassed,
    /// Two loads, of which the second is out of bounds; both are used later.
    TwoLoads,
    /// A store out of bounds.
    Store,
    /// A load out of bounds behind a store, in the same expression as one in bounds.
    StoreThenLoad,
    /// Division by a constant 0.
    DivideByZero,
    /// Remainder of a division by 0.
    Remainder,
    /// A quotient that does not fit.
    DivideOverflow,
    /// Conversion of a NaN.
    ConvertNan,
    /// Conversion of what does not fit.
    ConvertLarge,
    /// `call_indirect` to a null element.
    CallNull,
    /// `call_indirect` outside of its table.
    CallOut,
    /// `call_indirect` to a function of another type.
    CallOther,
    /// `table.get` outside of its table.
    TableGet,
    /// `table.set` likewise.
    TableSet,
    /// `table.fill` likewise.
    TableFill,
    /// `memory.fill` out of bounds.
    MemoryFill,
    /// `memory.copy` likewise.
    MemoryCopy,
    /// `throw`, which may be caught.
    Throw,
    /// `throw_ref` of a null reference.
    ThrowNull,
    /// A call of a function that traps.
    CallTraps,
    /// A call of a function that loads out of bounds.
    CallFaults,
    /// A call of the host: no fault, but a stop wherever the operator is executed.
    CallHost,
    /// A division that traps when it is executed for the second time.
    SecondDivision,
    /// A load that is out of bounds when it is executed for the second time.
    SecondLoad,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 34] = [
        Fault::Unreachable,
        Fault::UnreachableIf,
        Fault::LoadDropped,
        Fault::LoadByteDropped,
        Fault::LoadLater,
        Fault::LoadCompared,
        Fault::LoadVectorLater,
        Fault::LoadFloatLater,
        Fault::LoadToLocal,
        Fault::LoadStored,
        Fault::LoadPassed,
        Fault::TwoLoads,
        Fault::Store,
        Fault::StoreThenLoad,
        Fault::DivideByZero,
        Fault::Remainder,
        Fault::DivideOverflow,
        Fault::ConvertNan,
        Fault::ConvertLarge,
        Fault::CallNull,
        Fault::CallOut,
        Fault::CallOther,
        Fault::TableGet,
        Fault::TableSet,
        Fault::TableFill,
        Fault::MemoryFill,
        Fault::MemoryCopy,
        Fault::Throw,
        Fault::ThrowNull,
        Fault::CallTraps,
        Fault::CallFaults,
        Fault::CallHost,
        Fault::SecondDivision,
        Fault::SecondLoad,
    ];

    /// What is put in, and what uses its result later. `local` is one of the function's that is an
    /// `i32`, `scratch` the first of those that [`SCRATCH`] adds.
    fn code(self, local: usize, scratch: usize) -> (String, String) {
        let [int, long, float, vector] = [scratch, scratch + 1, scratch + 2, scratch + 3];
        let sum = |value: &str| format!("global.get $sum; {value}; i64.add; global.set $sum");
        let later = |load: &str, local: usize, uses: String| {
            (format!("global.get $out; {load}; local.set {local}"), uses)
        };
        let at_once = |code: &str| (code.to_string(), String::new());
        match self {
            Fault::Unreachable => at_once("unreachable"),
            Fault::UnreachableIf => at_once("global.get $zero; i32.eqz; if; unreachable; end"),
            Fault::LoadDropped => at_once("i32.const -8; i32.load; drop"),
            Fault::LoadByteDropped => at_once("global.get $out; i64.load8_u offset=3; drop"),
            Fault::LoadLater => later("i64.load", long, sum(&format!("local.get {long}"))),
            Fault::LoadCompared => later(
                "i32.load offset=12",
                int,
                sum(&format!("local.get {int}; global.get $g0; i32.lt_s; i64.extend_i32_u")),
            ),
            Fault::LoadVectorLater => later(
                "v128.load",
                vector,
                format!("global.get $g4; local.get {vector}; i32x4.add; global.set $g4"),
            ),
            Fault::LoadFloatLater => later(
                "f64.load",
                float,
                format!("global.get $g3; local.get {float}; f64.mul; global.set $g3"),
            ),
            Fault::LoadToLocal => at_once(&format!(
                "global.get $out; i32.load; local.get {local}; i32.add; local.set {local}"
            )),
            Fault::LoadStored => at_once("i32.const 8; global.get $out; i32.load16_s; i32.store"),
            Fault::LoadPassed => {
                at_once("global.get $out; i32.load; i64.const 9; call $boom; drop")
            }
            Fault::TwoLoads => (
                format!(
                    "i32.const 0; i64.load; local.set {long}; global.get $out; i32.load8_s; \
                     local.set {int}"
                ),
                sum(&format!("local.get {int}; i64.extend_i32_s; local.get {long}; i64.add")),
            ),
            Fault::Store => at_once("global.get $out; i64.const 7; i64.store offset=1"),
            Fault::StoreThenLoad => at_once(
                "i32.const 8; i32.const 5; i32.store; i32.const 16; i32.load; global.get $out; \
                 i32.load; i32.add; drop",
            ),
            Fault::DivideByZero => at_once("i32.const 7; i32.const 0; i32.div_u; drop"),
            Fault::Remainder => {
                at_once("i64.const 7; global.get $zero; i64.extend_i32_u; i64.rem_s; drop")
            }
            Fault::DivideOverflow => at_once(
                "i32.const 0x80000000; global.get $zero; i32.const 1; i32.sub; i32.div_s; drop",
            ),
            Fault::ConvertNan => at_once("f32.const nan; i32.trunc_f32_s; drop"),
            Fault::ConvertLarge => at_once("f64.const 1e40; i64.trunc_f64_u; drop"),
            Fault::CallNull => at_once("i32.const 19; call_indirect $calls (type $t0)"),
            Fault::CallOut => at_once("global.get $out; call_indirect $calls (type $t0)"),
            Fault::CallOther => {
                at_once("i32.const 1; i32.const 0; call_indirect $calls (type $t1); drop")
            }
            Fault::TableGet => at_once("global.get $out; table.get $externs; drop"),
            Fault::TableSet => at_once("i32.const 500; ref.null func; table.set $funcs"),
            Fault::TableFill => {
                at_once("i32.const 3; ref.null extern; i32.const 100; table.fill $externs")
            }
            Fault::MemoryFill => {
                at_once("global.get $out; i32.const 1; i32.const 100; memory.fill")
            }
            Fault::MemoryCopy => {
                at_once("i32.const 0; global.get $out; global.get $g0; memory.copy")
            }
            Fault::Throw => at_once("i32.const 77; throw $tag1"),
            Fault::ThrowNull => at_once("ref.null exn; throw_ref"),
            Fault::CallTraps => at_once("i32.const 3; i64.const 4; call $boom; drop"),
            Fault::CallFaults => at_once("i32.const 3; i64.const 4; call $sinks; drop"),
            Fault::CallHost => at_once(&format!("local.get {local}; call $h1; local.set {int}")),
            Fault::SecondDivision => at_once(
                "i32.const 1; global.get $fuse; i32.const 1; i32.sub; global.set $fuse; \
                 global.get $fuse; i32.div_u; drop",
            ),
            Fault::SecondLoad => (
                format!(
                    "global.get $fuse; i32.const 1; i32.sub; global.set $fuse; global.get $fuse; \
                     i32.eqz; i32.const -8; i32.mul; i64.load; local.set {long}"
                ),
                sum(&format!("local.get {long}")),
            ),
        }
    }
}

/// Locals that variants have beside those of their function.
const SCRATCH: [Ty; 4] = [Ty::I32, Ty::I64, Ty::F64, Ty::V128];

/// A function of a program, with a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Which function.
    pub function: usize,
    /// Before which of its operators.
    pub position: usize,
    /// The function that calls it, if that is the one to be called: a copy that calls the faulty one
    /// by name wherever it calls the original so.
    pub caller: Option<usize>,
    /// What is there.
    pub fault: Fault,
}

impl Variant {
    /// The name of its export.
    pub fn name(&self) -> String {
        let Variant { function, position, caller, fault } = self;
        match caller {
            Some(caller) => format!("f{caller}.f{function}.{position}.{fault:?}"),
            None => format!("f{function}.{position}.{fault:?}"),
        }
    }

    /// The function.
    pub(crate) fn apply(&self, program: &Program) -> Body {
        let mut body = program.functions[self.function].clone();
        let locals = body.all_locals();
        let mut rng = Rng::new((self.position as u64) << 8 | self.fault as u64);
        let ints: Vec<usize> = (0..locals.len()).filter(|&i| locals[i] == Ty::I32).collect();
        let local = ints[rng.below(ints.len())];
        let (code, uses) = self.fault.code(local, locals.len());
        let lines = |code: &str| -> Vec<String> {
            code.split("; ").filter(|line| !line.is_empty()).map(String::from).collect()
        };
        let later = (self.position + rng.below(12)).min(body.code.len());
        body.code.splice(later..later, lines(&uses));
        body.code.splice(self.position..self.position, lines(&code));
        body.locals.extend(SCRATCH);
        body
    }
}
