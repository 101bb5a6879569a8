//! A core dump as bytes.
//!
//! The contents of memories go from where they are straight to the output: beside them, a dump
//! needs memory for its frames only.

use super::{CoreDump, CoreValue, GlobalValue, Memory, PAGE_SIZE_LOG2, ReferenceKind, Segment};
use std::io::{self, BufWriter, Write};
use wasm_encoder::{
    AbstractHeapType, ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, CoreDumpValue, Encode, GlobalSection, GlobalType, HeapType,
    MemorySection, MemoryType, Module, RefType, SectionId, ValType,
};

impl CoreDump<'_> {
    /// Writes the dump as a file's contents.
    ///
    /// # Errors
    ///
    /// If `out` has one, or if the memories have more than 4 GiB that is not zero: no wasm file can
    /// hold that.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        out.write_all(&self.head())?;
        self.write_contents(&mut out)?;
        out.flush()
    }

    /// The same as bytes.
    ///
    /// # Errors
    ///
    /// If the memories have more than 4 GiB that is not zero.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// All but the data section.
    fn head(&self) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&CoreDumpSection::new(&*self.executable_name));
        let mut modules = CoreDumpModulesSection::new();
        for name in &self.modules {
            modules.module(name);
        }
        module.section(&modules);
        let mut instances = CoreDumpInstancesSection::new();
        for instance in &self.instances {
            let (memories, globals) = (&instance.memories, &instance.globals);
            instances.instance(instance.module, memories.clone(), globals.clone());
        }
        module.section(&instances);
        for thread in &self.threads {
            let mut stack = CoreDumpStackSection::new(&*thread.name);
            for frame in &thread.frames {
                stack.frame(
                    frame.instance,
                    frame.func_index,
                    frame.code_offset,
                    frame.locals.iter().map(value),
                    frame.stack.iter().map(value),
                );
            }
            module.section(&stack);
        }
        if !self.memories.is_empty() {
            let mut memories = MemorySection::new();
            for memory in &self.memories {
                memories.memory(memory_type(memory));
            }
            module.section(&memories);
        }
        if !self.globals.is_empty() {
            let mut globals = GlobalSection::new();
            for global in &self.globals {
                let (val_type, value) = constant(*global);
                // The convention: "constant, non-mutable globals".
                let ty = GlobalType { val_type, mutable: false, shared: false };
                globals.global(ty, &value);
            }
            module.section(&globals);
        }
        module.finish()
    }

    /// The data section, unless it is empty.
    fn write_contents(&self, out: &mut impl Write) -> io::Result<()> {
        let segments = || {
            let memories = self.memories.iter().zip(0..);
            memories.flat_map(|(memory, index)| {
                memory.segments.iter().map(move |segment| (memory, index, segment))
            })
        };
        let mut count = Vec::new();
        segments().count().encode(&mut count);
        if count == [0] {
            return Ok(());
        }
        // A section begins with its size, so all heads are made twice.
        let mut head = Vec::new();
        let mut size = count.len() as u64;
        for (memory, index, segment) in segments() {
            segment_head(memory, index, segment, &mut head);
            size += (head.len() + segment.bytes.len()) as u64;
        }
        let Ok(size) = u32::try_from(size) else {
            let message = "the memories have more than 4 GiB that is not zero, and a wasm file \
                           cannot hold that";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        };
        head.clear();
        head.push(SectionId::Data as u8);
        size.encode(&mut head);
        out.write_all(&head)?;
        out.write_all(&count)?;
        for (memory, index, segment) in segments() {
            segment_head(memory, index, segment, &mut head);
            out.write_all(&head)?;
            out.write_all(&segment.bytes)?;
        }
        Ok(())
    }
}

/// Fills `head` with what comes before a segment's bytes.
fn segment_head(memory: &Memory<'_>, index: u32, segment: &Segment<'_>, head: &mut Vec<u8>) {
    // "Active", and "active with a memory's index".
    const ACTIVE: u8 = 0;
    const ACTIVE_IN: u8 = 2;
    head.clear();
    match index {
        0 => head.push(ACTIVE),
        _ => {
            head.push(ACTIVE_IN);
            index.encode(head);
        }
    }
    let offset = match memory.memory64 {
        true => ConstExpr::i64_const(segment.offset as i64),
        false => ConstExpr::i32_const(segment.offset as u32 as i32),
    };
    offset.encode(head);
    segment.bytes.len().encode(head);
}

fn value(value: &CoreValue) -> CoreDumpValue {
    match *value {
        CoreValue::Missing => CoreDumpValue::Missing,
        CoreValue::I32(x) => CoreDumpValue::I32(x),
        CoreValue::I64(x) => CoreDumpValue::I64(x),
        CoreValue::F32(bits) => CoreDumpValue::F32(wasm_encoder::Ieee32::new(bits)),
        CoreValue::F64(bits) => CoreDumpValue::F64(wasm_encoder::Ieee64::new(bits)),
    }
}

fn memory_type(memory: &Memory<'_>) -> MemoryType {
    let own_pages = memory.page_size_log2 != PAGE_SIZE_LOG2;
    MemoryType {
        minimum: memory.pages,
        maximum: memory.maximum,
        memory64: memory.memory64,
        shared: false,
        page_size_log2: own_pages.then_some(memory.page_size_log2),
    }
}

fn constant(global: GlobalValue) -> (ValType, ConstExpr) {
    match global {
        GlobalValue::I32(x) => (ValType::I32, ConstExpr::i32_const(x)),
        GlobalValue::I64(x) => (ValType::I64, ConstExpr::i64_const(x)),
        GlobalValue::F32(bits) => {
            (ValType::F32, ConstExpr::f32_const(wasm_encoder::Ieee32::new(bits)))
        }
        GlobalValue::F64(bits) => {
            (ValType::F64, ConstExpr::f64_const(wasm_encoder::Ieee64::new(bits)))
        }
        GlobalValue::V128(x) => (ValType::V128, ConstExpr::v128_const(x as i128)),
        GlobalValue::Reference(kind) => {
            let ty = match kind {
                ReferenceKind::Func => AbstractHeapType::Func,
                ReferenceKind::Extern => AbstractHeapType::Extern,
                ReferenceKind::Exn => AbstractHeapType::Exn,
                ReferenceKind::Cont => AbstractHeapType::Cont,
                ReferenceKind::Any => AbstractHeapType::Any,
            };
            let heap_type = HeapType::Abstract { shared: false, ty };
            let ty = RefType { nullable: true, heap_type };
            (ValType::Ref(ty), ConstExpr::ref_null(heap_type))
        }
    }
}
