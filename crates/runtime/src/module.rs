//! A module whose code is mapped and can be instantiated.

use crate::code::{self, CodeMemory, CodeOwner};
use crate::engine::EngineShared;
use crate::frames::{FunctionLayout, local_types};
use crate::gdb_jit::Registration;
use crate::image::MemoryImage;
use anyhow::{Context, Result, ensure};
use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};
use stillframe_abi::artifact::{Artifact, CompileSettings, FrameState};
use stillframe_abi::frame_table::{
    FrameTable, FunctionFrames, NativeOffset, Readable, Row, Rows, WasmPc,
};
use stillframe_abi::module::ModuleInfo;
use stillframe_abi::types::ValType;
use stillframe_abi::vmctx::VMOffsets;

/// A compiled module: description, code, and all that stays the same between instances.
pub struct CompiledModule {
    engine: Arc<EngineShared>,
    settings: CompileSettings,
    info: ModuleInfo,
    offsets: VMOffsets,
    /// Engine-wide ids of `info.types`; instances point here.
    type_ids: Box<[u32]>,
    /// Of the code, so it goes before that does.
    registration: OnceLock<Registration>,
    code: CodeMemory,
    text_len: usize,
    frame_table: Vec<u8>,
    data: Vec<u8>,
    dwarf: Vec<(String, Arc<[u8]>)>,
    /// What [`CompiledModule::debug_cache`] keeps.
    debug_cache: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// By defined memory.
    images: Vec<Option<Arc<MemoryImage>>>,
    /// By defined function: where the state of its frames lies. Made when first asked for.
    layouts: OnceLock<Box<[OnceLock<FunctionLayout>]>>,
}

/// A function of a module and an offset into its code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodePosition {
    /// Index among the defined functions.
    pub defined: usize,
    /// Offset from the function's first byte.
    pub offset: NativeOffset,
}

impl CodeOwner for CompiledModule {}

impl CompiledModule {
    /// Maps the artifact's code, and checks what the rest of the runtime relies on.
    ///
    /// # Safety
    ///
    /// The artifact comes from this library's translator with the engine's settings, or from a
    /// file that [`Artifact::from_elf`] accepted and that the caller trusts: its code is going to
    /// be run.
    ///
    /// # Errors
    ///
    /// If memory cannot be mapped or the artifact's parts do not fit together.
    pub unsafe fn publish(
        engine: &Arc<EngineShared>,
        artifact: Artifact,
    ) -> Result<Arc<CompiledModule>> {
        let Artifact { settings, info, text, frame_table, data, dwarf } = artifact;
        let functions = info.num_defined_functions();
        ensure!(
            info.code.len() == functions && info.bodies.len() == functions,
            "the artifact describes {} functions and has code for {}",
            functions,
            info.code.len()
        );
        let mut end = 0;
        for range in &info.code {
            ensure!(
                range.start >= end && range.start <= range.end && range.end as usize <= text.len(),
                "the artifact's code ranges are out of order"
            );
            end = range.end;
        }
        FrameTable::parse(&frame_table, functions)?;
        for segment in &info.data {
            ensure!(
                segment.bytes.start <= segment.bytes.end
                    && segment.bytes.end as usize <= data.len(),
                "the artifact's data segments exceed its data"
            );
        }
        let imported = info.num_imported_memories as u32;
        let images = (imported..info.memories.len() as u32)
            .map(|memory| MemoryImage::for_memory(&info, &data, memory).map(Arc::new))
            .collect();
        let code = CodeMemory::publish(&text).context("mapping the module's code")?;
        // Each is used until the module is dropped: nothing fails from here on.
        let type_ids = info.types.iter().map(|ty| engine.types().intern(ty)).collect();
        let module = Arc::new(CompiledModule {
            engine: engine.clone(),
            settings,
            offsets: VMOffsets::new(&info),
            info,
            type_ids,
            text_len: text.len(),
            registration: OnceLock::new(),
            code,
            frame_table,
            data,
            dwarf: dwarf.into_iter().map(|(name, bytes)| (name, bytes.into())).collect(),
            debug_cache: OnceLock::new(),
            images,
            layouts: OnceLock::new(),
        });
        let owner: Weak<CompiledModule> = Arc::downgrade(&module);
        code::register(module.code.range(), owner);
        Ok(module)
    }

    /// The engine that the module was made for.
    pub fn engine(&self) -> &Arc<EngineShared> {
        &self.engine
    }

    /// What the module says of itself.
    pub fn info(&self) -> &ModuleInfo {
        &self.info
    }

    /// The guest's DWARF sections.
    pub fn dwarf(&self) -> &[(String, Arc<[u8]>)] {
        &self.dwarf
    }

    /// What the debug crate has made of [`CompiledModule::dwarf`]; made when first asked for.
    pub fn debug_cache(
        &self,
        make: impl FnOnce() -> Arc<dyn Any + Send + Sync>,
    ) -> &Arc<dyn Any + Send + Sync> {
        self.debug_cache.get_or_init(make)
    }

    /// Keeps debuggers informed of the module's code while it is mapped. A second registration is
    /// dropped.
    pub fn keep_registered(&self, registration: Registration) {
        let _ = self.registration.set(registration);
    }

    /// The machine code, where it is run.
    pub fn text(&self) -> &[u8] {
        &self.code.text()[..self.text_len]
    }

    /// The frame table's rows of a defined function.
    pub fn rows(&self, defined: usize) -> Rows<'_> {
        self.function_frames(defined).rows()
    }

    /// Bytes of machine code.
    pub fn code_size(&self) -> usize {
        self.text_len
    }

    /// Bytes of the frame table.
    pub fn frame_table_size(&self) -> usize {
        self.frame_table.len()
    }

    /// The artifact that this module was made from.
    pub fn to_artifact(&self) -> Artifact {
        Artifact {
            settings: self.settings.clone(),
            info: self.info.clone(),
            text: self.text().to_vec(),
            frame_table: self.frame_table.clone(),
            data: self.data.clone(),
            dwarf: self.dwarf.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect(),
        }
    }

    pub(crate) fn offsets(&self) -> &VMOffsets {
        &self.offsets
    }

    pub(crate) fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    pub(crate) fn type_id_of(&self, func: u32) -> u32 {
        self.type_ids[self.info.functions[func as usize] as usize]
    }

    /// The code of a defined function.
    pub(crate) fn function_code(&self, func: u32) -> *const u8 {
        let defined = func as usize - self.info.num_imported_functions;
        self.code.address(self.info.code[defined].start)
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(crate) fn image(&self, defined_memory: usize) -> Option<&Arc<MemoryImage>> {
        self.images[defined_memory].as_ref()
    }

    /// The function whose code contains the address `pc`.
    pub fn position(&self, pc: usize) -> Option<CodePosition> {
        let offset = u32::try_from(pc.checked_sub(self.code.range().start)?).ok()?;
        let after = self.info.code.partition_point(|range| range.start <= offset);
        let defined = after.checked_sub(1)?;
        let range = &self.info.code[defined];
        (offset < range.end)
            .then(|| CodePosition { defined, offset: NativeOffset(offset - range.start) })
    }

    fn body_start(&self, defined: usize) -> WasmPc {
        WasmPc(self.info.bodies[defined].start)
    }

    fn table(&self) -> FrameTable<'_> {
        // Checked in `publish`.
        FrameTable::of_checked(&self.frame_table, self.info.code.len())
    }

    /// A defined function's part of the frame table.
    fn function_frames(&self, defined: usize) -> FunctionFrames<'_> {
        self.table().function(defined, self.body_start(defined))
    }

    /// Where the state of a defined function's frames lies.
    #[inline]
    pub(crate) fn function_layout(&self, defined: usize) -> &FunctionLayout {
        match self.layouts.get().and_then(|layouts| layouts[defined].get()) {
            Some(layout) => layout,
            None => self.decode_layout(defined),
        }
    }

    #[cold]
    fn decode_layout(&self, defined: usize) -> &FunctionLayout {
        let functions = self.info.code.len();
        let layouts =
            self.layouts.get_or_init(|| (0..functions).map(|_| OnceLock::new()).collect());
        layouts[defined].get_or_init(|| {
            let func = (defined + self.info.num_imported_functions) as u32;
            let params = self.info.func_type(func).params();
            let layout = self.function_frames(defined).layout();
            FunctionLayout::new(layout, params, |callee| self.local_types(callee))
        })
    }

    /// The types of the locals of a function, if the module defines it.
    fn local_types(&self, func: u32) -> Option<Vec<ValType>> {
        let defined = (func as usize).checked_sub(self.info.num_imported_functions)?;
        let layout = (defined < self.info.code.len()).then(|| self.function_frames(defined))?;
        local_types(self.info.func_type(func).params(), &layout.layout()?.declared)
    }

    /// Whether frames of the module can be written to.
    pub fn frame_writes(&self) -> bool {
        self.settings.frame_writes
    }

    /// What frames of the module keep.
    pub fn frame_state(&self) -> FrameState {
        self.settings.frame_state
    }

    /// Where the function is, after the call, that returns to the address `return_address`.
    pub(crate) fn call_position(&self, return_address: usize) -> Option<CodePosition> {
        // A call can be a function's last instruction: then the return address is the next
        // function's first byte, or padding. The byte before belongs to the call.
        let mut position = self.position(return_address.checked_sub(1)?)?;
        position.offset.0 += 1;
        Some(position)
    }

    /// The row of the call that returns to a place, and what can be read of a frame there.
    /// That is put into `state`, whose memory is used again.
    pub(crate) fn call_at(&self, at: CodePosition, state: &mut Readable) -> Option<Row> {
        self.function_frames(at.defined).find_call(at.offset, state)
    }

    /// The address of a defined function's code.
    pub(crate) fn function_start(&self, defined: usize) -> usize {
        self.code.range().start + self.info.code[defined].start as usize
    }

    /// The traps that the instruction at `pc` can raise, and what can be read of a frame there.
    pub(crate) fn traps_at(&self, pc: usize) -> Option<(CodePosition, Vec<(Row, Readable)>)> {
        let position = self.position(pc)?;
        Some((position, self.function_frames(position.defined).traps_at(position.offset)))
    }
}

impl Drop for CompiledModule {
    fn drop(&mut self) {
        // No store has an instance of it any more, and none will.
        for image in self.images.iter().flatten() {
            self.engine.memories().forget(image);
        }
        self.engine.types().release(self.type_ids.iter().copied());
    }
}

impl std::fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledModule")
            .field("name", &self.info.name)
            .field("functions", &self.info.functions.len())
            .field("code_size", &self.text_len)
            .finish_non_exhaustive()
    }
}
