//! Guests of ours, in any configuration, called plainly or in pieces.

use super::guest::{Ending, Exports, Guest, Kind, MAX_MEMORY, MAX_TABLE, MemoryState, State};
use super::host::{Host, HostError};
use super::value::{Given, Ty, Value};
use crate::configs::{Costs, Settings};
use anyhow::{Context as _, Error, Result, ensure};
use stillframe::{
    AsContext, AsContextMut, Caller, Engine, Extern, ExternRef, ExternType, Func, Global, Instance,
    Memory, Module, Ref, ResumableCall, Store, StoreLimits, StoreLimitsBuilder, Table, Trap,
    UncaughtException, Val, ValType,
};

/// Fuel that no guest consumes.
const PLENTY: u64 = 1 << 50;

/// How functions are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// By `Func::call`.
    Plain,
    /// By `Func::call_resumable`, in pieces of so many units, if fuel is consumed; each piece is
    /// twice as long as the one before from a number of pieces on, so that it ends.
    Pieces(u64),
}

/// What a store holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// An instance in our engine.
pub struct Ours {
    engine: Engine,
    settings: Settings,
    mode: Mode,
    store: Store<Data>,
    instance: Instance,
    exports: Exports,
    /// Units that had been consumed before the last call.
    before: u64,
    /// How often calls were suspended.
    pub suspensions: u64,
}

impl Ours {
    /// An instance of the module. The inner error is an outcome.
    ///
    /// # Errors
    ///
    /// If the engine does what it should not: says what.
    pub fn new(
        wasm: &[u8],
        exports: &Exports,
        seed: u64,
        settings: &Settings,
        mode: Mode,
    ) -> Result<Result<Ours, Ending>> {
        let mut config = settings.config();
        // So much more than wasmtime's guests have that they overflow first.
        config.max_wasm_stack(64 << 20);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, wasm).context("a valid module does not compile")?;
        Ours::of(&engine, &module, exports, seed, settings, mode)
    }

    /// The same, of a module that is compiled, by an engine with these settings.
    ///
    /// # Errors
    ///
    /// As [`Ours::new`].
    pub fn of(
        engine: &Engine,
        module: &Module,
        exports: &Exports,
        seed: u64,
        settings: &Settings,
        mode: Mode,
    ) -> Result<Result<Ours, Ending>> {
        let limits =
            StoreLimitsBuilder::new().memory_size(MAX_MEMORY).table_elements(MAX_TABLE).build();
        let mut store = Store::new(engine, Data { host: Host::new(seed), limits });
        store.limiter(|data| &mut data.limits);
        if settings.fuel {
            store.set_fuel(PLENTY)?;
        }
        if settings.epochs {
            store.set_epoch_deadline(1 << 40);
        }
        let instance = imports(&mut store, module)
            .and_then(|imports| Instance::new(&mut store, module, &imports));
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => return Ok(Err(ending(error))),
        };
        store.data_mut().host.started = true;
        if settings.epochs {
            store.epoch_deadline_suspend();
        }
        Ok(Ok(Ours {
            engine: engine.clone(),
            settings: settings.clone(),
            mode,
            store,
            instance,
            exports: exports.clone(),
            before: 0,
            suspensions: 0,
        }))
    }

    fn func(&mut self, index: u32) -> Func {
        self.instance.get_func(&mut self.store, &format!("f{index}")).expect("it is exported")
    }

    /// Calls in pieces.
    fn call_in_pieces(
        &mut self,
        func: Func,
        args: &[Val],
        results: &mut [Val],
        piece: u64,
    ) -> Result<()> {
        let mut pieces = 0;
        self.prepare(pieces, piece)?;
        let mut call = func.call_resumable(&mut self.store, args, results)?;
        loop {
            pieces += 1;
            call = match call {
                ResumableCall::Finished => return Ok(()),
                ResumableCall::HostTrap(call) => return Err(call.into_host_error()),
                ResumableCall::OutOfFuel(call) => {
                    ensure!(self.settings.fuel, "out of fuel that is not counted");
                    self.suspensions += 1;
                    self.prepare(pieces, piece.max(call.required_fuel()))?;
                    call.resume(&mut self.store, results)?
                }
                ResumableCall::Interrupted(call) => {
                    ensure!(self.settings.epochs, "interrupted, without epochs");
                    self.suspensions += 1;
                    self.prepare(pieces, piece)?;
                    call.resume(&mut self.store, results)?
                }
            };
        }
    }

    /// What is set before each piece.
    fn prepare(&mut self, pieces: u32, piece: u64) -> Result<()> {
        const SHORT: u32 = 300;
        let grown = piece.saturating_mul(1 << pieces.saturating_sub(SHORT).min(40));
        if self.settings.fuel {
            self.store.set_fuel(grown)?;
        }
        if self.settings.epochs {
            // Every third piece ends at its first checkpoint.
            let now = pieces % 3 == 1 && pieces < SHORT;
            self.store.set_epoch_deadline(if now { 1 } else { 1 << 40 });
            self.engine.increment_epoch();
        }
        Ok(())
    }
}

fn imports(store: &mut Store<Data>, module: &Module) -> Result<Vec<Extern>> {
    let mut imports = Vec::new();
    let (mut functions, mut globals) = (0.., 0..);
    for ty in module.imports() {
        imports.push(match ty.ty() {
            ExternType::Func(ty) => {
                let results: Vec<Ty> = ty.results().iter().copied().map(of_type).collect();
                let import = functions.next().expect("it has no end");
                let call = move |caller: Caller<'_, Data>, params: &[Val], out: &mut [Val]| {
                    host_call(caller, import, params, &results, out)
                };
                Func::new(&mut *store, ty, call).into()
            }
            ExternType::Global(ty) => {
                let import = globals.next().expect("it has no end");
                let value = store.data().host.global(import, of_type(ty.content()));
                let value = to_val(&mut *store, value)?;
                Global::new(&mut *store, ty, value)?.into()
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, ty)?.into(),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element());
                Table::new(&mut *store, ty, null)?.into()
            }
        });
    }
    Ok(imports)
}

fn host_call(
    mut caller: Caller<'_, Data>,
    import: usize,
    params: &[Val],
    types: &[Ty],
    results: &mut [Val],
) -> Result<()> {
    let values = params.iter().map(|value| of_val(&caller, value)).collect();
    let answer = caller.data_mut().host.call(import, values, types)?;
    if let Some((at, byte)) = answer.poke
        && let Some(Extern::Memory(memory)) = caller.get_export("m0")
        && let bytes = memory.data_mut(&mut caller)
        && !bytes.is_empty()
    {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    for (result, given) in results.iter_mut().zip(answer.results) {
        *result = match given {
            Given::Value(value) => to_val(&mut caller, value)?,
            Given::Param(param) => params[param],
            Given::Function(_) => unreachable!("host functions do not know functions"),
        };
    }
    Ok(())
}

fn of_type(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
        ValType::FuncRef => Ty::Func,
        ValType::ExternRef => Ty::Extern,
        ValType::ExnRef => Ty::Exn,
    }
}

fn of_val(store: impl AsContext, value: &Val) -> Value {
    match value {
        Val::I32(v) => Value::I32(*v as u32),
        Val::I64(v) => Value::I64(*v as u64),
        Val::F32(v) => Value::F32(*v),
        Val::F64(v) => Value::F64(*v),
        Val::V128(v) => Value::V128(v.as_u128()),
        Val::FuncRef(func) => Value::Func(func.is_some()),
        Val::ExternRef(object) => Value::Extern(object.map(|object| {
            let object = object.data(store.as_context());
            *object.downcast_ref().expect("the host's objects are numbers")
        })),
        Val::ExnRef(exception) => Value::Exn(exception.is_some()),
    }
}

fn to_val(store: impl AsContextMut, value: Value) -> Result<Val> {
    Ok(match value {
        Value::I32(v) => Val::I32(v as i32),
        Value::I64(v) => Val::I64(v as i64),
        Value::F32(v) => Val::F32(v),
        Value::F64(v) => Val::F64(v),
        Value::V128(v) => Val::V128(v.into()),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(None) => Val::ExternRef(None),
        Value::Extern(Some(number)) => Val::ExternRef(Some(ExternRef::new(store, number)?)),
        Value::Exn(_) => Val::ExnRef(None),
    })
}

fn ending(error: Error) -> Ending {
    if let Some(&error) = error.downcast_ref::<HostError>() {
        return Ending::HostFailed(error);
    }
    if error.is::<UncaughtException>() {
        return Ending::Threw;
    }
    let kind = error.downcast_ref::<Trap>().and_then(|trap| {
        Some(match trap {
            Trap::StackOverflow => Kind::StackOverflow,
            Trap::OutOfFuel => Kind::OutOfFuel,
            Trap::UnreachableCodeReached => Kind::Unreachable,
            Trap::MemoryOutOfBounds => Kind::Memory,
            Trap::TableOutOfBounds => Kind::Table,
            Trap::UndefinedElement => Kind::Element,
            Trap::IndirectCallToNull => Kind::Null,
            Trap::BadSignature => Kind::Signature,
            Trap::IntegerDivisionByZero => Kind::DivisionByZero,
            Trap::IntegerOverflow => Kind::Overflow,
            Trap::BadConversionToInteger => Kind::Conversion,
            Trap::NullReference => Kind::NullReference,
            Trap::UnalignedAtomic => Kind::Unaligned,
            Trap::AtomicWaitNonSharedMemory => Kind::NotShared,
            _ => return None,
        })
    });
    kind.map_or_else(|| Ending::Refused(format!("{error:?}")), Ending::Trapped)
}

impl Guest for Ours {
    fn call(&mut self, function: u32, params: &[Given]) -> Ending {
        let mut args = Vec::new();
        for given in params {
            args.push(match *given {
                Given::Value(value) => to_val(&mut self.store, value).expect("a value"),
                Given::Function(index) => Val::FuncRef(Some(self.func(index))),
                Given::Param(_) => unreachable!("a parameter is not one of another"),
            });
        }
        let mut results =
            vec![Val::I32(0); self.exports.functions[function as usize].results.len()];
        let func = self.func(function);
        if self.settings.fuel {
            self.before = self.store.fuel_consumed().expect("it counts fuel");
        }
        let called = match self.mode {
            Mode::Plain => {
                if self.settings.fuel {
                    self.store.set_fuel(PLENTY).expect("it counts fuel");
                }
                func.call(&mut self.store, &args, &mut results)
            }
            Mode::Pieces(piece) => self.call_in_pieces(func, &args, &mut results, piece),
        };
        match called {
            Ok(()) => {
                Ending::Returned(results.iter().map(|value| of_val(&self.store, value)).collect())
            }
            Err(error) => ending(error),
        }
    }

    fn state(&mut self, whole: bool) -> State {
        let (instance, store) = (self.instance, &mut self.store);
        let memories = (0..self.exports.memories).map(|i| {
            let memory = instance.get_memory(&mut *store, &format!("m{i}")).expect("exported");
            MemoryState::new(memory.data(&*store), whole)
        });
        let memories = memories.collect();
        let mut tables = Vec::new();
        for i in 0..self.exports.tables {
            let table = instance.get_table(&mut *store, &format!("t{i}")).expect("exported");
            let size = table.size(&*store);
            let element = |at| table.get(&mut *store, at).is_some_and(|element| !element.is_null());
            tables.push((0..size).map(element).collect());
        }
        let globals = (0..self.exports.globals).map(|i| {
            let global = instance.get_global(&mut *store, &format!("g{i}")).expect("exported");
            let value = global.get(&mut *store);
            of_val(&*store, &value)
        });
        let globals = globals.collect();
        State { memories, tables, globals }
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }

    fn consumed(&mut self) -> Option<u64> {
        if !self.settings.fuel || self.settings.costs != Costs::Default {
            return None;
        }
        Some(self.store.fuel_consumed().ok()?.wrapping_sub(self.before))
    }

    fn set_global(&mut self, global: u32, value: u32) {
        let global = self.instance.get_global(&mut self.store, &format!("g{global}"));
        let set = global.expect("exported").set(&mut self.store, Val::I32(value as i32));
        set.expect("a mutable global of type i32");
    }
}
