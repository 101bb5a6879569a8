//! Guests of wasmi.

use super::guest::{Ending, Exports, Guest, Kind, MAX_MEMORY, MAX_TABLE, MemoryState, State};
use super::host::{Host, HostError};
use super::value::{Given, Ty, Value};
use std::sync::OnceLock;
use wasmi::{
    AsContext, AsContextMut, Caller, CompilationMode, Config, Engine, Error, Extern, ExternRef,
    ExternType, F32, F64, Func, Global, Instance, Memory, Module, Nullable, Ref, Store,
    StoreLimits, StoreLimitsBuilder, Table, TrapCode, Val, ValType,
};

/// What a store holds.
struct Data {
    host: Host,
    limits: StoreLimits,
}

/// An instance in wasmi.
pub struct Wasmi {
    store: Store<Data>,
    instance: Instance,
    exports: Exports,
}

impl wasmi::errors::HostError for HostError {}

/// The engine, of which each process has one.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::default();
        config
            .set_max_recursion_depth(1 << 16)
            .set_max_stack_height(32 << 20)
            .compilation_mode(CompilationMode::Eager)
            .wasm_multi_memory(true)
            .wasm_memory64(true)
            .wasm_tail_call(true)
            .wasm_extended_const(true)
            .wasm_simd(true);
        Engine::new(&config)
    })
}

impl Wasmi {
    /// An instance of the module. The error is an outcome too.
    pub fn new(wasm: &[u8], exports: &Exports, seed: u64) -> Result<Wasmi, Ending> {
        let module = Module::new(engine(), wasm).map_err(ending)?;
        let limits =
            StoreLimitsBuilder::new().memory_size(MAX_MEMORY).table_elements(MAX_TABLE).build();
        let mut store = Store::new(engine(), Data { host: Host::new(seed), limits });
        store.limiter(|data| &mut data.limits);
        let imports = imports(&mut store, &module).map_err(ending)?;
        let instance = Instance::new(&mut store, &module, &imports).map_err(ending)?;
        store.data_mut().host.started = true;
        Ok(Wasmi { store, instance, exports: exports.clone() })
    }

    fn func(&self, index: u32) -> Func {
        self.instance.get_func(&self.store, &format!("f{index}")).expect("it is exported")
    }
}

fn imports(store: &mut Store<Data>, module: &Module) -> Result<Vec<Extern>, Error> {
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
                Func::new(&mut *store, ty.clone(), call).into()
            }
            ExternType::Global(ty) => {
                let import = globals.next().expect("it has no end");
                let value = store.data().host.global(import, of_type(ty.content()));
                let value = to_val(&mut *store, value);
                Global::new(&mut *store, value, ty.mutability()).into()
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, *ty)?.into(),
            ExternType::Table(ty) => {
                Table::new(&mut *store, *ty, Ref::default_for_ty(ty.element()))?.into()
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
) -> Result<(), Error> {
    let values = params.iter().map(|value| of_val(&caller, value)).collect();
    let answer = caller.data_mut().host.call(import, values, types);
    let answer = answer.map_err(Error::host)?;
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
            Given::Value(value) => to_val(&mut caller, value),
            Given::Param(param) => params[param].clone(),
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
    }
}

fn of_val(store: impl AsContext, value: &Val) -> Value {
    match value {
        Val::I32(v) => Value::I32(*v as u32),
        Val::I64(v) => Value::I64(*v as u64),
        Val::F32(v) => Value::F32(v.to_bits()),
        Val::F64(v) => Value::F64(v.to_bits()),
        Val::V128(v) => Value::V128(v.as_u128()),
        Val::FuncRef(func) => Value::Func(func.val().is_some()),
        Val::ExternRef(object) => Value::Extern(object.val().map(|object| {
            let object = object.data(store.as_context());
            *object.downcast_ref().expect("the host's objects are numbers")
        })),
    }
}

fn to_val(store: impl AsContextMut, value: Value) -> Val {
    match value {
        Value::I32(v) => Val::I32(v as i32),
        Value::I64(v) => Val::I64(v as i64),
        Value::F32(v) => Val::F32(F32::from_bits(v)),
        Value::F64(v) => Val::F64(F64::from_bits(v)),
        Value::V128(v) => Val::V128(v.into()),
        Value::Func(_) => Val::FuncRef(Nullable::Null),
        Value::Extern(None) => Val::ExternRef(Nullable::Null),
        Value::Extern(Some(number)) => Val::ExternRef(ExternRef::new(store, number).into()),
        Value::Exn(_) => unreachable!("wasmi has no exceptions"),
    }
}

fn ending(error: Error) -> Ending {
    if let Some(&error) = error.downcast_ref::<HostError>() {
        return Ending::HostFailed(error);
    }
    let Some(trap) = error.as_trap_code() else { return Ending::Refused(error.to_string()) };
    Ending::Trapped(match trap {
        TrapCode::StackOverflow => Kind::StackOverflow,
        TrapCode::OutOfFuel => Kind::OutOfFuel,
        TrapCode::UnreachableCodeReached => Kind::Unreachable,
        TrapCode::MemoryOutOfBounds => Kind::Memory,
        TrapCode::TableOutOfBounds => Kind::Table,
        TrapCode::IndirectCallToNull => Kind::Null,
        TrapCode::BadSignature => Kind::Signature,
        TrapCode::IntegerDivisionByZero => Kind::DivisionByZero,
        TrapCode::IntegerOverflow => Kind::Overflow,
        TrapCode::BadConversionToInteger => Kind::Conversion,
        other => return Ending::Refused(other.to_string()),
    })
}

impl Guest for Wasmi {
    fn call(&mut self, function: u32, params: &[Given]) -> Ending {
        let arg = |given: &Given| match *given {
            Given::Value(value) => to_val(&mut self.store, value),
            Given::Function(index) => {
                let func = self.instance.get_func(&self.store, &format!("f{index}"));
                Val::FuncRef(func.expect("it is exported").into())
            }
            Given::Param(_) => unreachable!("a parameter is not one of another"),
        };
        let args: Vec<Val> = params.iter().map(arg).collect();
        let mut results =
            vec![Val::I32(0); self.exports.functions[function as usize].results.len()];
        match self.func(function).call(&mut self.store, &args, &mut results) {
            Ok(()) => {
                Ending::Returned(results.iter().map(|value| of_val(&self.store, value)).collect())
            }
            Err(error) => ending(error),
        }
    }

    fn state(&mut self, whole: bool) -> State {
        let (instance, store) = (self.instance, &self.store);
        let memories = (0..self.exports.memories).map(|i| {
            let memory = instance.get_memory(store, &format!("m{i}")).expect("exported");
            MemoryState::new(memory.data(store), whole)
        });
        let tables = (0..self.exports.tables).map(|i| {
            let table = instance.get_table(store, &format!("t{i}")).expect("exported");
            let element = |at| table.get(store, at).is_some_and(|element| !element.is_null());
            (0..table.size(store)).map(element).collect()
        });
        let globals = (0..self.exports.globals).map(|i| {
            let global = instance.get_global(store, &format!("g{i}")).expect("exported");
            of_val(store, &global.get(store))
        });
        State { memories: memories.collect(), tables: tables.collect(), globals: globals.collect() }
    }

    fn host(&self) -> &Host {
        &self.store.data().host
    }

    fn consumed(&mut self) -> Option<u64> {
        None
    }

    fn set_global(&mut self, global: u32, value: u32) {
        let global = self.instance.get_global(&self.store, &format!("g{global}"));
        let set = global.expect("exported").set(&mut self.store, Val::I32(value as i32));
        set.expect("a mutable global of type i32");
    }
}
