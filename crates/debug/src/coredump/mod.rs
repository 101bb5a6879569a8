//! WebAssembly core dumps: what a program was when it stopped, as a file.
//!
//! The format is that of [WebAssembly's tool conventions][format], so that dumps can be exchanged
//! with other runtimes and debuggers. A dump has the form of a wasm module, which nobody
//! instantiates:
//!
//! ```text
//!   "core"           the program's name                                 mod.rs    the data
//!   "coremodules"    names of modules           ◄─┐ by index            write.rs  to bytes
//!   "coreinstances"  module, memories, globals  ◄─┼─┐                   read.rs   from bytes
//!   "corestack"      one a thread: frames, each   │ └─ by index         print.rs  for people
//!                    with its locals and operands─┘                     hex.rs    memories
//!   Memory section   types and sizes of memories                        symbols.rs
//!   Global section   values of globals, as constants                      names and positions
//!   Data section     contents of memories                                 from the module
//! ```
//!
//! # What a dump does not hold
//!
//! - A value in a frame is an `i32`, `i64`, `f32`, `f64` or [missing](CoreValue::Missing). Vectors
//!   and references can only be written as missing.
//! - References in globals have their type, but not their value. Vectors in globals are kept.
//! - Globals are constants in a dump: which of them were mutable, only the module says.
//! - Tables, exception objects, and whether a memory was shared.
//! - Names of functions and locals: they are in the module, which [`ModuleSymbols`] reads.
//!
//! # What the indices count
//!
//! [`Frame::func_index`] and the positions in [`Instance::memories`] and [`Instance::globals`]
//! count in the module's index spaces, imported ones first. All others count in the dump's own.
//! Nothing promises that an index of a dump that was read is in range: look things up with `get`.
//!
//! [format]: https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md

mod hex;
mod print;
mod read;
mod symbols;
mod write;

pub use hex::HexDump;
pub use print::Printer;
pub use symbols::ModuleSymbols;

use std::borrow::Cow;
use std::fmt;

/// A core dump. The contents of memories can be borrowed: from live memories when one is written,
/// from the file when one is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreDump<'a> {
    /// What was running: a file's name, or whatever else tells the program.
    pub executable_name: String,
    /// Names of the modules: a path, a URL or another identifier.
    pub modules: Vec<String>,
    /// The instances.
    pub instances: Vec<Instance>,
    /// The threads, each with its frames.
    pub threads: Vec<Thread>,
    /// The memories of all instances, each once.
    pub memories: Vec<Memory<'a>>,
    /// The globals of all instances, each once.
    pub globals: Vec<GlobalValue>,
}

impl CoreDump<'_> {
    /// The same dump, with the contents of its memories copied.
    pub fn into_owned(self) -> CoreDump<'static> {
        CoreDump {
            executable_name: self.executable_name,
            modules: self.modules,
            instances: self.instances,
            threads: self.threads,
            memories: self.memories.into_iter().map(Memory::into_owned).collect(),
            globals: self.globals,
        }
    }
}

/// An instance of a module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// Index into [`CoreDump::modules`].
    pub module: u32,
    /// For each of the module's memories, in order, the index into [`CoreDump::memories`]. Instances
    /// that share a memory have the same index here.
    pub memories: Vec<u32>,
    /// For each of the module's globals, in order, the index into [`CoreDump::globals`].
    pub globals: Vec<u32>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// Its name; that of a program's only thread is usually `main`.
    pub name: String,
    /// The frames, youngest first: if `f` called `g`, and `g` trapped, then `g` comes before `f`.
    pub frames: Vec<Frame>,
}

/// A frame: a function of wasm that was running.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Index into [`CoreDump::instances`].
    pub instance: u32,
    /// The function's index in the instance's module, imported functions included.
    pub func_index: u32,
    /// Where the frame stood: the offset, in bytes of the wasm file, of the operator that trapped
    /// or that calls the next younger frame. It counts from the start of the function.
    ///
    /// The convention does not say which byte that is. Here it is the first of the function's
    /// body: of its declarations of locals, behind the body's size. Wasmtime counts from there too,
    /// and so does [`FrameInfo::func_offset`](crate::FrameInfo::func_offset). So no operator is at
    /// 0, which by the convention can stand for an offset that is not known.
    pub code_offset: u32,
    /// The locals, parameters first.
    pub locals: Vec<CoreValue>,
    /// The operand stack, from its bottom.
    pub stack: Vec<CoreValue>,
}

/// The value of a local or an operand, as far as the format can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreValue {
    /// Not known, because the code did not keep it, or not an integer or float.
    Missing,
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`, as bits.
    F32(u32),
    /// An `f64`, as bits.
    F64(u64),
}

impl CoreValue {
    fn type_name(self) -> &'static str {
        match self {
            CoreValue::Missing => "?",
            CoreValue::I32(_) => "i32",
            CoreValue::I64(_) => "i64",
            CoreValue::F32(_) => "f32",
            CoreValue::F64(_) => "f64",
        }
    }
}

/// The value without its type: integers in decimal, and with their bits if these say more.
impl fmt::Display for CoreValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CoreValue::Missing => f.write_str("missing"),
            CoreValue::I32(x @ 0..10) => write!(f, "{x}"),
            CoreValue::I32(x) => write!(f, "{x} ({x:#x})"),
            CoreValue::I64(x @ 0..10) => write!(f, "{x}"),
            CoreValue::I64(x) => write!(f, "{x} ({x:#x})"),
            CoreValue::F32(bits) => match f32::from_bits(bits) {
                x if x.is_nan() => write!(f, "NaN ({bits:#x})"),
                x => write!(f, "{x:?}"),
            },
            CoreValue::F64(bits) => match f64::from_bits(bits) {
                x if x.is_nan() => write!(f, "NaN ({bits:#x})"),
                x => write!(f, "{x:?}"),
            },
        }
    }
}

/// The value of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalValue {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`, as bits.
    F32(u32),
    /// An `f64`, as bits.
    F64(u64),
    /// A `v128`, little-endian.
    V128(u128),
    /// A reference of some type. Which one it was is not in a dump: all are written as null.
    Reference(ReferenceKind),
}

/// What a reference in a global refers to, if it is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// `funcref`
    Func,
    /// `externref`
    Extern,
    /// `exnref`
    Exn,
    /// `contref`
    Cont,
    /// `anyref`, or a type that a dump cannot name
    Any,
}

impl GlobalValue {
    fn type_name(self) -> &'static str {
        match self {
            GlobalValue::I32(_) => "i32",
            GlobalValue::I64(_) => "i64",
            GlobalValue::F32(_) => "f32",
            GlobalValue::F64(_) => "f64",
            GlobalValue::V128(_) => "v128",
            GlobalValue::Reference(ReferenceKind::Func) => "funcref",
            GlobalValue::Reference(ReferenceKind::Extern) => "externref",
            GlobalValue::Reference(ReferenceKind::Exn) => "exnref",
            GlobalValue::Reference(ReferenceKind::Cont) => "contref",
            GlobalValue::Reference(ReferenceKind::Any) => "anyref",
        }
    }
}

/// The value without its type.
impl fmt::Display for GlobalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GlobalValue::I32(x) => CoreValue::I32(x).fmt(f),
            GlobalValue::I64(x) => CoreValue::I64(x).fmt(f),
            GlobalValue::F32(bits) => CoreValue::F32(bits).fmt(f),
            GlobalValue::F64(bits) => CoreValue::F64(bits).fmt(f),
            GlobalValue::V128(x) => write!(f, "{x:#034x}"),
            GlobalValue::Reference(_) => f.write_str("not in the dump"),
        }
    }
}

/// A memory: its type, its size, and the parts of its contents that are not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory<'a> {
    memory64: bool,
    maximum: Option<u64>,
    /// Logarithm of the size of a page: 16 but for memories with a page size of their own.
    page_size_log2: u32,
    pages: u64,
    /// Ascending, disjoint, not empty, and within the memory; `pages` in bytes is a `u64`.
    segments: Vec<Segment<'a>>,
}

/// A part of a memory's contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment<'a> {
    /// The address of the first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
}

impl Segment<'_> {
    /// The address behind the last byte.
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// A page of WebAssembly, as a logarithm.
const PAGE_SIZE_LOG2: u32 = 16;

impl<'a> Memory<'a> {
    /// A memory with these contents, all that it has; what is zero is left out. `maximum` is that
    /// of its type, in pages.
    pub fn new(memory64: bool, maximum: Option<u64>, contents: &'a [u8]) -> Memory<'a> {
        let pages = (contents.len() as u64).div_ceil(1 << PAGE_SIZE_LOG2);
        let segments = segments(contents, block_size(contents.len()));
        Memory { memory64, maximum, page_size_log2: PAGE_SIZE_LOG2, pages, segments }
    }

    /// Whether addresses are 64 bits wide.
    pub fn is_64(&self) -> bool {
        self.memory64
    }

    /// The size when the program stopped, in pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// To how many pages the memory could have grown, if its type says that.
    pub fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    /// The size of a page, in bytes.
    pub fn page_size(&self) -> u64 {
        1 << self.page_size_log2
    }

    /// The size when the program stopped, in bytes.
    pub fn size(&self) -> u64 {
        self.pages << self.page_size_log2
    }

    /// The parts of the contents that are in the dump, ascending and disjoint. All others are
    /// zero, or, in a dump that is partial, not known.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Copies the bytes at `address`. Answers false, and does nothing, if not all of them are
    /// within the memory.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let Some(end) = address.checked_add(buffer.len() as u64) else { return false };
        if end > self.size() {
            return false;
        }
        buffer.fill(0);
        let first = self.segments.partition_point(|segment| segment.end() <= address);
        for segment in self.segments[first..].iter().take_while(|segment| segment.offset < end) {
            let (from, to) = (address.max(segment.offset), end.min(segment.end()));
            // All differences are at most the length of the buffer or of the segment.
            let part = (from - segment.offset) as usize..(to - segment.offset) as usize;
            buffer[(from - address) as usize..(to - address) as usize]
                .copy_from_slice(&segment.bytes[part]);
        }
        true
    }

    fn into_owned(self) -> Memory<'static> {
        let own = |segment: Segment<'_>| Segment {
            offset: segment.offset,
            bytes: Cow::Owned(segment.bytes.into_owned()),
        };
        Memory {
            memory64: self.memory64,
            maximum: self.maximum,
            page_size_log2: self.page_size_log2,
            pages: self.pages,
            segments: self.segments.into_iter().map(own).collect(),
        }
    }
}

/// The unit in which zeros are left out. Validators refuse modules with more than 100,000 data
/// segments, so the blocks of memories above 256 MiB grow with them: no memory has more than 2^15
/// segments.
fn block_size(len: usize) -> usize {
    (len >> 16).next_power_of_two().max(4096)
}

/// The runs of blocks that are not zero, without the zeros at their ends.
fn segments(contents: &[u8], block_size: usize) -> Vec<Segment<'_>> {
    let is_zero = |block: &[u8]| block.iter().all(|&byte| byte == 0);
    let mut segments = Vec::new();
    // Where the run began that this block continues.
    let mut run = None;
    let mut close = |run: &mut Option<usize>, end: usize| {
        let Some(start) = run.take() else { return };
        let bytes = &contents[start..end];
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let bytes = &bytes[zeros..];
        let zeros_behind = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        let bytes = Cow::Borrowed(&bytes[..bytes.len() - zeros_behind]);
        segments.push(Segment { offset: (start + zeros) as u64, bytes });
    };
    for (index, block) in contents.chunks(block_size).enumerate() {
        let start = index * block_size;
        match is_zero(block) {
            true => close(&mut run, start),
            false => drop(run.get_or_insert(start)),
        }
    }
    close(&mut run, contents.len());
    segments
}

#[cfg(test)]
mod tests;
