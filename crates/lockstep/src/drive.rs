//! Both sides, from stop to stop.

use crate::compare::Checker;
use crate::settings::Settings;
use crate::values::{chosen, ours, same, their_type};
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use stillframe::{
    AsContext, AsContextMut, Caller, Engine, Extern, ExternType, FrameHandle, FrozenTrace, Func,
    FuncType, Instance, Module, ResumableCall, Store, Trap, Val,
};
use stillframe_oracle as oracle;
use stillframe_oracle::{Activation, Machine, Step};

/// What was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Places where frames were compared.
    pub stops: u64,
    /// Calls of host functions among them.
    pub host_calls: u64,
    /// Traps.
    pub traps: u64,
    /// Calls that returned.
    pub finished: u64,
    /// Calls that were given up: they consumed too much fuel, or used up the stack.
    pub given_up: u64,
    /// Locals that were the same.
    pub locals: u64,
    /// Locals that could not be read, and were not promised.
    pub not_live: u64,
    /// Locals that could not be read where the processor has trapped.
    pub unknown: u64,
    /// Operands that were the same.
    pub operands: u64,
    /// Locals and operands that were written.
    pub writes: u64,
}

impl Report {
    /// Adds another one.
    pub fn add(&mut self, other: &Report) {
        self.stops += other.stops;
        self.host_calls += other.host_calls;
        self.traps += other.traps;
        self.finished += other.finished;
        self.given_up += other.given_up;
        self.locals += other.locals;
        self.not_live += other.not_live;
        self.unknown += other.unknown;
        self.operands += other.operands;
        self.writes += other.writes;
    }
}

/// Runs modules on both sides.
#[derive(Debug)]
pub struct Lockstep {
    settings: Settings,
    engine: Engine,
}

/// The interpreter's side, as the store's data.
#[derive(Default)]
struct Twin {
    machine: Machine,
    call: Option<Activation>,
    /// The host function that it waits for, and its arguments.
    awaited: Option<(oracle::FuncId, Vec<oracle::Value>)>,
    checker: Option<Checker>,
    settings: Option<Settings>,
    /// Fuel that both have consumed before the call.
    base: (u64, u64),
    /// Counts, to choose values.
    seed: u64,
    /// What was different.
    failure: Option<Error>,
}

/// What a host function does.
enum Answer {
    Return(Vec<oracle::Value>),
    /// It fails, and the call is suspended.
    Fail,
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

    /// Calls every exported function of a module, on both sides.
    ///
    /// # Errors
    ///
    /// If the two sides differ, or the module is not one that both support.
    pub fn run(&self, wasm: &[u8], seed: u64) -> Result<Report> {
        let module = Module::new(&self.engine, wasm)?;
        let theirs = oracle::Module::shared(wasm)?;
        let mut twin = Twin {
            checker: Some(Checker::new(self.settings.clone(), theirs.clone())),
            settings: Some(self.settings.clone()),
            seed,
            ..Twin::default()
        };
        let mut store = Store::new(&self.engine, Twin::default());
        let (mut imports, mut their_imports) = (Vec::new(), Vec::new());
        for import in module.imports() {
            let ExternType::Func(ty) = import.ty() else { bail!("only functions are imported") };
            let (params, results) = (their_types(ty.params()), their_types(ty.results()));
            let host = twin.machine.host_func(oracle::FuncType::new(params, results));
            their_imports.push(oracle::Extern::Func(host));
            imports.push(Extern::Func(host_func(&mut store, &ty)));
        }
        store.set_fuel(u64::MAX / 4)?;
        let instance = Instance::new(&mut store, &module, &imports);
        let their_instance = twin.machine.instantiate(&theirs, &their_imports);
        let (instance, their_instance) = match (instance, their_instance) {
            (Ok(instance), Ok(theirs)) => (instance, theirs),
            (Err(_), Err(_)) => return Ok(Report::default()),
            (Err(error), Ok(_)) => return Err(error.context("instantiated there alone")),
            (Ok(_), Err(error)) => return Err(error.context("instantiated here alone")),
        };
        *store.data_mut() = twin;
        let names: Vec<String> = module.exports().map(|export| export.name().to_string()).collect();
        for name in &names {
            if let Some(func) = instance.get_func(&mut store, name) {
                let theirs = store.data().machine.export(their_instance, name);
                let Some(oracle::Extern::Func(theirs)) = theirs else {
                    bail!("no function {name} there");
                };
                let done = call(&mut store, func, theirs).with_context(|| format!("in {name}"));
                if !done? {
                    break;
                }
                compare_state(&mut store, &instance, their_instance, &names)
                    .with_context(|| format!("after {name}"))?;
            }
        }
        Ok(store.data().checker.as_ref().expect("set above").report)
    }
}

fn their_types(types: &[stillframe::ValType]) -> Vec<oracle::ValType> {
    types.iter().copied().map(their_type).collect()
}

/// Calls a function on both sides. Returns whether it has ended: otherwise it was given up.
fn call(store: &mut Store<Twin>, func: Func, theirs: oracle::FuncId) -> Result<bool> {
    let settings = store.data().settings.clone().expect("set");
    let ty = func.ty(&*store);
    store.set_fuel(settings.slice)?;
    let twin = store.data_mut();
    let args: Vec<_> = ty.params().iter().map(|&ty| twin.choose(ty)).collect();
    twin.call = Some(twin.machine.start(theirs, args.clone())?);
    twin.awaited = None;
    twin.base.1 = twin.machine.fuel_consumed();
    let base = store.fuel_consumed()?;
    store.data_mut().base.0 = base;
    let args: Vec<Val> =
        args.into_iter().map(|value| ours(&mut *store, value)).collect::<Result<_>>()?;
    let mut results = vec![Val::I32(0); ty.results().len()];
    let mut outcome = func.call_resumable(&mut *store, &args, &mut results);
    loop {
        if let Some(failure) = store.data_mut().failure.take() {
            return Err(failure);
        }
        outcome = match outcome {
            Err(error) => return ended(store, &error),
            Ok(ResumableCall::Finished) => return finished(store, &results),
            Ok(ResumableCall::OutOfFuel(call)) => {
                let frames: Vec<FrameHandle> = call.frames(&*store)?.collect();
                let mut twin = std::mem::take(store.data_mut());
                let stop = twin.out_of_fuel(store, &frames);
                *store.data_mut() = twin;
                stop?;
                if consumed(store)? > settings.max_fuel {
                    store.data_mut().report().given_up += 1;
                    return Ok(false);
                }
                store.add_fuel(settings.slice.max(call.required_fuel()))?;
                call.resume(&mut *store, &mut results).map_err(|error| error.into_error())
            }
            Ok(ResumableCall::HostTrap(call)) => {
                let frames: Vec<FrameHandle> = call.frames(&*store)?.collect();
                let ty = call.host_func().ty(&*store);
                let mut twin = std::mem::take(store.data_mut());
                let stop = twin.stop(&mut *store, &frames);
                let values: Vec<_> = ty.results().iter().map(|&ty| twin.choose(ty)).collect();
                let returned = stop.and_then(|()| twin.host_returns(values.clone()));
                *store.data_mut() = twin;
                returned?;
                let values: Vec<Val> =
                    values.into_iter().map(|v| ours(&mut *store, v)).collect::<Result<_>>()?;
                call.resume(&mut *store, &values, &mut results).map_err(|error| error.into_error())
            }
            Ok(ResumableCall::Interrupted(_)) => bail!("there are no epochs"),
        };
    }
}

/// Fuel that the current call has consumed.
fn consumed(store: &Store<Twin>) -> Result<u64> {
    Ok(store.fuel_consumed()? - store.data().base.0)
}

fn finished(store: &mut Store<Twin>, results: &[Val]) -> Result<bool> {
    let fuel = consumed(store)?;
    let (machine, mut call) = store.data_mut().take_call();
    let values = match run(machine, &mut call)? {
        Step::Finished(values) => values,
        other => bail!("here it has finished, there: {other:?}"),
    };
    let store_view = store.as_context();
    let same = values.len() == results.len()
        && results.iter().zip(&values).all(|(a, b)| same(&store_view, a, b));
    ensure!(same, "it returned {results:?} instead of {values:x?}");
    store.data().check_fuel(fuel)?;
    store.data_mut().report().finished += 1;
    Ok(true)
}

fn ended(store: &mut Store<Twin>, error: &Error) -> Result<bool> {
    let fuel = consumed(store)?;
    let (machine, mut call) = store.data_mut().take_call();
    let Some(&trap) = error.downcast_ref::<Trap>() else {
        let thrown = matches!(run(machine, &mut call)?, Step::Threw(_));
        ensure!(thrown, "it failed: {error:?}");
        store.data().check_fuel(fuel)?;
        store.data_mut().report().traps += 1;
        return Ok(true);
    };
    if trap == Trap::StackOverflow {
        // How much stack a frame takes is nobody's contract.
        store.data_mut().report().given_up += 1;
        return Ok(false);
    }
    match run(machine, &mut call)? {
        Step::Trapped(kind) if kind.to_string() == trap.to_string() => {}
        other => bail!("it trapped for {trap}, there: {other:?}"),
    }
    store.data().check_fuel(fuel)?;
    let trace = FrozenTrace::of(error).context("the error owns no trace")?;
    let mut checker = store.data_mut().checker.take().expect("set");
    let compared = checker.trace(&*store, trace, &call, trap);
    store.data_mut().checker = Some(checker);
    compared.with_context(|| format!("trapped: {trap}"))?;
    Ok(true)
}

/// Runs the interpreter until it stops.
fn run(machine: &mut Machine, call: &mut Activation) -> Result<Step> {
    ensure!(!call.is_awaiting_host(), "there it waits for a host function");
    loop {
        match call.step(machine) {
            Step::Running => {}
            other => return Ok(other),
        }
    }
}

impl Twin {
    fn report(&mut self) -> &mut Report {
        &mut self.checker.as_mut().expect("set").report
    }

    fn take_call(&mut self) -> (&mut Machine, Activation) {
        (&mut self.machine, self.call.take().expect("a call runs"))
    }

    fn choose(&mut self, ty: stillframe::ValType) -> oracle::Value {
        self.seed += 1;
        chosen(ty, self.seed)
    }

    fn check_fuel(&self, ours: u64) -> Result<()> {
        let theirs = self.machine.fuel_consumed() - self.base.1;
        ensure!(ours == theirs, "it consumed {ours} units instead of {theirs}");
        Ok(())
    }

    /// One step of the interpreter, which runs.
    fn step(&mut self) -> Result<()> {
        let call = self.call.as_mut().expect("a call runs");
        match call.step(&mut self.machine) {
            Step::Running => Ok(()),
            Step::HostCall { func, args } => {
                self.awaited = Some((func, args));
                Ok(())
            }
            other => bail!("there it has ended: {other:?}"),
        }
    }

    /// We are out of fuel: moves the interpreter to the same place.
    fn out_of_fuel(&mut self, store: &mut Store<Twin>, frames: &[FrameHandle]) -> Result<()> {
        let fuel = store.fuel_consumed()? - self.base.0;
        // Without frames before a host function that was called in tail position.
        let place = match frames.first() {
            Some(inner) => {
                Some((inner.func_index(&*store)?, inner.wasm_pc(&*store)?, frames.len()))
            }
            None => None,
        };
        loop {
            let call = self.call.as_ref().expect("a call runs");
            let theirs = self.machine.fuel_consumed() - self.base.1;
            let at = call.innermost().map(|view| (view.func_index, view.pc, call.depth()));
            if theirs == fuel && at == place {
                break;
            }
            ensure!(
                theirs <= fuel && !call.is_awaiting_host(),
                "out of fuel at {place:x?} after {fuel} units; there {at:x?} after {theirs}"
            );
            self.step()?;
        }
        self.stop(store, frames)
    }

    /// Compares the frames, and writes to some of them.
    fn stop(&mut self, mut store: impl AsContextMut, frames: &[FrameHandle]) -> Result<()> {
        let call = self.call.as_ref().expect("a call runs");
        let checker = self.checker.as_mut().expect("set");
        checker.stop(&store.as_context(), frames, call)?;
        if self.settings.as_ref().expect("set").frame_writes {
            self.write(&mut store, frames)?;
        }
        Ok(())
    }

    /// Writes to a local and to an operand of a frame, on both sides.
    fn write(&mut self, mut store: impl AsContextMut, frames: &[FrameHandle]) -> Result<()> {
        self.seed += 1;
        let depth = (self.seed as usize / 3) % frames.len().max(1);
        let Some(frame) = frames.get(depth) else { return Ok(()) };
        let locals = frame.num_locals(&store)?;
        if locals > 0 {
            let index = self.seed as usize % locals;
            let value = self.choose(frame.local_type(&store, index)?);
            let new = ours(&mut store, value)?;
            if frame.local(&store, index).is_ok() {
                frame.set_local(&mut store, index, new)?;
                self.call.as_mut().expect("a call runs").set_local(depth, index, value)?;
                self.report().writes += 1;
            } else {
                ensure!(frame.set_local(&mut store, index, new).is_err(), "a dead local written");
            }
        }
        let operands = frame.num_operands(&store)?;
        if operands > 0 {
            let index = self.seed as usize % operands;
            let ty = frame.operand_type(&store, index)?.context("an operand without a type")?;
            let value = self.choose(ty);
            let new = ours(&mut store, value)?;
            frame.set_operand(&mut store, index, new)?;
            self.call.as_mut().expect("a call runs").set_operand(depth, index, value)?;
            self.report().writes += 1;
        }
        Ok(())
    }

    /// A host function was called here.
    fn host_called(
        &mut self,
        mut caller: impl AsContextMut,
        fuel: u64,
        frames: &[FrameHandle],
        args: &[Val],
        ty: &FuncType,
    ) -> Result<Answer> {
        while self.awaited.is_none() {
            self.step().context("a host function is called")?;
        }
        let (_, theirs) = self.awaited.take().expect("just seen");
        let view = caller.as_context();
        let same =
            args.len() == theirs.len() && args.iter().zip(&theirs).all(|(a, b)| same(&view, a, b));
        ensure!(same, "a host function is called with {args:?} instead of {theirs:x?}");
        self.check_fuel(fuel - self.base.0)?;
        self.stop(&mut caller, frames)?;
        self.report().host_calls += 1;
        self.seed += 1;
        if self.seed % 3 == 0 {
            return Ok(Answer::Fail);
        }
        let values: Vec<_> = ty.results().iter().map(|&ty| self.choose(ty)).collect();
        self.host_returns(values.clone())?;
        Ok(Answer::Return(values))
    }

    fn host_returns(&mut self, values: Vec<oracle::Value>) -> Result<()> {
        self.call.as_mut().expect("a call runs").host_returned(&self.machine, values)
    }
}

/// A host function that compares and answers.
fn host_func(store: &mut Store<Twin>, ty: &FuncType) -> Func {
    let own = ty.clone();
    Func::new(store, ty.clone(), move |mut caller: Caller<'_, Twin>, args, results| {
        let mut twin = std::mem::take(caller.data_mut());
        let frames: Vec<FrameHandle> = caller.frames().collect();
        let fuel = caller.fuel_consumed()?;
        let answer = twin.host_called(&mut caller, fuel, &frames, args, &own);
        *caller.data_mut() = twin;
        match answer {
            Ok(Answer::Return(values)) => {
                for (result, value) in results.iter_mut().zip(values) {
                    *result = ours(&mut caller, value)?;
                }
                Ok(())
            }
            Ok(Answer::Fail) => Err(anyhow!("on purpose")),
            Err(error) => {
                caller.data_mut().failure = Some(error);
                Err(anyhow!("they differ"))
            }
        }
    })
}

/// Compares what is exported beside functions.
fn compare_state(
    store: &mut Store<Twin>,
    instance: &Instance,
    theirs: oracle::InstanceId,
    names: &[String],
) -> Result<()> {
    for name in names {
        let their_export = store.data().machine.export(theirs, name);
        match (instance.get_export(&mut *store, name), their_export) {
            (Some(Extern::Memory(memory)), Some(oracle::Extern::Memory(theirs))) => {
                let same = memory.data(&*store) == store.data().machine.memory(theirs);
                ensure!(same, "memory {name} differs");
            }
            (Some(Extern::Global(global)), Some(oracle::Extern::Global(theirs))) => {
                let value = global.get(&mut *store);
                let theirs = store.data().machine.global(theirs);
                let same = same(&store.as_context(), &value, &theirs);
                ensure!(same, "global {name} is {value:?} instead of {theirs:x?}");
            }
            _ => {}
        }
    }
    Ok(())
}
