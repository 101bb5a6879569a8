//! The artifact under construction: functions laid out, calls between them resolved.
//!
//! [`ArtifactBuilder`] implements Cranelift's [`Module`]: all functions of the wasm module are
//! declared, imported ones first, so that a `FuncId` is a wasm function index; the defined ones
//! enter in order, as bytes. Calls leave the module only through its context, so the only
//! relocations are direct calls between its functions. There are no data objects.

use crate::compile::CompiledFunction;
use crate::env::wasm_signature;
use crate::trampoline::{FILLER, FUNCTION_ALIGNMENT};
use anyhow::{Context as _, Result, anyhow};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::{Context, ir, isa::TargetIsa};
use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage, Module, ModuleDeclarations, ModuleError, ModuleReloc,
    ModuleRelocTarget, ModuleResult,
};
use std::ops::Range;
use stillframe_abi::frame_table::FrameTableBuilder;
use stillframe_abi::module::ModuleInfo;

/// Collects the functions of a module.
pub(crate) struct ArtifactBuilder<'a> {
    isa: &'a dyn TargetIsa,
    declarations: ModuleDeclarations,
    imported: usize,
    text: Vec<u8>,
    /// Where the defined functions are, so far.
    code: Vec<Range<u32>>,
    /// With positions in `text`.
    relocs: Vec<ModuleReloc>,
    frame_table: FrameTableBuilder,
}

/// What [`ArtifactBuilder::finish`] makes.
pub(crate) struct Linked {
    pub(crate) text: Vec<u8>,
    pub(crate) code: Vec<Range<u32>>,
    pub(crate) frame_table: Vec<u8>,
}

impl<'a> ArtifactBuilder<'a> {
    /// An artifact in which all functions of `info` are declared and none is defined.
    ///
    /// # Errors
    ///
    /// If they cannot be declared.
    pub(crate) fn new(isa: &'a dyn TargetIsa, info: &ModuleInfo) -> Result<ArtifactBuilder<'a>> {
        let mut builder = ArtifactBuilder {
            isa,
            declarations: ModuleDeclarations::default(),
            imported: info.num_imported_functions,
            text: Vec::new(),
            code: Vec::with_capacity(info.num_defined_functions()),
            relocs: Vec::new(),
            frame_table: FrameTableBuilder::new(),
        };
        for index in 0..info.functions.len() as u32 {
            let signature = wasm_signature(info.func_type(index));
            let id = match (index as usize) < info.num_imported_functions {
                true => builder.declare_function(&symbol(index), Linkage::Import, &signature)?,
                false => builder.declare_anonymous_function(&signature)?,
            };
            anyhow::ensure!(id.as_u32() == index, "{} declared out of order", symbol(index));
        }
        Ok(builder)
    }

    /// Adds the next defined function.
    ///
    /// # Errors
    ///
    /// If the text becomes too large.
    pub(crate) fn push(&mut self, function: &CompiledFunction) -> Result<()> {
        let id = FuncId::from_u32((self.imported + self.code.len()) as u32);
        let CompiledFunction { code, alignment, relocs, rows } = function;
        self.define_function_bytes(id, u64::from(*alignment), code, relocs)?;
        self.frame_table.push_function(rows);
        Ok(())
    }

    /// Resolves the relocations.
    ///
    /// # Errors
    ///
    /// If a function is not defined, or a relocation is not one between functions.
    pub(crate) fn finish(mut self) -> Result<Linked> {
        let relocs = std::mem::take(&mut self.relocs);
        for reloc in &relocs {
            let target = self.target(&reloc.name).with_context(|| {
                format!("linking {} at {:#x} of the text", reloc.name, reloc.offset)
            })?;
            match reloc.kind {
                Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {}
                kind => anyhow::bail!("relocation {kind} of {} is not supported", reloc.name),
            }
            let value = i64::from(target) + reloc.addend - i64::from(reloc.offset);
            let value = i32::try_from(value).context("a call spans more than 2 GiB")?;
            let at = reloc.offset as usize;
            self.text[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let frame_table = self.frame_table.finish()?;
        Ok(Linked { text: self.text, code: self.code, frame_table })
    }

    /// Where in the text a relocation's target is.
    fn target(&self, name: &ModuleRelocTarget) -> Result<u32> {
        let (index, offset) = match *name {
            ModuleRelocTarget::User { namespace: 0, index } => (index, 0),
            ModuleRelocTarget::FunctionOffset(func, offset) => (func.as_u32(), offset),
            ModuleRelocTarget::LibCall(call) => {
                anyhow::bail!("generated code needs the library function {call}: there is none")
            }
            ref other => anyhow::bail!("{other} is no function"),
        };
        let code = (index as usize).checked_sub(self.imported).and_then(|i| self.code.get(i));
        let code = code.with_context(|| format!("{} is not defined", symbol(index)))?;
        Ok(code.start + offset)
    }
}

/// What Cranelift's errors call a function.
fn symbol(index: u32) -> String {
    format!("function {index}")
}

/// The error of what an artifact cannot do.
fn unsupported(what: &str) -> ModuleError {
    ModuleError::Backend(anyhow!("{what} in a Stillframe artifact"))
}

impl Module for ArtifactBuilder<'_> {
    fn isa(&self) -> &dyn TargetIsa {
        self.isa
    }

    fn declarations(&self) -> &ModuleDeclarations {
        &self.declarations
    }

    fn declare_function(
        &mut self,
        name: &str,
        linkage: Linkage,
        signature: &ir::Signature,
    ) -> ModuleResult<FuncId> {
        Ok(self.declarations.declare_function(name, linkage, signature)?.0)
    }

    fn declare_anonymous_function(&mut self, signature: &ir::Signature) -> ModuleResult<FuncId> {
        self.declarations.declare_anonymous_function(signature)
    }

    fn declare_data(&mut self, name: &str, _: Linkage, _: bool, _: bool) -> ModuleResult<DataId> {
        Err(unsupported(&format!("no data object (`{name}`) can be declared")))
    }

    fn declare_anonymous_data(&mut self, _: bool, _: bool) -> ModuleResult<DataId> {
        Err(unsupported("no data object can be declared"))
    }

    fn define_function_with_control_plane(
        &mut self,
        func: FuncId,
        _: &mut Context,
        _: &mut ControlPlane,
    ) -> ModuleResult<()> {
        let what =
            format!("{} must come as bytes, with its frame table rows", symbol(func.as_u32()));
        Err(unsupported(&what))
    }

    /// Functions must come in order, from the first that is not imported.
    fn define_function_bytes(
        &mut self,
        func: FuncId,
        alignment: u64,
        bytes: &[u8],
        relocs: &[ModuleReloc],
    ) -> ModuleResult<()> {
        let index = func.as_u32();
        match (index as usize).checked_sub(self.imported) {
            None => return Err(ModuleError::InvalidImportDefinition(symbol(index))),
            Some(defined) if defined < self.code.len() => {
                return Err(ModuleError::DuplicateDefinition(symbol(index)));
            }
            Some(defined) if defined > self.code.len() => {
                return Err(unsupported(&format!("{} is defined too early", symbol(index))));
            }
            Some(_) => {}
        }
        let alignment = FUNCTION_ALIGNMENT.max(alignment as usize);
        let start = self.text.len().next_multiple_of(alignment);
        // Calls reach 2 GiB.
        if start + bytes.len() > i32::MAX as usize {
            return Err(unsupported("more than 2 GiB of machine code"));
        }
        self.text.resize(start, FILLER);
        self.text.extend_from_slice(bytes);
        self.code.push(start as u32..self.text.len() as u32);
        self.relocs.extend(relocs.iter().cloned().map(|mut reloc| {
            reloc.offset += start as u32;
            reloc
        }));
        Ok(())
    }

    fn define_data(&mut self, data: DataId, _: &DataDescription) -> ModuleResult<()> {
        Err(unsupported(&format!("no data object ({data}) can be defined")))
    }
}
