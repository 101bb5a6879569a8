//! A module here and in the reference interpreter, in step, in any configuration.

use super::Outcome;
use crate::modules::{self, Imports, Rewrite};
use crate::{Choices, Input};
use anyhow::{Context as _, Result};
use stillframe::{FrameState, OptLevel};
use stillframe_lockstep::{Lockstep, Program, Report, Settings, Shape, TOO_LONG, module_of};
use wasmparser::{Parser, Payload, WasmFeatures};

/// Memories are compared behind each call: larger ones are not run, in pages.
const MAX_PAGES: u64 = 64;

pub(super) fn run(mut input: Input<'_>) -> Result<Outcome> {
    let settings = settings(&mut input.choices);
    let seed = input.choices.number();
    let report = match input.given().is_none() && input.choices.one_in(2) {
        true => program(&mut input, &settings, seed)?,
        false => module(&mut input, &settings, seed)?,
    };
    let Some(report) = report else { return Ok(Outcome::default()) };
    Ok(Outcome {
        modules: 1,
        stops: report.stops,
        host_calls: report.host_calls,
        interrupts: report.interrupts,
        failed: report.traps + report.uncaught,
        values: report.locals + report.known + report.operands,
        writes: report.writes,
        ..Outcome::default()
    })
}

fn settings(choices: &mut Choices<'_>) -> Settings {
    let writes = choices.one_in(3);
    // With the counter of a loop written, it may go round for ever.
    let fuel = writes || !choices.one_in(5);
    let state = choices.pick(&[FrameState::All, FrameState::Live, FrameState::Off]);
    let mut settings = Settings {
        // Without state it is refused.
        frame_writes: writes && state != FrameState::Off,
        fuel,
        slice: choices.pick(&[1, 1, 3, 20, 200]),
        max_fuel: choices.pick(&[500, 1500]),
        // What shows where the interpreter has to stop is the fuel.
        epochs: fuel && choices.one_in(3),
        inlining: !choices.one_in(3),
        opt_level: choices.pick(&[OptLevel::Speed, OptLevel::None, OptLevel::SpeedAndSize]),
        ..Settings::new(state)
    };
    settings.plain = settings.opt_level == OptLevel::None && settings.max_fuel == 500;
    settings
}

/// One of our own programs: each function in its own store.
fn program(input: &mut Input<'_>, settings: &Settings, seed: u64) -> Result<Option<Report>> {
    let size = input.choices.pick(&[40, 120, 300]);
    let program = Program::new(seed, size);
    let wasm = wat::parse_str(program.wat(&[])).context("a program")?;
    let lockstep = Lockstep::new(settings.clone())?;
    let pair = lockstep.load(&wasm)?;
    let mut report = Report::default();
    for function in 0..program.functions() {
        let name = format!("f{function}");
        let called = pair.call(&name, seed.wrapping_add(function as u64) >> 1);
        if called.as_ref().is_err_and(|error| format!("{error:#}").contains(TOO_LONG)) {
            continue;
        }
        let what = || format!("{name} of Program::new({seed}, {size}), {settings:?}");
        report += called.with_context(what)?.0;
    }
    Ok(Some(report))
}

/// Any module.
fn module(input: &mut Input<'_>, settings: &Settings, seed: u64) -> Result<Option<Report>> {
    let Some((wasm, ends)) = wasm(input) else { return Ok(None) };
    if !fits(&wasm).unwrap_or(false) {
        return Ok(None);
    }
    let settings = Settings { fuel: settings.fuel || !ends, ..settings.clone() };
    let ran = Lockstep::new(settings.clone())?.run(&wasm, seed >> 1);
    match ran {
        Ok(report) => Ok(Some(report)),
        Err(error) if modules::is_too_large(&error) => Ok(None),
        Err(error) if is_no_difference(&format!("{error:#}")) => Ok(None),
        Err(error) => Err(error.context(format!("a module, seed {seed:#x}, {settings:?}"))),
    }
}

/// A module, and whether all its functions end.
fn wasm(input: &mut Input<'_>) -> Option<(Vec<u8>, bool)> {
    if let Some(given) = input.given() {
        // What relaxed operators give is not determined.
        if !modules::is_valid(given, modules::features() - WasmFeatures::RELAXED_SIMD) {
            return None;
        }
        return Some((modules::rewrite(given, Rewrite::Comparable).ok()?, false));
    }
    if input.choices.one_in(2) {
        let shape = input.choices.pick(&Shape::ALL);
        let wasm = module_of(input.rest, shape).ok()?;
        return Some((modules::rewrite(&wasm, Rewrite::Comparable).ok()?, false));
    }
    let mut config = modules::config(&mut input.choices, Imports::Functions);
    config.allow_start_export = false;
    config.relaxed_simd_enabled = false;
    config.memory_max_size_required = true;
    config.table_max_size_required = true;
    let mut bytes = arbitrary::Unstructured::new(input.rest);
    let mut module = wasm_smith::Module::new(config, &mut bytes).ok()?;
    module.ensure_termination(200).ok()?;
    Some((modules::rewrite(&module.to_bytes(), Rewrite::Comparable).ok()?, true))
}

/// Whether nothing in it is too large to be compared, and nothing is run before both sides are
/// there.
fn fits(wasm: &[u8]) -> Result<bool> {
    let small = |ty: wasmparser::MemoryType| ty.maximum.is_some_and(|pages| pages <= MAX_PAGES);
    for payload in Parser::new(0).parse_all(wasm) {
        let fits = match payload? {
            Payload::MemorySection(memories) => memories.into_iter().all(|ty| ty.is_ok_and(small)),
            Payload::TableSection(tables) => {
                tables.into_iter().all(|table| table.is_ok_and(|table| table.ty.initial <= 10_000))
            }
            Payload::StartSection { .. } => false,
            _ => true,
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an error says that one of the sides does not do this, and not that the sides differ.
fn is_no_difference(error: &str) -> bool {
    ["not supported", "only functions are imported", TOO_LONG]
        .iter()
        .any(|text| error.contains(text))
}
