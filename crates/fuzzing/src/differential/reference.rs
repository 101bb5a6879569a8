//! Guests of the reference interpreter, which has all proposals and shares no code generator with
//! anybody.

use super::guest::{Ending, Exports, Guest, Kind, MAX_MEMORY, MAX_TABLE, MemoryState, State};
use super::host::Host;
use super::value::{Given, Ty, Value};
use anyhow::{Error, Result};
use stillframe_oracle::{
    Extern, FuncId, HeapType, ImportType, InstanceId, Machine, Module, Step, TrapKind, ValType,
};

/// Steps after which a call is given up.
const MAX_STEPS: u64 = 10_000_000;

/// An instance in the interpreter.
pub struct Reference {
    machine: Machine,
    instance: InstanceId,
    imported: Vec<Imported>,
    host: Host,
    /// Units that had been consumed before the last call.
    before: u64,
}

/// A function of the host: its number is its position.
struct Imported {
    func: FuncId,
    results: Vec<Ty>,
}

impl Reference {
    /// An instance of the module. The error is an outcome too.
    pub fn new(wasm: &[u8], exports: &Exports, seed: u64) -> Result<Reference, Ending> {
        let mut machine = Machine::new();
        // Each frame has all its locals.
        machine.max_depth = (4_000_000 / (exports.locals as usize + 100)).min(20_000);
        machine.max_memory = MAX_MEMORY as u64;
        machine.max_table = MAX_TABLE as u64;
        let (mut imported, mut imports) = (Vec::new(), Vec::new());
        let host = Host::new(seed);
        let module = Module::shared(wasm).map_err(ending)?;
        let mut globals = 0..;
        for import in &module.imports {
            imports.push(match import.ty {
                ImportType::Func(ty) => {
                    let ty = &module.types[ty as usize];
                    let results = ty.results.iter().map(|&ty| of_type(ty)).collect();
                    let func = machine.host_func(ty.clone());
                    imported.push(Imported { func, results });
                    Extern::Func(func)
                }
                ImportType::Global(ty) => {
                    let import = globals.next().expect("it has no end");
                    let value = host.global(import, of_type(ty.content));
                    Extern::Global(machine.new_global(ty, to_value(value)))
                }
                ImportType::Memory(ty) => Extern::Memory(machine.new_memory(ty).map_err(ending)?),
                ImportType::Table(ty) => {
                    if ty.limits.min > machine.max_table {
                        return Err(Ending::Refused("a table is too large".into()));
                    }
                    let null = stillframe_oracle::Value::null(ty.element.heap);
                    Extern::Table(machine.new_table(ty, null))
                }
                ImportType::Tag(_) => return Err(Ending::Refused("an imported tag".into())),
            });
        }
        let instance = machine.instantiate(&module, &imports).map_err(ending)?;
        let mut guest = Reference { machine, instance, imported, host, before: 0 };
        if let Some(start) = guest.machine.start_func(instance) {
            match guest.run(start, Vec::new()) {
                Ok(Ending::Returned(_)) => {}
                Ok(other) => return Err(other),
                Err(error) => return Err(ending(error)),
            }
        }
        guest.host.started = true;
        Ok(guest)
    }

    fn func(&self, index: u32) -> FuncId {
        match self.machine.export(self.instance, &format!("f{index}")) {
            Some(Extern::Func(func)) => func,
            _ => unreachable!("it is exported"),
        }
    }

    fn run(&mut self, func: FuncId, args: Vec<stillframe_oracle::Value>) -> Result<Ending> {
        let mut call = self.machine.start(func, args)?;
        // A host function that the host itself calls sees no instance.
        let mut by_host = self.machine.wasm_func(func).is_none();
        for _ in 0..MAX_STEPS {
            match call.step(&mut self.machine) {
                Step::Running => {}
                Step::HostCall { func, args } => {
                    let import = self.imported.iter().position(|import| import.func == func);
                    let import = import.expect("a function of ours");
                    let params = args.iter().map(|&value| of_value(value)).collect();
                    let results = &self.imported[import].results;
                    let answer = match self.host.call(import, params, results) {
                        Ok(answer) => answer,
                        Err(error) => return Ok(Ending::HostFailed(error)),
                    };
                    if let Some((at, byte)) = answer.poke
                        && !by_host
                        && let Some(Extern::Memory(memory)) =
                            self.machine.export(self.instance, "m0")
                        && let bytes = self.machine.memory_mut(memory)
                        && !bytes.is_empty()
                    {
                        let at = at % bytes.len();
                        bytes[at] = byte;
                    }
                    let result = |given| match given {
                        Given::Value(value) => to_value(value),
                        Given::Param(param) => args[param],
                        Given::Function(_) => unreachable!("host functions know no functions"),
                    };
                    let results = answer.results.into_iter().map(result).collect();
                    call.host_returned(&self.machine, results)?;
                }
                Step::Finished(values) => {
                    return Ok(Ending::Returned(values.into_iter().map(of_value).collect()));
                }
                Step::Trapped(trap) => return Ok(Ending::Trapped(kind(trap))),
                Step::Threw(_) => return Ok(Ending::Threw),
            }
            by_host = false;
        }
        Ok(Ending::Trapped(Kind::OutOfFuel))
    }
}

fn of_type(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
        ValType::Ref(ty) => match ty.heap {
            HeapType::Func | HeapType::NoFunc | HeapType::Type(_) => Ty::Func,
            HeapType::Extern | HeapType::NoExtern => Ty::Extern,
            HeapType::Exn | HeapType::NoExn => Ty::Exn,
        },
    }
}

fn of_value(value: stillframe_oracle::Value) -> Value {
    match value {
        stillframe_oracle::Value::I32(v) => Value::I32(v),
        stillframe_oracle::Value::I64(v) => Value::I64(v),
        stillframe_oracle::Value::F32(v) => Value::F32(v),
        stillframe_oracle::Value::F64(v) => Value::F64(v),
        stillframe_oracle::Value::V128(v) => Value::V128(v),
        stillframe_oracle::Value::FuncRef(func) => Value::Func(func.is_some()),
        stillframe_oracle::Value::ExternRef(number) => Value::Extern(number),
        stillframe_oracle::Value::ExnRef(exception) => Value::Exn(exception.is_some()),
    }
}

fn to_value(value: Value) -> stillframe_oracle::Value {
    match value {
        Value::I32(v) => stillframe_oracle::Value::I32(v),
        Value::I64(v) => stillframe_oracle::Value::I64(v),
        Value::F32(v) => stillframe_oracle::Value::F32(v),
        Value::F64(v) => stillframe_oracle::Value::F64(v),
        Value::V128(v) => stillframe_oracle::Value::V128(v),
        Value::Func(_) => stillframe_oracle::Value::FuncRef(None),
        Value::Extern(number) => stillframe_oracle::Value::ExternRef(number),
        Value::Exn(_) => stillframe_oracle::Value::ExnRef(None),
    }
}

fn kind(trap: TrapKind) -> Kind {
    match trap {
        TrapKind::StackOverflow => Kind::StackOverflow,
        TrapKind::MemoryOutOfBounds => Kind::Memory,
        TrapKind::TableOutOfBounds => Kind::Table,
        TrapKind::UndefinedElement => Kind::Element,
        TrapKind::IndirectCallToNull => Kind::Null,
        TrapKind::BadSignature => Kind::Signature,
        TrapKind::IntegerOverflow => Kind::Overflow,
        TrapKind::IntegerDivisionByZero => Kind::DivisionByZero,
        TrapKind::BadConversionToInteger => Kind::Conversion,
        TrapKind::UnreachableCodeReached => Kind::Unreachable,
        TrapKind::NullReference => Kind::NullReference,
        TrapKind::UnalignedAtomic => Kind::Unaligned,
        TrapKind::AtomicWaitNonSharedMemory => Kind::NotShared,
        TrapKind::Host => unreachable!("our host makes no traps"),
    }
}

fn ending(error: Error) -> Ending {
    match error.downcast_ref::<TrapKind>() {
        Some(&trap) => Ending::Trapped(kind(trap)),
        None => Ending::Refused(format!("{error:#}")),
    }
}

impl Guest for Reference {
    fn call(&mut self, function: u32, params: &[Given]) -> Ending {
        let arg = |given: &Given| match *given {
            Given::Value(value) => to_value(value),
            Given::Function(index) => stillframe_oracle::Value::FuncRef(Some(self.func(index))),
            Given::Param(_) => unreachable!("a parameter is not one of another"),
        };
        let args = params.iter().map(arg).collect();
        self.before = self.machine.fuel_consumed();
        self.run(self.func(function), args).unwrap_or_else(ending)
    }

    fn state(&mut self, whole: bool) -> State {
        let machine = &self.machine;
        let memories = machine.memories(self.instance).iter();
        let tables = machine.tables(self.instance).iter();
        State {
            memories: memories.map(|&it| MemoryState::new(machine.memory(it), whole)).collect(),
            tables: tables
                .map(|&it| machine.table(it).iter().map(|element| !element.is_null()).collect())
                .collect(),
            globals: machine.globals(self.instance).into_iter().map(of_value).collect(),
        }
    }

    fn host(&self) -> &Host {
        &self.host
    }

    fn consumed(&mut self) -> Option<u64> {
        // The interpreter's count ends at 2^64, ours starts again.
        let consumed = self.machine.fuel_consumed();
        (consumed < u64::MAX).then(|| consumed - self.before)
    }

    fn set_global(&mut self, global: u32, value: u32) {
        match self.machine.export(self.instance, &format!("g{global}")) {
            Some(Extern::Global(global)) => {
                self.machine.set_global(global, to_value(Value::I32(value)))
            }
            _ => unreachable!("it is exported"),
        }
    }
}
