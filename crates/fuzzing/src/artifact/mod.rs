//! Damaged artifacts are refused or behave as the original.
//!
//! ```text
//!   module ─► artifact ─┬─ read again: the same bytes come out, and its calls end as before
//!                       ├─ read by an engine with other settings: refused, if code depends on them
//!                       ├─ damaged anywhere: refused, because of the checksum
//!                       ├─ damaged, with a checksum that fits: an error or an artifact
//!                       └─ its frame table damaged: fewer rows, or other ones
//! ```
//!
//! `Module::deserialize` is unsafe: whoever passes it bytes says that they are an artifact that
//! nobody has changed on purpose. The checksum tells accidents from that, so that here it is called
//! with bytes that are damaged. What stands behind the checksum is only reached by who changes bytes
//! on purpose; only the parsers are run on that, which are safe code, and must not panic, hang or
//! allocate without bound: the artifact's, and the frame table's. No module is made of it.

mod damage;
mod tables;

use crate::configs::Settings;
use crate::counters::counters;
use crate::differential::{Exports, Guest, Mode, Ours};
use crate::modules::{self, Imports, Rewrite};
use crate::{Choices, Input};
use anyhow::{Context, Result, ensure};
use damage::damaged;
use stillframe::{Engine, FrameState, Module};
use stillframe_abi::artifact::{Artifact, CompileSettings};

/// Bytes at the end of an artifact that hold its checksum, and how many of these come before the
/// checksum itself.
const TRAILER: usize = 40;
const TRAILER_MAGIC: usize = 8;

/// Entries of functions and loops for each call.
const STEPS: u32 = 300;

counters! {
    /// What inputs came to.
    Outcome {
        /// Artifacts that were written and read.
        artifacts,
        /// Damaged ones that were refused.
        refused,
        /// Damaged ones in which nothing was changed.
        undamaged,
        /// Engines with other settings that refused an artifact.
        others_refused,
        /// Engines with other settings that accepted one.
        others_accepted,
        /// Damaged ones with a checksum that fits, and that the parser refused.
        unparsed,
        /// Damaged ones with a checksum that fits, and that were parsed.
        parsed,
        /// Frame tables that were damaged, and refused.
        tables_refused,
        /// Frame tables that were damaged, and read.
        tables,
        /// Rows that the latter had.
        rows,
        /// Calls whose ends were compared with those of the original.
        calls,
    }
}

/// Runs the input.
///
/// # Errors
///
/// If an artifact that should be refused is not, or the other way round, or if it behaves otherwise.
pub fn run(data: &[u8]) -> Result<Outcome> {
    let Some(mut input) = Input::new(data) else { return Ok(Outcome::default()) };
    // Formats of their own, found by chance or by the fuzzer.
    if input.given().is_none() && input.choices.one_in(8) {
        return raw(&input);
    }
    let settings = Settings::choose(&mut input.choices);
    let wasm = match input.given() {
        Some(given) => Some(given.to_vec()),
        None => modules::random(&mut input, Imports::All, Some(STEPS)),
    };
    let Some(Ok(wasm)) = wasm.map(|wasm| modules::rewrite(&wasm, Rewrite::Comparable)) else {
        return Ok(Outcome::default());
    };
    let runs = input.given().is_none();
    let checked = check(&wasm, &settings, runs, &mut input.choices);
    if checked.is_err() {
        modules::keep(&wasm);
    }
    checked.with_context(|| format!("{settings:?}"))
}

/// The input is what the parsers get.
fn raw(input: &Input<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    count_parsed(&mut outcome, Artifact::from_elf(input.rest, &no_settings()).is_ok());
    tables::check(input.rest, 1 + input.rest.len() % 3, &mut outcome);
    Ok(outcome)
}

/// Counts an artifact that the parser got.
fn count_parsed(outcome: &mut Outcome, parsed: bool) {
    match parsed {
        false => outcome.unparsed += 1,
        true => outcome.parsed += 1,
    }
}

fn check(
    wasm: &[u8],
    settings: &Settings,
    runs: bool,
    choices: &mut Choices<'_>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let engine = settings.engine()?;
    let Ok(module) = Module::new(&engine, wasm) else { return Ok(outcome) };
    let bytes = module.serialize()?;
    let read = deserialize(&engine, &bytes).context("an artifact that was just made is refused")?;
    ensure!(read.serialize()? == bytes, "an artifact that was read is written otherwise");
    outcome.artifacts = 1;
    if runs {
        outcome.calls = behaves_alike(wasm, settings, &engine, &module, &read, choices)?;
    }
    other_engine(&bytes, settings, choices, &mut outcome)?;

    let other =
        "(module (func (export \"f\") (loop (br 0))) (memory 1) (data (i32.const 8) \"x\"))";
    let other = engine.precompile_module(other.as_bytes())?;
    for _ in 0..8 {
        let damaged = damaged(&bytes, &other, choices);
        if damaged == bytes || damaged == other {
            outcome.undamaged += 1;
            continue;
        }
        ensure!(deserialize(&engine, &damaged).is_err(), "a damaged artifact is accepted");
        outcome.refused += 1;
    }
    let made_for = Artifact::from_elf(&bytes, &settings_of(&bytes)?)?;
    for _ in 0..8 {
        let body = damaged(&bytes[..bytes.len() - TRAILER], &other, choices);
        let sealed = sealed(&body, &bytes[bytes.len() - TRAILER..][..TRAILER_MAGIC]);
        let parsed = Artifact::from_elf(&sealed, &made_for.settings);
        count_parsed(&mut outcome, parsed.is_ok());
        // What was accepted can be written.
        if let Ok(artifact) = parsed {
            artifact.to_elf().context("an artifact that was read cannot be written")?;
        }
    }
    let functions = made_for.info.code.len();
    for _ in 0..8 {
        let table = damaged(&made_for.frame_table, &bytes, choices);
        tables::check(&table, functions, &mut outcome);
    }
    Ok(outcome)
}

#[allow(unsafe_code)]
fn deserialize(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: trusted code: the bytes were made in this process, or are damaged in a way that their
    // checksum is wrong: nobody makes one that fits, except for parsers that run no code.
    unsafe { Module::deserialize(engine, bytes) }
}

/// The bytes with a checksum that fits.
fn sealed(body: &[u8], magic: &[u8]) -> Vec<u8> {
    let sum = blake3::hash(body);
    [body, magic, sum.as_bytes()].concat()
}

/// What an artifact was compiled for.
fn settings_of(bytes: &[u8]) -> Result<CompileSettings> {
    // The reason for refusing them is of no use, so they are read from where they are.
    let elf = object::File::parse(bytes)?;
    let header = object::Object::section_by_name(&elf, ".stillframe.header").context("a header")?;
    let (_, settings): (u32, CompileSettings) =
        postcard::from_bytes(object::ObjectSection::data(&header)?)?;
    Ok(settings)
}

fn no_settings() -> CompileSettings {
    CompileSettings {
        target: String::new(),
        flags: Vec::new(),
        fuel: false,
        costs: 0,
        epochs: false,
        frame_state: FrameState::Off,
        frame_writes: false,
        inlining: false,
    }
}

/// An engine with other settings accepts the artifact if they do not bear on code.
fn other_engine(
    bytes: &[u8],
    settings: &Settings,
    choices: &mut Choices<'_>,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut other = Settings::choose(choices);
    if choices.one_in(3) {
        other = Settings { pooled: !settings.pooled, ..settings.clone() };
    }
    let accepted = deserialize(&other.engine()?, bytes).is_ok();
    match accepted {
        false => outcome.others_refused += 1,
        true => outcome.others_accepted += 1,
    }
    let fits = code(settings) == code(&other);
    ensure!(accepted == fits, "an engine with {other:?} accepts it: {accepted}");
    Ok(())
}

/// The settings that bear on code, as far as they do.
fn code(settings: &Settings) -> Settings {
    let mut code = settings.clone();
    code.pooled = true;
    code.plain = false;
    // A frame without state has nothing that could be written.
    code.frame_writes &= code.frame_state != FrameState::Off;
    code.inlining &= !code.frame_writes;
    if !code.fuel {
        code.costs = crate::configs::Costs::Default;
    }
    code
}

/// Makes the same calls with both modules; returns how many.
fn behaves_alike(
    wasm: &[u8],
    settings: &Settings,
    engine: &Engine,
    module: &Module,
    read: &Module,
    choices: &mut Choices<'_>,
) -> Result<u64> {
    let exports = Exports::of(wasm)?;
    let seed = choices.number();
    let guest = |module| Ours::of(engine, module, &exports, seed, settings, Mode::Plain);
    let (mut guest, mut again) = match (guest(module)?, guest(read)?) {
        (Ok(guest), Ok(again)) => (guest, again),
        (Err(one), Err(other)) => {
            ensure!(one.agrees(&other), "instantiating: {one:?}, read from an artifact {other:?}");
            return Ok(0);
        }
        (one, other) => {
            anyhow::bail!("instantiating: {:?}, read from an artifact {:?}", one.err(), other.err())
        }
    };
    let mut calls = 0;
    for function in 0..exports.functions.len().min(6) as u32 {
        let params = exports.params(function, choices);
        let (one, other) = (guest.call(function, &params), again.call(function, &params));
        ensure!(one == other, "f{function}{params:x?}: {one:x?}, read from an artifact {other:x?}");
        if let Some(difference) = guest.state(true).difference(&again.state(true)) {
            anyhow::bail!("after f{function}, of a module read from an artifact: {difference}");
        }
        calls += 1;
    }
    Ok(calls)
}
