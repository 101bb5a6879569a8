//! Inlining: small functions are translated where they are called.
//!
//! Which functions: those of at most [`MAX_OPERATORS`] operators that contain nothing at which a
//! frame can be found frozen, except by trapping: no call, no loop, no operator that the runtime
//! does or that throws. So such a body has no checkpoint, its cost joins the run of its caller, and
//! all that can be seen of it from outside is a trap.
//!
//! ```text
//!   caller           i32.const 1   local.get 0   call $f    i32.add
//!                                                  │
//!   $f, inlined                                    └─ its locals: further locals of the caller
//!                                                     its operands: on top of the caller's
//!                                                     its function frame: a block
//! ```
//!
//! # What stays as if it were called
//!
//! Fuel: the `call` and the entry are charged. Checkpoints stand where the functions have
//! them as they are written: the stretch of the caller counts the call, and not what is in the
//! body. Traps: an operator of the body belongs to its *site* (`abi::frame_table`), by which the
//! runtime finds two frames where there is one. The caller's has all that is shown of a frame that
//! has called: so if the body can trap, its state is saved as before a call. With `frame_writes`
//! what an operand's cell holds is not known well enough for that, and nothing is inlined; nor in
//! a function that is written through.
//!
//! What does change: an inlined call takes no wasm stack, and so does not overflow it.

use crate::costs::operator_names;
use crate::env::ModuleEnv;
use crate::func::FuncTranslator;
use crate::liveness::Liveness;
use crate::ops;
use anyhow::Result;
use std::collections::HashMap;
use stillframe_abi::artifact::FrameState;
use stillframe_abi::frame_table::{InlineSite, WasmPc};
use stillframe_abi::module::ModuleInfo;
use stillframe_abi::types::ValType;
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, ValidatorResources,
};

/// Operators of a function that is inlined, at most, its last `end` included.
const MAX_OPERATORS: u32 = 40;
/// Locals that it declares, at most.
const MAX_LOCALS: u32 = 20;
/// Bytes of its body, at most; the rest need not be decoded to find out.
const MAX_BYTES: usize = 8 * MAX_OPERATORS as usize;
/// What is inlined in one function, at most, in operators and locals; or one for each
/// [`BYTES_EACH`] bytes of its body, if that is more.
const BUDGET: usize = 300;
const BYTES_EACH: usize = 2;
/// What is inlined in a module beyond what its size allows: if its functions are so many that
/// [`BUDGET`] for each of them would be more, each has less.
const MODULE_BUDGET: usize = 1_000_000;
/// Operands below an inlined body, at most: far from the number of those that a frame shows.
const MAX_HEIGHT: usize = 500;

/// A function that is inlined where it is called.
#[derive(Clone, Debug)]
pub(crate) struct Inlinable<'a> {
    body: FunctionBody<'a>,
    /// The locals that it declares.
    declared: Vec<(u32, ValType)>,
    /// What it takes of a budget.
    weight: u32,
    /// Whether it can trap.
    traps: bool,
    /// Whether it can trap where it saves its state first.
    saves: bool,
}

/// What can be inlined in a module.
#[derive(Debug, Default)]
pub(crate) struct Inlinables<'a> {
    /// By position among the functions that the module defines.
    functions: HashMap<u32, Inlinable<'a>>,
    /// For each function, however small.
    budget: u32,
}

impl<'a> Inlinables<'a> {
    /// Of a module with these bodies. All that can be inlined is valid, so that translating it cannot
    /// go wrong in a function that is compiled before it.
    pub(crate) fn of(
        info: &ModuleInfo,
        bodies: &[(FuncToValidate<ValidatorResources>, FunctionBody<'a>)],
    ) -> Inlinables<'a> {
        let mut allocations = FuncValidatorAllocations::default();
        let (mut functions, mut bytes) = (HashMap::new(), 0);
        for (defined, (validator, body)) in (0..).zip(bodies) {
            bytes += size(body);
            let params = info.func_type(validator.index).params().len();
            let Some(function) = Inlinable::of(body, params) else { continue };
            let validator = FuncToValidate { resources: validator.resources.clone(), ..*validator };
            let mut validator = validator.into_validator(allocations);
            if validator.validate(body).is_ok() {
                functions.insert(defined, function);
            }
            allocations = validator.into_allocations();
        }
        Inlinables { functions, budget: budget_of_each(bodies.len(), bytes) }
    }
}

/// What is inlined in each of so many functions, however small, if all bodies have so many bytes.
fn budget_of_each(functions: usize, bytes: usize) -> u32 {
    ((MODULE_BUDGET + bytes) / functions.max(1)).min(BUDGET) as u32
}

/// Bytes of a body.
fn size(body: &FunctionBody<'_>) -> usize {
    body.range().end as usize - body.range().start as usize
}

impl<'a> Inlinable<'a> {
    /// What is to be known of a function for inlining it; `None` if it is not to be, or malformed.
    fn of(body: &FunctionBody<'a>, params: usize) -> Option<Inlinable<'a>> {
        if size(body) > MAX_BYTES {
            return None;
        }
        let (mut declared, mut locals) = (Vec::new(), 0u32);
        for group in body.get_locals_reader().ok()? {
            let (count, ty) = group.ok()?;
            locals = locals.checked_add(count).filter(|&locals| locals <= MAX_LOCALS)?;
            declared.push((count, crate::env::val_type(ty)));
        }
        let weight = params as u32 + locals;
        let (body, mut operators, traps, saves) = (body.clone(), 0, false, false);
        let mut inlinable = Inlinable { body, declared, weight, traps, saves };
        let mut ops = inlinable.body.get_operators_reader().ok()?;
        while !ops.eof() {
            operators += 1;
            if operators > MAX_OPERATORS {
                return None;
            }
            match stops(&ops.read().ok()?) {
                Stops::Never => {}
                Stops::Fault => inlinable.traps = true,
                Stops::Trap => (inlinable.traps, inlinable.saves) = (true, true),
                Stops::Frozen => return None,
            }
        }
        inlinable.weight += operators;
        Some(inlinable)
    }
}

/// How a frame can stop at an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stops {
    Never,
    /// The processor traps.
    Fault,
    /// It traps, having saved its state.
    Trap,
    /// In other ways, or it is not known how.
    Frozen,
}

fn stops(op: &Operator<'_>) -> Stops {
    match op {
        Operator::Unreachable => return Stops::Trap,
        Operator::Loop { .. }
        | Operator::Call { .. }
        | Operator::CallIndirect { .. }
        | Operator::MemoryGrow { .. } => return Stops::Frozen,
        Operator::TypedSelect { .. }
        | Operator::RefNull { .. }
        | Operator::RefIsNull
        | Operator::RefFunc { .. } => {
            return Stops::Never;
        }
        _ => {}
    }
    let Some((proposal, name)) = operator_names(op) else { return Stops::Frozen };
    let known = ["mvp", "sign_extension", "saturating_float_to_int", "simd", "relaxed_simd"];
    if !known.contains(&proposal) {
        return Stops::Frozen;
    }
    let faults = ["_load", "_store", "_div_s", "_div_u", "_rem_s", "_rem_u", "_trunc_f"];
    match faults.iter().any(|part| name.contains(part)) {
        true => Stops::Fault,
        false => Stops::Never,
    }
}

/// What a function's translation knows of inlining.
#[derive(Default)]
pub(crate) struct Inlining {
    /// The body that is being translated; `None`: the function's own.
    body: Option<Inlined>,
    /// What may still be inlined.
    budget: u32,
    /// Where bodies are inlined that can trap.
    pub(crate) sites: Vec<InlineSite>,
}

/// An inlined body.
struct Inlined {
    first_local: u32,
    /// Position of its function frame in the control stack.
    frame: usize,
    /// The current operator's ordinal in it.
    operator: u32,
    /// If it saves locals.
    liveness: Option<Liveness>,
}

impl Inlining {
    /// For a function with this body.
    pub(crate) fn new(inlinable: &Inlinables<'_>, body: &FunctionBody<'_>) -> Inlining {
        let of_size = size(body) / BYTES_EACH;
        Inlining { budget: inlinable.budget.max(of_size as u32), ..Inlining::default() }
    }

    /// The number of a local of the body that is being translated, in the function's numbering.
    pub(crate) fn local(&self, local: u32) -> u32 {
        local + self.body.as_ref().map_or(0, |body| body.first_local)
    }

    /// Position in the control stack of the function frame of an inlined body.
    pub(crate) fn frame(&self) -> Option<usize> {
        self.body.as_ref().map(|body| body.frame)
    }

    /// In an inlined body: its liveness, if it saves locals, the current operator's ordinal in it,
    /// and its first local.
    pub(crate) fn liveness(&mut self) -> Option<(Option<&mut Liveness>, u32, u32)> {
        let body = self.body.as_mut()?;
        Some((body.liveness.as_mut(), body.operator, body.first_local))
    }
}

/// Translates `op` if it calls a function that is inlined here.
///
/// # Errors
///
/// As [`FuncTranslator::translate_operator`].
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> Result<bool> {
    let &Operator::Call { function_index } = op else { return Ok(false) };
    let env: &ModuleEnv<'_> = t.env;
    let defined = function_index.checked_sub(env.info.num_imported_functions as u32);
    let Some(callee) = defined.and_then(|defined| env.inlinable.functions.get(&defined)) else {
        return Ok(false);
    };
    // Without frame state a frame that has called shows its references; one that has faulted, none.
    let shows_references = env.frame_state == FrameState::Off && t.liveness.is_some();
    if t.inlining.budget < callee.weight
        || t.state.writes_through()
        || t.stack.len() > MAX_HEIGHT
        || callee.traps && shows_references
    {
        return Ok(false);
    }
    t.inlining.budget -= callee.weight;
    inline(t, function_index, callee)?;
    Ok(true)
}

fn inline(t: &mut FuncTranslator<'_>, index: u32, callee: &Inlinable<'_>) -> Result<()> {
    ops::exception::note_inlined(t);
    let ty = t.env.info.func_type(index);
    let args = t.pop_many(ty.params().len());
    let (call, first_local) = (t.pc, t.locals.len() as u32);
    if callee.traps {
        t.save_as_for_call();
        let first_operand = t.stack.len() as u32;
        t.inlining.sites.push(InlineSite { call, callee: index, first_local, first_operand });
        t.points.set_site(Some(t.inlining.sites.len() as u32 - 1));
    }

    let charged = t.charge(u64::from(t.env.metering.costs.function_entry()));
    let loc = t.points.start_point(call, charged);
    t.builder.set_srcloc(loc);
    for (&ty, &value) in ty.params().iter().zip(&args) {
        t.declare_local(ty, value);
    }
    for &(count, ty) in &callee.declared {
        let zero = t.zero(ty);
        (0..count).for_each(|_| t.declare_local(ty, zero));
    }
    let locals = &t.locals[first_local as usize..];
    let keeps = locals.iter().any(|&(_, ty)| t.state.keeps(ty));
    let liveness = match callee.saves && keeps {
        true => Liveness::of(&callee.body, locals.len(), t.state.keeps_all())?,
        false => None,
    };
    let stretch = std::mem::take(&mut t.stretch);
    let frame = t.control.len();
    t.inlining.body = Some(Inlined { first_local, frame, operator: 0, liveness });
    ops::control::push_function_frame(t, index);
    let mut ops = callee.body.get_operators_reader()?;
    while t.control.len() > frame {
        let pc = WasmPc(ops.original_position() as u32);
        t.translate_operator(&ops.read()?, pc)?;
        if let Some(body) = &mut t.inlining.body {
            body.operator += 1;
        }
    }
    t.inlining.body = None;
    t.points.set_site(None);
    t.stretch = stretch;
    t.pc = call;
    // What is still to come belongs to the call again. It does not trap, and charges nothing.
    t.first_point = t.points.start_point(call, None);
    t.builder.set_srcloc(t.first_point);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inlined_in_a_module_is_in_proportion_to_its_size() {
        for functions in [0, 1, 1000, 100_000, 10_000_000] {
            for size in [3, 100, 10_000] {
                let bytes = functions * size;
                let all = functions * budget_of_each(functions, bytes) as usize;
                assert!(all <= MODULE_BUDGET + bytes, "{functions} of {size} bytes: {all}");
            }
        }
        assert_eq!(budget_of_each(1, 10), BUDGET as u32);
        assert_eq!(budget_of_each(3_000, 30_000), BUDGET as u32);
    }
}
