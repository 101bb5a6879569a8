//! Fuel is linear in the table of costs: what a run consumes under the table `a + b` is what it
//! consumes under `a` and what it consumes under `b`, whatever the tables are, in pieces or not.
//!
//! So each operator is charged once, wherever it stands and however the run ends, without anybody
//! having to say how many operators are executed.

use super::Outcome;
use super::guest::choices_of;
use super::state::kind;
use crate::configs::Settings;
use crate::modules::{self, Imports, Rewrite};
use crate::{Choices, Input};
use anyhow::{Context as _, Result, bail, ensure};
use stillframe::{
    Engine, Extern, ExternType, Func, Instance, Module, OperatorCosts, ResumableCall, Store, Trap,
    Val,
};
use stillframe_lockstep::Program;

/// Operators that may cost something, beside those below.
const OPERATORS: &str = "local.get local.set local.tee global.get global.set i32.const i64.const \
    f32.const f64.const v128.const i32.add i32.sub i32.eqz i64.add ref.is_null ref.func ref.null \
    select drop nop end else block loop if return unreachable i32.load i64.load i32.store \
    i64.store i32.div_s i32.div_u i32.rem_u i64.div_s memory.fill memory.copy memory.init \
    memory.grow memory.size data.drop elem.drop table.get table.set table.fill table.copy \
    table.init table.grow table.size";
/// What costs something for each byte or element, and the entry.
const UNITS: [&str; 9] = [
    "function entry",
    "memory.fill per byte",
    "memory.copy per byte",
    "memory.init per byte",
    "memory.grow per page",
    "table.copy per element",
    "table.fill per element",
    "table.init per element",
    "table.grow per element",
];
/// What always costs the most, so that everything ends.
const BACK: [&str; 10] = [
    "br",
    "br_if",
    "br_table",
    "call",
    "call_indirect",
    "return_call",
    "return_call_indirect",
    "throw",
    "throw_ref",
    "try_table",
];
/// Exported functions that are called, at most.
const MAX_CALLS: usize = 8;

type Costs = Vec<(String, u32)>;

/// Runs the input.
pub(super) fn run(mut input: Input<'_>) -> Result<Outcome> {
    let kinds = input.choices.pick(&[[0, 0, 1], [0, 1, 1000], [0, 7, 0x3fff_ffff]]);
    let settings = Settings { fuel: true, ..Settings::choose(&mut input.choices) };
    let seed = input.choices.number();
    let (a, b) = (costs(&mut input.choices, kinds), costs(&mut input.choices, kinds));
    let both: Costs = a.iter().zip(&b).map(|((name, a), (_, b))| (name.clone(), a + b)).collect();
    let Some(wasm) = wasm(&mut input) else { return Ok(Outcome::default()) };
    let engines = [engine(&settings, &a)?, engine(&settings, &b)?, engine(&settings, &both)?];
    let mut modules = Vec::new();
    for engine in &engines {
        let Ok(module) = Module::new(engine, &wasm) else { return Ok(Outcome::default()) };
        modules.push(module);
    }
    let exports = modules[0].exports().filter(|export| export.ty().func().is_some());
    let names: Vec<String> =
        exports.map(|export| export.name().to_string()).take(MAX_CALLS).collect();
    let fuel = 10_000 * u64::from(kinds[2]);
    let mut outcome = Outcome::default();
    for name in names {
        let piece = 1 + u64::from(kinds[2]) * input.choices.below(50) as u64;
        let mut ends = Vec::new();
        for module in &modules {
            ends.push(call(module, &name, fuel, None, seed)?);
        }
        let [Some(a), Some(b), Some(both)] = &ends[..] else { continue };
        let what = || format!("{name}, {a:?} and {b:?}, together {both:?}, {settings:?}");
        ensure!((&a.0, &b.0) == (&both.0, &both.0), "they end otherwise: {}", what());
        ensure!(a.1 + b.1 == both.1, "the sum is another: {}", what());
        let cut = call(&modules[2], &name, u64::MAX, Some(piece), seed)?;
        ensure!(cut.as_ref() == Some(both), "in pieces of {piece}: {cut:?}: {}", what());
        outcome.linear += 1;
    }
    Ok(outcome)
}

fn costs(choices: &mut Choices<'_>, kinds: [u32; 3]) -> Costs {
    let mut choices = choices_of(choices.number());
    let mut costs = Costs::new();
    for name in OPERATORS.split_whitespace().chain(UNITS) {
        costs.push((name.to_string(), choices.pick(&kinds)));
    }
    costs.extend(BACK.map(|name| (name.to_string(), kinds[2])));
    costs
}

fn engine(settings: &Settings, costs: &Costs) -> Result<Engine> {
    let mut table = OperatorCosts::free();
    for (name, cost) in costs {
        table.set(name, *cost)?;
    }
    Engine::new(settings.config().operator_costs(table))
}

fn wasm(input: &mut Input<'_>) -> Option<Vec<u8>> {
    if input.given().is_none() && input.choices.one_in(2) {
        let (seed, size) = (input.choices.number(), input.choices.pick(&[60, 200, 800]));
        return wat::parse_str(Program::new(seed, size).wat(&[])).ok();
    }
    let wasm = match input.given() {
        Some(given) => given.to_vec(),
        None => modules::random(input, Imports::Functions, Some(200))?,
    };
    modules::rewrite(&wasm, Rewrite::Comparable).ok()
}

/// Calls a function in a store of its own, in pieces or at once. Returns what it ended in, and what
/// it consumed; None if that says nothing.
fn call(
    module: &Module,
    name: &str,
    fuel: u64,
    piece: Option<u64>,
    seed: u64,
) -> Result<Option<(Option<String>, u64)>> {
    let mut store = Store::new(module.engine(), ());
    store.set_epoch_deadline(1 << 40);
    store.set_fuel(fuel)?;
    let mut imports = Vec::new();
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { return Ok(None) };
        let zeros: Vec<Val> = ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
        let func = Func::new(&mut store, ty, move |_, _, results| {
            results.copy_from_slice(&zeros);
            Ok(())
        });
        imports.push(Extern::Func(func));
    }
    let Ok(instance) = Instance::new(&mut store, module, &imports) else { return Ok(None) };
    let func = instance.get_func(&mut store, name).context("an exported function")?;
    let ty = func.ty(&store);
    let mut choices = choices_of(seed);
    let args = ty.params().iter().map(|ty| match Val::default_for_ty(*ty) {
        Val::I32(_) => Val::I32(choices.below(4) as i32),
        Val::I64(_) => Val::I64(choices.below(4) as i64),
        other => other,
    });
    let args: Vec<Val> = args.collect();
    let mut results = vec![Val::I32(0); ty.results().len()];
    store.set_fuel(piece.unwrap_or(fuel))?;
    let before = store.fuel_consumed()?;
    let mut outcome = func.call_resumable(&mut store, &args, &mut results);
    loop {
        outcome = match outcome {
            Ok(ResumableCall::Finished) => {
                return Ok(Some((None, store.fuel_consumed()? - before)));
            }
            Ok(ResumableCall::OutOfFuel(call)) => {
                let Some(piece) = piece else { return Ok(None) };
                store.add_fuel(call.required_fuel().saturating_add(piece))?;
                call.resume(&mut store, &mut results).map_err(|error| error.into_error())
            }
            Ok(other) => bail!("it stopped: {other:?}"),
            Err(error) if error.downcast_ref() == Some(&Trap::StackOverflow) => return Ok(None),
            Err(error) => {
                return Ok(Some((Some(kind(&error)), store.fuel_consumed()? - before)));
            }
        };
    }
}
