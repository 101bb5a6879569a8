//! Both sides, from stop to stop.

use crate::compare::Checker;
use crate::report::Report;
use crate::settings::Settings;
use crate::twin::{Answer, Twin};
use crate::values::their_type;
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::sync::Arc;
use stillframe::{
    Caller, Engine, Extern, ExternType, FrameHandle, FrozenTrace, Func, FuncType, Instance, Module,
    ResumableCall, Store, Trap, Val,
};
use stillframe_oracle as oracle;
use stillframe_oracle::Step;

/// A bulk operation of more units is not paid: sums of such costs saturate, and may do so otherwise
/// in the interpreter.
const HUGE: u64 = 1 << 60;

/// Runs modules on both sides.
#[derive(Debug)]
pub struct Lockstep {
    settings: Settings,
    engine: Engine,
}

/// A module, on both sides.
pub struct Pair<'a> {
    lockstep: &'a Lockstep,
    module: Module,
    theirs: Arc<oracle::Module>,
}

/// A module's instance, on both sides.
struct Instances {
    store: Store<Twin>,
    instance: Instance,
    theirs: oracle::InstanceId,
}

impl Lockstep {
    /// An engine for these settings.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn new(settings: Settings) -> Result<Lockstep> {
        Ok(Lockstep { engine: Engine::new(&settings.config())?, settings })
    }

    /// Compiles a module.
    ///
    /// # Errors
    ///
    /// If it is not one that both sides support.
    pub fn load(&self, wasm: &[u8]) -> Result<Pair<'_>> {
        let module = Module::new(&self.engine, wasm)?;
        Ok(Pair { lockstep: self, module, theirs: oracle::Module::shared(wasm)? })
    }

    /// Calls every exported function of a module, in one store.
    ///
    /// # Errors
    ///
    /// If the two sides differ, or the module is not one that both support.
    pub fn run(&self, wasm: &[u8], seed: u64) -> Result<Report> {
        let pair = self.load(wasm)?;
        let Some(mut both) = pair.instantiate(seed)? else { return Ok(Report::default()) };
        for name in pair.names() {
            let is_func = both.instance.get_func(&mut both.store, &name).is_some();
            if is_func && !both.call(&name, &pair.names())? {
                break;
            }
        }
        Ok(*both.store.data_mut().report())
    }
}

impl Pair<'_> {
    /// Calls one function, in a store of its own, and returns beside the report which operators
    /// were executed: function and pc.
    ///
    /// # Errors
    ///
    /// If the two sides differ.
    pub fn call(&self, name: &str, seed: u64) -> Result<(Report, BTreeSet<(u32, u32)>)> {
        let mut both = self.instantiate(seed)?.context("the module cannot be instantiated")?;
        let exported = ["memory", "sum", "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"];
        both.call(name, &exported.map(String::from))?;
        let twin = both.store.data_mut();
        Ok((*twin.report(), std::mem::take(&mut twin.executed)))
    }

    /// The module, as the interpreter has it.
    pub fn module(&self) -> &oracle::Module {
        &self.theirs
    }

    fn names(&self) -> Vec<String> {
        self.module.exports().map(|export| export.name().to_string()).collect()
    }

    /// An instance on each side; none if neither side can make one.
    fn instantiate(&self, seed: u64) -> Result<Option<Instances>> {
        let settings = &self.lockstep.settings;
        let mut twin = Twin {
            checker: Some(Checker::new(settings.clone(), self.theirs.clone())),
            settings: Some(settings.clone()),
            seed,
            ..Twin::default()
        };
        let mut store = Store::new(&self.lockstep.engine, Twin::default());
        let (mut imports, mut their_imports) = (Vec::new(), Vec::new());
        for import in self.module.imports() {
            let ExternType::Func(ty) = import.ty() else { bail!("only functions are imported") };
            let (params, results) = (their_types(ty.params()), their_types(ty.results()));
            let host = twin.machine.host_func(oracle::FuncType::new(params, results));
            let func = host_func(&mut store, &ty);
            twin.functions.push(func, host);
            their_imports.push(oracle::Extern::Func(host));
            imports.push(Extern::Func(func));
        }
        if settings.fuel {
            store.set_fuel(u64::MAX / 4)?;
        }
        store.set_epoch_deadline(1 << 40);
        store.epoch_deadline_suspend();
        let instance = Instance::new(&mut store, &self.module, &imports);
        let theirs = twin.machine.instantiate(&self.theirs, &their_imports);
        let (instance, theirs) = match (instance, theirs) {
            (Ok(instance), Ok(theirs)) => (instance, theirs),
            (Err(_), Err(_)) => return Ok(None),
            (Err(error), Ok(_)) => return Err(error.context("instantiated there alone")),
            (Ok(_), Err(error)) => return Err(error.context("instantiated here alone")),
        };
        for export in self.module.exports() {
            let there = twin.machine.export(theirs, export.name());
            if let Some(oracle::Extern::Func(there)) = there {
                let here = instance.get_func(&mut store, export.name()).context("an export")?;
                twin.functions.push(here, there);
            }
        }
        *store.data_mut() = twin;
        Ok(Some(Instances { store, instance, theirs }))
    }
}

fn their_types(types: &[stillframe::ValType]) -> Vec<oracle::ValType> {
    types.iter().copied().map(their_type).collect()
}

impl Instances {
    /// Calls a function on both sides, and compares what these exports are then. Returns whether
    /// another one can be called.
    fn call(&mut self, name: &str, exports: &[String]) -> Result<bool> {
        let func = self.instance.get_func(&mut self.store, name).context("no such function")?;
        let theirs = self.store.data().machine.export(self.theirs, name);
        let Some(oracle::Extern::Func(theirs)) = theirs else { bail!("no function {name} there") };
        let goes_on = call(&mut self.store, func, theirs).with_context(|| format!("in {name}"))?;
        if goes_on {
            self.compare_state(exports).with_context(|| format!("after {name}"))?;
        }
        Ok(goes_on)
    }

    /// Compares what is exported beside functions.
    fn compare_state(&mut self, names: &[String]) -> Result<()> {
        let store = &mut self.store;
        for name in names {
            let theirs = store.data().machine.export(self.theirs, name);
            match (self.instance.get_export(&mut *store, name), theirs) {
                (Some(Extern::Memory(memory)), Some(oracle::Extern::Memory(theirs))) => {
                    let same = memory.data(&*store) == store.data().machine.memory(theirs);
                    ensure!(same, "memory {name} differs");
                }
                (Some(Extern::Global(global)), Some(oracle::Extern::Global(theirs))) => {
                    let value = global.get(&mut *store);
                    let theirs = store.data().machine.global(theirs);
                    let same = store.data().same(&*store, &value, &theirs);
                    ensure!(same, "global {name} is {value:?} instead of {theirs:x?}");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Calls a function on both sides. Returns whether both are in the same state then.
fn call(store: &mut Store<Twin>, func: Func, theirs: oracle::FuncId) -> Result<bool> {
    let settings = store.data().settings().clone();
    let ty = func.ty(&*store);
    if settings.fuel {
        store.set_fuel(settings.slice)?;
        store.data_mut().base.0 = store.fuel_consumed()?;
    }
    let twin = store.data_mut();
    let args: Vec<_> = ty.params().iter().map(|&ty| twin.choose(ty)).collect();
    twin.start(theirs, args.clone())?;
    let args = ours(store, args)?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    let mut outcome = func.call_resumable(&mut *store, &args, &mut results);
    let mut stops = 0;
    loop {
        if let Some(failure) = store.data_mut().failure.take() {
            return Err(failure);
        }
        outcome = match outcome {
            Err(error) => return ended(store, &error),
            Ok(ResumableCall::Finished) => return finished(store, &results).map(|()| true),
            Ok(ResumableCall::OutOfFuel(call)) => {
                if call.required_fuel() > HUGE {
                    store.data_mut().report().given_up += 1;
                    return Ok(false);
                }
                checkpoint(store, call.frames(&*store)?.collect())?;
                if consumed(store)?.is_some_and(|all| all > settings.max_fuel) {
                    store.data_mut().report().given_up += 1;
                    return Ok(true);
                }
                stops += 1;
                if settings.epochs && stops % 3 == 0 {
                    store.set_epoch_deadline(0);
                }
                store.add_fuel(settings.slice.max(call.required_fuel()))?;
                call.resume(&mut *store, &mut results).map_err(|error| error.into_error())
            }
            Ok(ResumableCall::Interrupted(call)) => {
                checkpoint(store, call.frames(&*store)?.collect())?;
                store.data_mut().report().interrupts += 1;
                stops += 1;
                // Else it stops at the next checkpoint again.
                if stops % 2 == 0 {
                    store.set_epoch_deadline(1 << 40);
                }
                call.resume(&mut *store, &mut results).map_err(|error| error.into_error())
            }
            Ok(ResumableCall::HostTrap(call)) => {
                let frames: Vec<FrameHandle> = call.frames(&*store)?.collect();
                let ty = call.host_func().ty(&*store);
                let values = with_twin(store, |store, twin| {
                    twin.stop(store, &frames)?;
                    let values: Vec<_> = ty.results().iter().map(|&ty| twin.choose(ty)).collect();
                    twin.host_returns(values.clone())?;
                    Ok(values)
                })?;
                let values = ours(store, values)?;
                call.resume(&mut *store, &values, &mut results).map_err(|error| error.into_error())
            }
        };
    }
}

/// Does something with the twin, which is not in the store as long.
fn with_twin<R>(
    store: &mut Store<Twin>,
    what: impl FnOnce(&mut Store<Twin>, &mut Twin) -> Result<R>,
) -> Result<R> {
    let mut twin = std::mem::take(store.data_mut());
    let done = what(store, &mut twin);
    *store.data_mut() = twin;
    done
}

fn checkpoint(store: &mut Store<Twin>, frames: Vec<FrameHandle>) -> Result<()> {
    with_twin(store, |store, twin| twin.checkpoint(store, &frames))
}

fn ours(store: &mut Store<Twin>, values: Vec<oracle::Value>) -> Result<Vec<Val>> {
    with_twin(store, |store, twin| {
        values.into_iter().map(|value| twin.functions.ours(&mut *store, value)).collect()
    })
}

/// Units that the store has consumed, if they are counted.
fn all_fuel(store: &Store<Twin>) -> Result<Option<u64>> {
    match store.data().settings().fuel {
        true => store.fuel_consumed().map(Some),
        false => Ok(None),
    }
}

/// Units that the current call has consumed.
fn consumed(store: &Store<Twin>) -> Result<Option<u64>> {
    Ok(all_fuel(store)?.map(|all| all - store.data().base.0))
}

fn finished(store: &mut Store<Twin>, results: &[Val]) -> Result<()> {
    let fuel = all_fuel(store)?;
    let values = match store.data_mut().finish()? {
        Step::Finished(values) => values,
        other => bail!("here it has finished, there: {other:?}"),
    };
    let twin = store.data();
    let same = values.len() == results.len()
        && results.iter().zip(&values).all(|(a, b)| twin.same(&*store, a, b));
    ensure!(same, "it returned {results:?} instead of {values:x?}");
    twin.check_fuel(fuel)?;
    store.data_mut().report().finished += 1;
    Ok(())
}

/// It has ended in an error. Returns whether both sides are in the same state.
fn ended(store: &mut Store<Twin>, error: &Error) -> Result<bool> {
    let fuel = all_fuel(store)?;
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::StackOverflow) {
        // How much stack a frame takes is nobody's contract.
        store.data_mut().report().given_up += 1;
        return Ok(false);
    }
    let there = store.data_mut().finish()?;
    match (trap, &there) {
        (Some(trap), Step::Trapped(kind)) if kind.to_string() == trap.to_string() => {}
        (None, Step::Threw(_)) => {}
        _ => bail!("it failed: {error:?}; there: {there:?}"),
    }
    store.data().check_fuel(fuel)?;
    let trace = FrozenTrace::of(error).context("the error owns no trace")?;
    with_twin(store, |store, twin| {
        let checker = twin.checker.as_mut().expect("set");
        let call = twin.call.as_ref().expect("a call has ended");
        checker.trace(&*store, &twin.functions, trace, call, trap)
    })
    .with_context(|| format!("it failed: {error:?}"))?;
    Ok(true)
}

/// A host function that compares and answers.
fn host_func(store: &mut Store<Twin>, ty: &FuncType) -> Func {
    let own = ty.clone();
    Func::new(store, ty.clone(), move |mut caller: Caller<'_, Twin>, args, results| {
        let mut twin = std::mem::take(caller.data_mut());
        let frames: Vec<FrameHandle> = caller.frames().collect();
        let fuel = twin.settings().fuel.then(|| caller.fuel_consumed()).transpose()?;
        let answer = twin.host_called(&mut caller, fuel, &frames, args, &own);
        let answer = match answer {
            Ok(Answer::Return(values)) => {
                for (result, value) in results.iter_mut().zip(values) {
                    *result = twin.functions.ours(&mut caller, value)?;
                }
                Ok(())
            }
            Ok(Answer::Fail) => Err(anyhow!("on purpose")),
            Err(error) => {
                twin.failure = Some(error);
                Err(anyhow!("they differ"))
            }
        };
        *caller.data_mut() = twin;
        answer
    })
}
