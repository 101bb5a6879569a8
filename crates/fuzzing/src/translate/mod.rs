//! Any bytes, any module, any settings: an error or code.
//!
//! ```text
//!   input ─► a module as it is, a random one, or either with some bytes changed; or text
//!               │
//!               ├─ wasmparser with our list of proposals says whether it is valid
//!               ├─ `Module::validate` must say the same, but for what is "not supported"
//!               └─ `Module::new` must say the same; what it made, made again on many threads, is
//!                  the same bytes, and so is what it is serialized to and read back from
//! ```
//!
//! How long it takes and how much memory is for the fuzzer to watch.

use crate::configs::Settings;
use crate::modules::{self, Imports};
use crate::{Choices, Input};
use anyhow::{Context, Result, bail, ensure};
use stillframe::{Engine, Module};
use wasmparser::{Parser, Payload};

/// What inputs came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Modules that were compiled.
    pub compiled: usize,
    /// Bytes of their machine code.
    pub code: usize,
    /// Modules that are not valid, and were refused.
    pub invalid: usize,
    /// Modules that are valid, and use what is not supported.
    pub unsupported: usize,
    /// Inputs that are neither text nor a module in the binary format, or damaged text.
    pub no_modules: usize,
    /// Inputs that are text of a module.
    pub texts: usize,
}

impl Outcome {
    /// Adds another outcome's numbers.
    pub fn add(&mut self, more: &Outcome) {
        self.compiled += more.compiled;
        self.code += more.code;
        self.invalid += more.invalid;
        self.unsupported += more.unsupported;
        self.no_modules += more.no_modules;
        self.texts += more.texts;
    }
}

/// Runs the input.
///
/// # Errors
///
/// If what is said of a module is wrong, or compiling it twice gives other code.
pub fn run(data: &[u8]) -> Result<Outcome> {
    let Some(mut input) = Input::new(data) else { return Ok(Outcome::default()) };
    let settings = Settings::choose(&mut input.choices);
    let bytes = match input.choices.below(8) {
        // Whatever it is: also text.
        0 => Some(input.rest.to_vec()),
        damage => {
            let module = modules::module(&mut input, Imports::All);
            module.map(|mut module| {
                if damage <= 2 {
                    change(&mut module, &mut input.choices);
                }
                module
            })
        }
    };
    let Some(bytes) = bytes else { return Ok(Outcome::default()) };
    let checked = check(&bytes, &settings);
    if checked.is_err() {
        modules::keep(&bytes);
    }
    checked.with_context(|| format!("{settings:?}"))
}

/// Changes some bytes of a module, behind what says that it is one.
fn change(module: &mut [u8], choices: &mut Choices<'_>) {
    const HEADER: usize = 8;
    if module.len() <= HEADER {
        return;
    }
    for _ in 0..=choices.below(3) {
        let at = HEADER + choices.number() as usize % (module.len() - HEADER);
        module[at] = match choices.below(4) {
            0 => module[at].wrapping_add(1),
            1 => module[at] ^ 1 << choices.below(8),
            2 => 0xff,
            _ => choices.number() as u8,
        };
    }
}

fn check(bytes: &[u8], settings: &Settings) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let engine = settings.engine()?;
    let compiled = Module::new(&engine, bytes);
    if !bytes.starts_with(b"\0asm") {
        match compiled {
            Ok(_) => outcome.texts = 1,
            Err(_) => outcome.no_modules = 1,
        }
        return Ok(outcome);
    }
    let valid = modules::is_valid(bytes, modules::features());
    let validated = Module::validate(&engine, bytes);
    let module = match (valid, validated, compiled) {
        (true, Ok(()), Ok(module)) => module,
        (true, _, Err(error)) if is_limit(&error) => {
            outcome.unsupported = 1;
            return Ok(outcome);
        }
        (false, Err(_), Err(error)) => {
            let text = format!("{error:#}");
            ensure!(!text.is_empty(), "an error that says nothing");
            outcome.invalid = 1;
            return Ok(outcome);
        }
        (valid, validated, compiled) => bail!(
            "valid: {valid}; validating: {validated:?}; compiling: {:?}",
            compiled.map(|_| ())
        ),
    };
    outcome.compiled = 1;
    outcome.code = module.code_size();
    describes(&module, bytes)?;

    let artifact = module.serialize()?;
    let parallel = Engine::new(settings.config().parallel_compilation(true))?;
    let again = parallel.precompile_module(bytes)?;
    ensure!(artifact == again, "compiling on many threads gives other bytes");
    // SAFETY: trusted code: the bytes were made just now.
    #[allow(unsafe_code)]
    let read = unsafe { Module::deserialize(&engine, &artifact) };
    let read = read.context("an artifact that was made just now is refused")?;
    describes(&read, bytes).context("after reading the artifact")?;
    ensure!(artifact == read.serialize()?, "an artifact that was read is written otherwise");
    Ok(outcome)
}

/// Whether a valid module may be refused for this.
fn is_limit(error: &anyhow::Error) -> bool {
    const LIMITS: [&str; 3] = [
        "exported tags are not supported",
        "imported tags are not supported",
        "shared memories are not supported",
    ];
    let text = format!("{error:#}");
    modules::is_too_large(error) || LIMITS.iter().any(|limit| text.contains(limit))
}

/// Whether the module has the imports and exports that the bytes say.
fn describes(module: &Module, wasm: &[u8]) -> Result<()> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    imports.push((import.module.to_string(), import.name.to_string()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    exports.push(export?.name.to_string());
                }
            }
            _ => {}
        }
    }
    let found = module.imports().map(|import| (import.module().into(), import.name().into()));
    ensure!(found.eq(imports), "the module has other imports");
    let found = module.exports().map(|export| export.name().to_string());
    ensure!(found.eq(exports), "the module has other exports");
    Ok(())
}
