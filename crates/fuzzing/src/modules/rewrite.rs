//! Rewriting modules, so that they are supported, and so that engines can be compared on them.

use super::nans::{Float, made_by};
use anyhow::{Result, anyhow, ensure};
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, Instruction, SectionId};
use wasmparser::types::Types;
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, Validator};

/// What a module is made to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rewrite {
    /// Supported: memories that are shared are not any more, and exports of tags are left out.
    Supported,
    /// As [`Rewrite::Supported`]; and all its functions, memories, tables and globals are exported,
    /// in this order, with names of their own; and of what WebAssembly leaves open, what engines on
    /// one machine decide differently is decided: every NaN that an operator makes is the canonical
    /// one, and relaxed selections of lanes take whole lanes.
    Comparable,
}

/// Rewrites a valid module. Custom sections are left out if it is to be comparable.
///
/// # Errors
///
/// If it is not valid, or is not any more after rewriting because a limit is exceeded.
pub fn rewrite(wasm: &[u8], to: Rewrite) -> Result<Vec<u8>> {
    // What is rewritten can use what is not supported afterwards: shared memories.
    let types = Validator::new_with_features(super::features()).validate_all(wasm)?;
    let next = types.as_ref().function_count() - bodies(wasm)?;
    let mut rewriter = Rewriter { to, types, next, exported: false };
    let mut module = wasm_encoder::Module::new();
    rewriter
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow!("rewriting the module: {error}"))?;
    let wasm = module.finish();
    ensure!(super::is_valid(&wasm, super::features()), "the rewritten module is not valid");
    Ok(wasm)
}

/// Number of functions that a module defines.
fn bodies(wasm: &[u8]) -> Result<u32> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionStart { count, .. } = payload? {
            return Ok(count);
        }
    }
    Ok(0)
}

struct Rewriter {
    to: Rewrite,
    types: Types,
    /// The function whose body comes next.
    next: u32,
    /// Whether the exports of a comparable module are there.
    exported: bool,
}

type Error = reencode::Error<std::convert::Infallible>;

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn memory_type(
        &mut self,
        ty: wasmparser::MemoryType,
    ) -> Result<wasm_encoder::MemoryType, Error> {
        Ok(utils::memory_type(self, wasmparser::MemoryType { shared: false, ..ty }))
    }

    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        if self.to == Rewrite::Supported {
            // As it is: it may be malformed, which does not make a module invalid.
            module.section(&wasm_encoder::CustomSection {
                name: section.name().into(),
                data: section.data().into(),
            });
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        if self.to == Rewrite::Comparable {
            self.exported = true;
            self.export_all(exports);
            return Ok(());
        }
        for export in section {
            let export = export?;
            if export.kind != ExternalKind::Tag {
                self.parse_export(exports, export)?;
            }
        }
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut wasm_encoder::Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        let comes_later = match before {
            None => true,
            Some(section) => matches!(
                section,
                SectionId::Start
                    | SectionId::Element
                    | SectionId::DataCount
                    | SectionId::Code
                    | SectionId::Data
            ),
        };
        if self.to == Rewrite::Comparable && comes_later && !self.exported {
            self.exported = true;
            let mut exports = ExportSection::new();
            self.export_all(&mut exports);
            module.section(&exports);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let types = self.types.as_ref();
        let index = self.next;
        self.next += 1;
        let mut rewritten = false;
        for op in body.get_operators_reader()? {
            let op = op?;
            rewritten |= made_by(&op).is_some() || whole_lanes(&op).is_some();
        }
        if !rewritten || self.to != Rewrite::Comparable {
            return utils::parse_function_body(self, code, body);
        }
        let params = types[types.core_function_at(index)].unwrap_func().params().len() as u32;
        let mut locals = Vec::new();
        let mut scratch = params;
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            scratch += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.extend(Float::SCRATCH.map(|ty| (1, ty)));
        let mut function = Function::new(locals);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let op = reader.read()?;
            let made = made_by(&op);
            if let Some((bit, shift)) = whole_lanes(&op) {
                function.instruction(&Instruction::I32Const(bit)).instruction(&shift);
            }
            function.instruction(&self.instruction(op)?);
            if let Some(made) = made {
                made.canonicalize(&mut function, scratch);
            }
        }
        code.function(&function);
        Ok(())
    }
}

/// For a relaxed selection of lanes: what makes a lane of its mask all ones or all zeros.
fn whole_lanes(op: &Operator<'_>) -> Option<(i32, Instruction<'static>)> {
    Some(match op {
        Operator::I8x16RelaxedLaneselect => (7, Instruction::I8x16ShrS),
        Operator::I16x8RelaxedLaneselect => (15, Instruction::I16x8ShrS),
        Operator::I32x4RelaxedLaneselect => (31, Instruction::I32x4ShrS),
        Operator::I64x2RelaxedLaneselect => (63, Instruction::I64x2ShrS),
        _ => return None,
    })
}

impl Rewriter {
    fn export_all(&self, exports: &mut ExportSection) {
        let types = self.types.as_ref();
        let kinds = [
            (ExportKind::Func, types.function_count(), 'f'),
            (ExportKind::Memory, types.memory_count(), 'm'),
            (ExportKind::Table, types.table_count(), 't'),
            (ExportKind::Global, types.global_count(), 'g'),
        ];
        for (kind, count, letter) in kinds {
            for index in 0..count {
                exports.export(&format!("{letter}{index}"), kind, index);
            }
        }
    }
}
