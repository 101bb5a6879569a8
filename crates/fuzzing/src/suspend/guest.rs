//! What is run: a module, and the engines of both runs.

use crate::configs::{Costs, Settings};
use crate::modules::{self, Imports, Rewrite};
use crate::{Choices, Input};
use anyhow::Result;
use std::fmt;
use stillframe::{ExternType, Module};
use stillframe_lockstep::Program;

/// Memories that are larger are not copied about, in pages.
const MAX_PAGES: u64 = 64;
/// Exported functions that are called, at most.
const MAX_CALLS: usize = 8;

/// What is run.
pub(super) struct Guest {
    /// Compiled for the straight run, which always consumes fuel.
    pub(super) straight: Module,
    /// Compiled for the other one.
    pub(super) cut: Module,
    pub(super) settings: Settings,
    /// Whether the other run is one of asynchronous calls.
    pub(super) is_later: bool,
    /// Chooses arguments, and what host functions answer.
    pub(super) seed: u64,
    /// How many of the exported functions are called.
    pub(super) calls: usize,
    /// Fuel for the straight run.
    pub(super) fuel: u64,
    /// Where the module comes from, and the module: for whoever looks for the reason of a difference.
    origin: String,
    pub(super) wasm: Vec<u8>,
}

impl Guest {
    /// The guest that an input chooses. None if its module is not one that can be run.
    pub(super) fn choose(input: &mut Input<'_>) -> Result<Option<Guest>> {
        let cut = Settings::choose(&mut input.choices);
        let mut straight = match input.choices.one_in(2) {
            true => cut.clone(),
            false => Settings::choose(&mut input.choices),
        };
        straight.fuel = true;
        straight.costs = cut.costs;
        let is_later = input.choices.one_in(4);
        let seed = input.choices.number();
        let Some((wasm, origin)) = wasm(input) else { return Ok(None) };
        let (first, second) = (straight.engine()?, cut.engine()?);
        let Ok(module) = Module::new(&first, &wasm) else { return Ok(None) };
        if !fits(&module) {
            return Ok(None);
        }
        let second = match straight == cut {
            true => module.clone(),
            false => Module::new(&second, &wasm)?,
        };
        let exports = module.exports().filter(|export| export.ty().func().is_some()).count();
        let fuel = match cut.costs {
            Costs::Default => 20_000,
            Costs::Branches => 2_000,
            Costs::Dear => 5_000_000,
        };
        let calls = exports.min(MAX_CALLS);
        Ok(Some(Guest {
            straight: module,
            cut: second,
            settings: cut,
            is_later,
            seed,
            calls,
            fuel,
            origin,
            wasm,
        }))
    }
}

/// A module, and where it comes from.
fn wasm(input: &mut Input<'_>) -> Option<(Vec<u8>, String)> {
    if let Some(given) = input.given() {
        let wasm = modules::rewrite(given, Rewrite::Comparable).ok()?;
        return Some((wasm, "the module of the input".into()));
    }
    if input.choices.one_in(2) {
        let (seed, size) = (input.choices.number(), input.choices.pick(&[40, 120, 400]));
        let wasm = wat::parse_str(Program::new(seed, size).wat(&[])).expect("a valid program");
        return Some((wasm, format!("Program::new({seed}, {size})")));
    }
    let steps = input.choices.pick(&[20, 100, 1000]);
    let wasm = modules::random(input, Imports::All, Some(steps))?;
    let wasm = modules::rewrite(&wasm, Rewrite::Comparable).ok()?;
    Some((wasm, "a random module".into()))
}

/// Whether what it holds can be copied about.
fn fits(module: &Module) -> bool {
    let small = |ty: ExternType| match ty {
        ExternType::Memory(ty) => ty.minimum() <= MAX_PAGES,
        ExternType::Table(ty) => ty.minimum() <= 10_000,
        _ => true,
    };
    module.exports().all(|export| small(export.ty()))
        && module.imports().all(|import| small(import.ty()))
}

/// The choices of something that has its own.
pub(super) fn choices_of(seed: u64) -> Choices<'static> {
    Choices::new(&seed.to_le_bytes()).into_owned()
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guest { settings, is_later, seed, calls, origin, .. } = self;
        write!(f, "{origin}, {calls} calls, seed {seed:#x}, later {is_later}, {settings:?}")
    }
}
