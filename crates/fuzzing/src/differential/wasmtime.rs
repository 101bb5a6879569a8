//! Guests of wasmtime.

use super::guest::{Ending, Exports, Guest, Kind, MAX_MEMORY, MAX_TABLE, MemoryState, State};
use super::host::{Host, HostError};
use super::value::{Given, Ty, Value};
use std::sync::OnceLock;
use wasmtime::{
    AsContext, AsContextMut, Caller, Config, Engine, Extern, ExternRef, ExternType, Func, Global,
    Instance, Memory, Module, OptLevel, Ref, RootScope, Store, StoreLimits, StoreLimitsBuilder,
    Table, ThrownException, Trap, Val, ValType,
};

/// What a store holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// An instance in wasmtime.
pub struct Wasmtime {
    store: Store<Data>,
    instance: Instance,
    exports: Exports,
    /// Units of fuel for each call, if it counts.
    budget: Option<u64>,
}

/// The engine, of which each process has one of each kind.
fn engine(fuel: bool, optimised: bool) -> &'static Engine {
    static ENGINES: [OnceLock<Engine>; 4] = [const { OnceLock::new() }; 4];
    ENGINES[usize::from(fuel) * 2 + usize::from(optimised)].get_or_init(|| {
        let mut config = Config::new();
        config
            .consume_fuel(fuel)
            .cranelift_opt_level(if optimised { OptLevel::Speed } else { OptLevel::None })
            .parallel_compilation(false)
            .wasm_backtrace_max_frames(None)
            // Less than ours: a guest that ends there does not overflow the stack here.
            .max_wasm_stack(256 << 10)
            .wasm_threads(true)
            .wasm_tail_call(true)
            .wasm_multi_memory(true)
            .wasm_memory64(true)
            .wasm_relaxed_simd(true)
            .wasm_extended_const(true)
            .wasm_exceptions(true);
        Engine::new(&config).expect("wasmtime's engine")
    })
}

impl Wasmtime {
    /// An instance of the module; with a budget, fuel is counted. The error is an outcome too.
    pub fn new(
        wasm: &[u8],
        exports: &Exports,
        seed: u64,
        budget: Option<u64>,
        optimised: bool,
    ) -> Result<Wasmtime, Ending> {
        let engine = engine(budget.is_some(), optimised);
        let module = Module::new(engine, wasm).map_err(ending)?;
        let limits =
            StoreLimitsBuilder::new().memory_size(MAX_MEMORY).table_elements(MAX_TABLE).build();
        let mut store = Store::new(engine, Data { host: Host::new(seed), limits });
        store.limiter(|data| &mut data.limits);
        if let Some(budget) = budget {
            store.set_fuel(budget).map_err(ending)?;
        }
        let imports = imports(&mut store, &module).map_err(ending)?;
        let instance = Instance::new(&mut store, &module, &imports).map_err(ending)?;
        store.data_mut().host.started = true;
        Ok(Wasmtime { store, instance, exports: exports.clone(), budget })
    }
}

fn imports(store: &mut Store<Data>, module: &Module) -> wasmtime::Result<Vec<Extern>> {
    let mut imports = Vec::new();
    let (mut functions, mut globals) = (0.., 0..);
    for ty in module.imports() {
        imports.push(match ty.ty() {
            ExternType::Func(ty) => {
                let results: Vec<Ty> = ty.results().map(|ty| of_type(&ty)).collect();
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
                let null = Ref::null(ty.element().heap_type());
                Table::new(&mut *store, ty, null)?.into()
            }
            ExternType::Tag(_) => return Err(wasmtime::Error::msg("an imported tag")),
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
) -> wasmtime::Result<()> {
    let values = params.iter().map(|value| of_val(&caller, value)).collect();
    let answer = caller.data_mut().host.call(import, values, types);
    let answer = answer.map_err(wasmtime::Error::new)?;
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

fn of_type(ty: &ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
        ValType::Ref(ty) if ty.heap_type().is_extern() => Ty::Extern,
        ValType::Ref(ty) if ty.heap_type().is_func() => Ty::Func,
        ValType::Ref(_) => Ty::Exn,
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
        Val::ExternRef(object) => Value::Extern(object.as_ref().map(|object| {
            let object = object.data(store.as_context()).expect("a live root").expect("its data");
            *object.downcast_ref().expect("the host's objects are numbers")
        })),
        Val::ExnRef(exception) => Value::Exn(exception.is_some()),
        _ => unreachable!("a value of another type"),
    }
}

fn to_val(mut store: impl AsContextMut, value: Value) -> wasmtime::Result<Val> {
    Ok(match value {
        Value::I32(v) => Val::I32(v as i32),
        Value::I64(v) => Val::I64(v as i64),
        Value::F32(v) => Val::F32(v),
        Value::F64(v) => Val::F64(v),
        Value::V128(v) => Val::V128(v.into()),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(None) => Val::ExternRef(None),
        Value::Extern(Some(number)) => Val::ExternRef(Some(ExternRef::new(&mut store, number)?)),
        Value::Exn(_) => Val::ExnRef(None),
    })
}

fn ending(error: wasmtime::Error) -> Ending {
    if let Some(&error) = error.downcast_ref::<HostError>() {
        return Ending::HostFailed(error);
    }
    if error.is::<ThrownException>() {
        return Ending::Threw;
    }
    let kind = error.downcast_ref::<Trap>().and_then(|trap| {
        Some(match trap {
            Trap::StackOverflow => Kind::StackOverflow,
            Trap::OutOfFuel => Kind::OutOfFuel,
            Trap::UnreachableCodeReached => Kind::Unreachable,
            Trap::MemoryOutOfBounds => Kind::Memory,
            Trap::TableOutOfBounds => Kind::Table,
            Trap::IndirectCallToNull => Kind::Null,
            Trap::BadSignature => Kind::Signature,
            Trap::IntegerDivisionByZero => Kind::DivisionByZero,
            Trap::IntegerOverflow => Kind::Overflow,
            Trap::BadConversionToInteger => Kind::Conversion,
            Trap::NullReference => Kind::NullReference,
            Trap::HeapMisaligned => Kind::Unaligned,
            Trap::AtomicWaitNonSharedMemory => Kind::NotShared,
            _ => return None,
        })
    });
    kind.map_or_else(|| Ending::Refused(format!("{error:?}")), Ending::Trapped)
}

impl Guest for Wasmtime {
    fn call(&mut self, function: u32, params: &[Given]) -> Ending {
        if let Some(budget) = self.budget {
            self.store.set_fuel(budget).expect("it counts fuel");
        }
        let instance = self.instance;
        let mut scope = RootScope::new(&mut self.store);
        let func = |scope: &mut RootScope<&mut Store<Data>>, index: u32| {
            instance.get_func(&mut *scope, &format!("f{index}")).expect("it is exported")
        };
        let mut args = Vec::new();
        for given in params {
            let arg = match *given {
                Given::Value(value) => to_val(&mut scope, value),
                Given::Function(index) => Ok(Val::FuncRef(Some(func(&mut scope, index)))),
                Given::Param(_) => unreachable!("a parameter is not one of another"),
            };
            match arg {
                Ok(arg) => args.push(arg),
                Err(error) => return ending(error),
            }
        }
        let mut results =
            vec![Val::I32(0); self.exports.functions[function as usize].results.len()];
        let func = func(&mut scope, function);
        match func.call(&mut scope, &args, &mut results) {
            Ok(()) => Ending::Returned(results.iter().map(|value| of_val(&scope, value)).collect()),
            Err(error) => ending(error),
        }
    }

    fn state(&mut self, whole: bool) -> State {
        let instance = self.instance;
        let mut scope = RootScope::new(&mut self.store);
        let memories = (0..self.exports.memories).map(|i| {
            let memory = instance.get_memory(&mut scope, &format!("m{i}")).expect("exported");
            MemoryState::new(memory.data(&scope), whole)
        });
        let memories = memories.collect();
        let mut tables = Vec::new();
        for i in 0..self.exports.tables {
            let table = instance.get_table(&mut scope, &format!("t{i}")).expect("exported");
            let size = table.size(&scope);
            let element = |at| table.get(&mut scope, at).is_some_and(|element| !element.is_null());
            tables.push((0..size).map(element).collect());
        }
        let mut globals = Vec::new();
        for i in 0..self.exports.globals {
            let global = instance.get_global(&mut scope, &format!("g{i}")).expect("exported");
            let value = global.get(&mut scope);
            globals.push(of_val(&scope, &value));
        }
        State { memories, tables, globals }
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }

    fn consumed(&mut self) -> Option<u64> {
        let left = self.store.get_fuel().ok()?;
        Some(self.budget? - left)
    }

    fn set_global(&mut self, global: u32, value: u32) {
        let global = self.instance.get_global(&mut self.store, &format!("g{global}"));
        let set = global.expect("exported").set(&mut self.store, Val::I32(value as i32));
        set.expect("a mutable global of type i32");
    }
}
