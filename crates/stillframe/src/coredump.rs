//! Core dumps: a program that has stopped as a file, for people and debuggers to read later.
//!
//! The format is that of WebAssembly's tool conventions; [`CoreDump`] says what it holds, and is
//! written with [`CoreDump::write_to`] and read with [`CoreDump::parse`]. [`CoreDumpBuilder`] makes
//! one of what stands still in a store:
//!
//! - of a **call that has failed**, by its error: with the frames that the error owns
//!   ([`FrozenTrace`]), of all calls that were nested; of more than 80 the
//!   innermost 64 and the outermost 16, as if they followed each other;
//! - of **frozen frames**: all of a suspended call, or, in a host function, of all calls that are
//!   running in the store.
//!
//! A dump has all instances of the store, with their memories and globals as they are when it is
//! made, which for a failed call should be before anything else runs in the store. Locals and
//! operands are there as far as they were kept
//! ([`Config::frame_state`](crate::Config::frame_state)); the others are
//! [missing](CoreValue::Missing), and so are vectors and references, for which the format has no
//! place.
//!
//! ```
//! use stillframe::{CoreDump, CoreDumpBuilder, Engine, Instance, Module, Store};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"
//!     (module (memory 1)
//!         (func (export "f") (param i32)
//!             (i32.store (i32.const 8) (local.get 0))
//!             (unreachable)))
//! "#)?;
//! let mut store = Store::new(&engine, ());
//! let instance = Instance::new(&mut store, &module, &[])?;
//! let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
//! let error = f.call(&mut store, 7).unwrap_err();
//!
//! let dump = CoreDumpBuilder::new("example").of_error(&store, &error).unwrap();
//! let bytes = dump.to_bytes()?;
//!
//! let dump = CoreDump::parse(&bytes)?;
//! assert_eq!(dump.threads[0].frames[0].func_index, 0);
//! let mut byte = [0];
//! assert!(dump.memories[0].read(8, &mut byte));
//! assert_eq!(byte, [7]);
//! # stillframe::Result::<()>::Ok(())
//! ```

use crate::context::StoreContext;
use crate::frame::Frames;
use crate::frozen_trace::FrozenTrace;
use crate::raw;
use crate::val::Val;
use anyhow::Error;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use stillframe_runtime::{
    CompiledModule, FrameError, GlobalHandle, InstanceHandle, MemoryHandle, StoreCore,
};

pub use stillframe_debug::coredump::*;

/// Makes [`CoreDump`]s of what stands still in a store; see [the module](self).
#[derive(Clone, Debug)]
pub struct CoreDumpBuilder {
    program: String,
}

impl CoreDumpBuilder {
    /// Dumps of a program with this name: that of its file, or whatever else tells it.
    pub fn new(program: impl Into<String>) -> CoreDumpBuilder {
        CoreDumpBuilder { program: program.into() }
    }

    /// A dump of a call that has failed with `error`; `None` if it did not get as far as wasm.
    ///
    /// # Panics
    ///
    /// If the call was one of another store.
    pub fn of_error<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        error: &Error,
    ) -> Option<CoreDump<'a>> {
        Some(self.of_trace(store, FrozenTrace::of(error)?))
    }

    /// A dump of a call that has failed.
    ///
    /// # Panics
    ///
    /// If the call was one of another store.
    pub fn of_trace<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        trace: &FrozenTrace,
    ) -> CoreDump<'a> {
        let mut contents = Contents::new(store.into().core);
        let frames = trace.frames().iter().map(|frame| {
            let place = Place {
                module: frame.0.frame().row().module(),
                instance: frame.0.frame().instance(),
                func_index: frame.func_index(),
                wasm_pc: frame.wasm_pc(),
            };
            let locals = (0..frame.num_locals()).map(|local| frame.local(local));
            let operands = (0..frame.num_operands()).map(|operand| frame.operand(operand));
            contents.frame(&place, locals.map(value), operands.map(value))
        });
        let frames = frames.collect();
        contents.finish(&self.program, frames)
    }

    /// A dump of frames that are frozen, innermost first: those of
    /// [`ResumableCall::frames`](crate::ResumableCall::frames), [`Caller::frames`](crate::Caller::frames)
    /// or [`Store::frames`](crate::Store::frames).
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`], and [`FrameError::Stale`] if another thread gave the call up.
    pub fn of_frames<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        frames: Frames<'_>,
    ) -> Result<CoreDump<'a>, FrameError> {
        let store = store.into();
        let mut contents = Contents::new(store.core);
        let frames = frames.map(|frame| {
            let module = frame.module(store)?;
            let place = Place {
                module: module.compiled(),
                instance: frame.instance(store).ok().map(|instance| instance.0),
                func_index: frame.func_index(store)?,
                wasm_pc: frame.wasm_pc(store)?,
            };
            let locals = (0..frame.num_locals(store)?).map(|local| frame.local(store, local));
            let operands =
                (0..frame.num_operands(store)?).map(|operand| frame.operand(store, operand));
            Ok(contents.frame(&place, locals.map(value), operands.map(value)))
        });
        let frames = frames.collect::<Result<_, FrameError>>()?;
        Ok(contents.finish(&self.program, frames))
    }
}

/// Where a frame stands.
struct Place<'f> {
    module: &'f Arc<CompiledModule>,
    /// `None` if that is not known.
    instance: Option<InstanceHandle>,
    func_index: u32,
    wasm_pc: u32,
}

/// A dump in the making: what the store's objects are called in it.
struct Contents<'a> {
    core: &'a StoreCore,
    modules: Numbered<*const CompiledModule>,
    /// A name for each.
    module_names: Vec<Option<String>>,
    memories: Numbered<MemoryHandle>,
    globals: Numbered<GlobalHandle>,
    instances: Vec<Instance>,
    /// The index in the dump of each instance of the store.
    instance_indices: HashMap<InstanceHandle, u32>,
    /// By module, the instance of frames whose own is not known.
    anonymous: HashMap<u32, u32>,
}

/// Objects, numbered in the order in which they were met.
struct Numbered<T> {
    list: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    fn new() -> Numbered<T> {
        Numbered { list: Vec::new(), numbers: HashMap::new() }
    }

    fn number(&mut self, object: T) -> u32 {
        *self.numbers.entry(object).or_insert_with(|| {
            self.list.push(object);
            self.list.len() as u32 - 1
        })
    }
}

impl<'a> Contents<'a> {
    /// With all instances of the store.
    fn new(core: &'a StoreCore) -> Contents<'a> {
        let mut contents = Contents {
            core,
            modules: Numbered::new(),
            module_names: Vec::new(),
            memories: Numbered::new(),
            globals: Numbered::new(),
            instances: Vec::new(),
            instance_indices: HashMap::new(),
            anonymous: HashMap::new(),
        };
        for handle in core.instances() {
            let module = contents.module(core.module_of(handle));
            let memories = core.memories_of(handle).iter();
            let memories = memories.map(|&memory| contents.memories.number(memory)).collect();
            let globals = core.globals_of(handle).iter();
            let globals = globals.map(|&global| contents.globals.number(global)).collect();
            contents.instance_indices.insert(handle, contents.instances.len() as u32);
            contents.instances.push(Instance { module, memories, globals });
        }
        contents
    }

    fn module(&mut self, module: &Arc<CompiledModule>) -> u32 {
        let number = self.modules.number(Arc::as_ptr(module));
        if number as usize == self.module_names.len() {
            self.module_names.push(module.info().name.clone());
        }
        number
    }

    fn frame(
        &mut self,
        place: &Place<'_>,
        locals: impl Iterator<Item = CoreValue>,
        stack: impl Iterator<Item = CoreValue>,
    ) -> Frame {
        let info = place.module.info();
        let defined = place.func_index as usize - info.num_imported_functions;
        let body = info.bodies.get(defined).map_or(0, |body| body.start);
        Frame {
            instance: self.instance_of(place),
            func_index: place.func_index,
            code_offset: place.wasm_pc.saturating_sub(body),
            locals: locals.collect(),
            stack: stack.collect(),
        }
    }

    /// The index of a frame's instance. Where that is not known, it is the only one of the module,
    /// or one made up, without memories and globals.
    fn instance_of(&mut self, place: &Place<'_>) -> u32 {
        if let Some(instance) = place.instance {
            let known = self.instance_indices.get(&instance);
            return *known.expect("frame of a call of another store than its own");
        }
        let module = self.module(place.module);
        if let Some(&index) = self.anonymous.get(&module) {
            return index;
        }
        let mut of_module = (0..).zip(&self.instances).filter(|(_, of)| of.module == module);
        let index = match (of_module.next(), of_module.next()) {
            (Some((index, _)), None) => index,
            _ => {
                self.instances.push(Instance { module, ..Instance::default() });
                self.instances.len() as u32 - 1
            }
        };
        self.anonymous.insert(module, index);
        index
    }

    fn finish(self, program: &str, frames: Vec<Frame>) -> CoreDump<'a> {
        let core = self.core;
        // A program of one module is that module.
        let only = self.module_names.len() == 1;
        let name = |(index, name): (usize, Option<String>)| match name {
            Some(name) => name,
            None if only => program.to_string(),
            None => format!("<module {index}>"),
        };
        let memory = |&handle: &MemoryHandle| {
            let ty = core.memory_type(handle);
            Memory::new(ty.is_64(), ty.maximum(), core.memory_bytes(handle))
        };
        let global = |&handle: &GlobalHandle| match raw::get_global(core, handle) {
            Val::I32(value) => GlobalValue::I32(value),
            Val::I64(value) => GlobalValue::I64(value),
            Val::F32(bits) => GlobalValue::F32(bits),
            Val::F64(bits) => GlobalValue::F64(bits),
            Val::V128(value) => GlobalValue::V128(value.as_u128()),
            Val::FuncRef(_) => GlobalValue::Reference(ReferenceKind::Func),
            Val::ExternRef(_) => GlobalValue::Reference(ReferenceKind::Extern),
            Val::ExnRef(_) => GlobalValue::Reference(ReferenceKind::Exn),
        };
        CoreDump {
            executable_name: program.to_string(),
            modules: self.module_names.into_iter().enumerate().map(name).collect(),
            instances: self.instances,
            threads: vec![Thread { name: "main".to_string(), frames }],
            memories: self.memories.list.iter().map(memory).collect(),
            globals: self.globals.list.iter().map(global).collect(),
        }
    }
}

/// A local or an operand, as far as the format can hold it.
fn value(value: Result<Val, FrameError>) -> CoreValue {
    match value {
        Ok(Val::I32(value)) => CoreValue::I32(value),
        Ok(Val::I64(value)) => CoreValue::I64(value),
        Ok(Val::F32(bits)) => CoreValue::F32(bits),
        Ok(Val::F64(bits)) => CoreValue::F64(bits),
        Ok(Val::V128(_) | Val::FuncRef(_) | Val::ExternRef(_) | Val::ExnRef(_)) => {
            CoreValue::Missing
        }
        Err(_) => CoreValue::Missing,
    }
}
