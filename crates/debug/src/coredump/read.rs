//! A core dump from bytes.
//!
//! The bytes can be anything: whatever is damaged is an error that says where, and memory is taken
//! in proportion to what the file has, not to the numbers in it.

use super::{
    CoreDump, CoreValue, Frame, GlobalValue, Instance, Memory, PAGE_SIZE_LOG2, ReferenceKind,
    Segment, Thread,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::borrow::Cow;
use wasmparser::{
    AbstractHeapType, BinaryReader, ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection,
    CoreDumpSection, CoreDumpStackFrame, CoreDumpStackSection, CoreDumpValue, CustomSectionReader,
    Data, DataKind, Encoding, HeapType, MemoryType, Operator, Parser, Payload, WasmFeatures,
};

impl<'a> CoreDump<'a> {
    /// Reads a dump, of Stillframe or of another runtime. The contents of memories stay in `bytes`.
    ///
    /// # Errors
    ///
    /// If the bytes are no core dump, or a damaged one: says what is wrong, and where.
    pub fn parse(bytes: &'a [u8]) -> Result<CoreDump<'a>> {
        ensure!(
            bytes.starts_with(b"\0asm"),
            "it is no core dump: core dumps begin like WebAssembly modules, with \"\\0asm\""
        );
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        let mut dump = Reading::default();
        for payload in parser.parse_all(bytes) {
            dump.payload(payload.context("it is damaged")?)?;
        }
        dump.finish()
    }
}

/// A dump of which some sections were read. They come in any order.
#[derive(Default)]
struct Reading<'a> {
    executable_name: Option<String>,
    modules: Option<Vec<String>>,
    instances: Option<Vec<Instance>>,
    threads: Vec<Thread>,
    memories: Vec<Memory<'a>>,
    globals: Vec<GlobalValue>,
    data: Vec<Data<'a>>,
}

impl<'a> Reading<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                bail!("it is no core dump, but a component")
            }
            Payload::CustomSection(section) => {
                let name = section.name();
                self.custom_section(&section)
                    .with_context(|| format!("its section {name:?} is damaged"))?;
            }
            Payload::ImportSection(section) if section.count() > 0 => {
                bail!("it is no core dump: it has imports")
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let index = self.memories.len();
                    let memory = memory.context("its memory section is damaged")?;
                    let memory = sized(memory).with_context(|| format!("its memory {index}"))?;
                    self.memories.push(memory);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let index = self.globals.len();
                    let global = global.context("its global section is damaged")?;
                    let value = constant(&global.init_expr)
                        .with_context(|| format!("the value of its global {index}"))?;
                    self.globals.push(value);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.data.push(data.context("its data section is damaged")?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn custom_section(&mut self, section: &CustomSectionReader<'a>) -> Result<()> {
        let reader = BinaryReader::new(section.data(), section.data_offset());
        match section.name() {
            "core" => {
                let core = CoreDumpSection::new(reader)?;
                once(&mut self.executable_name, core.name.into())
            }
            "coremodules" => {
                let modules = CoreDumpModulesSection::new(reader)?.modules;
                once(&mut self.modules, modules.into_iter().map(String::from).collect())
            }
            "coreinstances" => {
                let instances = CoreDumpInstancesSection::new(reader)?.instances;
                let instance = |instance: wasmparser::CoreDumpInstance| Instance {
                    module: instance.module_index,
                    memories: instance.memories,
                    globals: instance.globals,
                };
                once(&mut self.instances, instances.into_iter().map(instance).collect())
            }
            "corestack" => {
                let stack = CoreDumpStackSection::new(reader)?;
                let frames = stack.frames.into_iter().map(frame).collect();
                self.threads.push(Thread { name: stack.name.into(), frames });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<CoreDump<'a>> {
        let executable_name = self.executable_name.context(
            "it is no core dump, but another WebAssembly module: it has no section \"core\"",
        )?;
        for (index, data) in self.data.into_iter().enumerate() {
            add_segment(&mut self.memories, data)
                .with_context(|| format!("its data segment {index}"))?;
        }
        for (index, memory) in self.memories.iter_mut().enumerate() {
            memory.segments.sort_by_key(|segment| segment.offset);
            for pair in memory.segments.windows(2) {
                ensure!(
                    pair[0].end() <= pair[1].offset,
                    "its data segments overlap in memory {index}, at {:#x}",
                    pair[1].offset
                );
            }
        }
        Ok(CoreDump {
            executable_name,
            modules: self.modules.unwrap_or_default(),
            instances: self.instances.unwrap_or_default(),
            threads: self.threads,
            memories: self.memories,
            globals: self.globals,
        })
    }
}

/// The convention: these sections "must only appear once".
fn once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    ensure!(place.is_none(), "there is more than one");
    *place = Some(value);
    Ok(())
}

fn frame(frame: CoreDumpStackFrame) -> Frame {
    Frame {
        instance: frame.instanceidx,
        func_index: frame.funcidx,
        code_offset: frame.codeoffset,
        locals: frame.locals.into_iter().map(value).collect(),
        stack: frame.stack.into_iter().map(value).collect(),
    }
}

fn value(value: CoreDumpValue) -> CoreValue {
    match value {
        CoreDumpValue::Missing => CoreValue::Missing,
        CoreDumpValue::I32(x) => CoreValue::I32(x),
        CoreDumpValue::I64(x) => CoreValue::I64(x),
        CoreDumpValue::F32(x) => CoreValue::F32(x.bits()),
        CoreDumpValue::F64(x) => CoreValue::F64(x.bits()),
    }
}

/// A memory without contents, whose size is a `u64`.
fn sized<'a>(ty: MemoryType) -> Result<Memory<'a>> {
    let page_size_log2 = ty.page_size_log2.unwrap_or(PAGE_SIZE_LOG2);
    ensure!(page_size_log2 <= PAGE_SIZE_LOG2, "has pages of 2^{page_size_log2} bytes");
    let limit = if ty.memory64 { u64::MAX } else { 1 << 32 };
    ensure!(ty.initial <= limit >> page_size_log2, "has {} pages, more than any can", ty.initial);
    Ok(Memory {
        memory64: ty.memory64,
        maximum: ty.maximum,
        page_size_log2,
        pages: ty.initial,
        segments: Vec::new(),
    })
}

fn add_segment<'a>(memories: &mut [Memory<'a>], data: Data<'a>) -> Result<()> {
    let DataKind::Active { memory_index, offset_expr } = data.kind else {
        bail!("is passive, and so belongs to no memory");
    };
    let memory = memories.get_mut(memory_index as usize);
    let memory =
        memory.with_context(|| format!("is for memory {memory_index}, and there is none"))?;
    let offset = match (constant(&offset_expr).context("has no address")?, memory.memory64) {
        (GlobalValue::I32(offset), false) => u64::from(offset as u32),
        (GlobalValue::I64(offset), true) => offset as u64,
        _ => bail!("has an address that does not fit its memory's type"),
    };
    let end = offset.checked_add(data.data.len() as u64);
    ensure!(
        end.is_some_and(|end| end <= memory.size()),
        "ends behind the end of memory {memory_index}"
    );
    if !data.data.is_empty() {
        memory.segments.push(Segment { offset, bytes: Cow::Borrowed(data.data) });
    }
    Ok(())
}

/// The value of an expression that is a constant, as all are in a dump.
fn constant(expr: &ConstExpr<'_>) -> Result<GlobalValue> {
    let mut ops = expr.get_operators_reader();
    let at = ops.original_position();
    let value = match ops.read()? {
        Operator::I32Const { value } => GlobalValue::I32(value),
        Operator::I64Const { value } => GlobalValue::I64(value),
        Operator::F32Const { value } => GlobalValue::F32(value.bits()),
        Operator::F64Const { value } => GlobalValue::F64(value.bits()),
        Operator::V128Const { value } => GlobalValue::V128(value.i128() as u128),
        Operator::RefNull { hty } => GlobalValue::Reference(reference(hty)),
        _ => bail!("is not a constant (at offset {at:#x})"),
    };
    ensure!(matches!(ops.read()?, Operator::End), "is not a constant (at offset {at:#x})");
    Ok(value)
}

fn reference(ty: HeapType) -> ReferenceKind {
    use AbstractHeapType::{Cont, Exn, Extern, Func, NoCont, NoExn, NoExtern, NoFunc};
    let HeapType::Abstract { ty, .. } = ty else { return ReferenceKind::Any };
    match ty {
        Func | NoFunc => ReferenceKind::Func,
        Extern | NoExtern => ReferenceKind::Extern,
        Exn | NoExn => ReferenceKind::Exn,
        Cont | NoCont => ReferenceKind::Cont,
        _ => ReferenceKind::Any,
    }
}
