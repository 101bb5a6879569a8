//! The same results as wasmi and wasmtime.
//!
//! ```text
//!   module ─ rewrite ─► comparable module, which exports all and makes canonical NaNs
//!                         │
//!     for each call:      ├─ wasmtime   goes first: if it runs out of fuel or stack, that is all
//!                         ├─ ours       any settings, plainly or in pieces of fuel
//!                         ├─ the reference interpreter
//!                         └─ wasmi      where it has the proposals
//!                         ▼
//!     results or trap, host calls, memories, tables, globals, fuel
//! ```
//!
//! Fuel is compared with wasmtime where calls return, and with the interpreter however they end.
//!
//! wasmi 2.0.0 has bugs of its own: where it is alone against the other three, it sits out from
//! there on, and [`Outcome::wasmi_alone`] counts that.
//!
//! A guest may run for ever, so that something must stop it in wasmtime: fuel, or, for half of the
//! random modules, a counter of their own, which is the last global. With fuel, bulk operations on
//! many bytes are never executed, since each costs a unit.
//!
//! What is allowed to differ does not end in a report: stack overflow, and where memory for a peer's
//! garbage collector runs out. With relaxed SIMD wasmi sits out; what wasmtime decides otherwise than
//! we do is rewritten.

mod guest;
mod host;
mod ours;
mod reference;
mod value;
mod wasmi;
mod wasmtime;

use crate::configs::{Costs, Settings};
use crate::modules::{self, Imports, Rewrite};
use crate::{Choices, Input};
use anyhow::{Context, Result, bail, ensure};
use guest::{Ending, Kind};
pub(crate) use guest::{Exports, Guest};
pub(crate) use ours::{Mode, Ours};
use value::Given;
use wasmparser::WasmFeatures;

/// Units of fuel for each call in wasmtime.
const BUDGET: u64 = 60_000;

/// Entries of functions and loops for each call, in modules that count themselves.
const STEPS: u32 = 2_000;

/// What inputs came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Inputs with a valid module that we support.
    pub modules: usize,
    /// Instances whose calls were compared.
    pub instances: usize,
    /// Instances in which wasmi took part.
    pub with_wasmi: usize,
    /// Calls that ended alike.
    pub calls: usize,
    /// Those of them that returned.
    pub returned: usize,
    /// Those of them that trapped.
    pub trapped: usize,
    /// Those of them that ended with an exception.
    pub threw: usize,
    /// Those of them in which a host function failed.
    pub host_failed: usize,
    /// Calls of host functions.
    pub host_calls: usize,
    /// Instances in which wasmi did what nobody else did.
    pub wasmi_alone: usize,
    /// Calls that wasmi made.
    pub calls_of_wasmi: usize,
    /// Calls whose fuel was compared with wasmtime's.
    pub fuel: usize,
    /// How often our calls were suspended.
    pub suspensions: u64,
    /// Comparisons that ended early because an engine ran out of fuel or stack.
    pub exhausted: usize,
}

impl Outcome {
    /// Adds another outcome's numbers.
    pub fn add(&mut self, more: &Outcome) {
        self.modules += more.modules;
        self.instances += more.instances;
        self.with_wasmi += more.with_wasmi;
        self.calls += more.calls;
        self.returned += more.returned;
        self.trapped += more.trapped;
        self.threw += more.threw;
        self.host_failed += more.host_failed;
        self.host_calls += more.host_calls;
        self.wasmi_alone += more.wasmi_alone;
        self.calls_of_wasmi += more.calls_of_wasmi;
        self.fuel += more.fuel;
        self.suspensions += more.suspensions;
        self.exhausted += more.exhausted;
    }
}

/// How a module is run.
#[derive(Clone, Debug)]
struct Plan {
    settings: Settings,
    mode: Mode,
    /// Units of fuel for wasmtime; none for modules that count themselves.
    budget: Option<u64>,
    /// Whether wasmtime optimises.
    optimised: bool,
    seed: u64,
}

/// Runs the input.
///
/// # Errors
///
/// If the engines differ.
pub fn run(data: &[u8]) -> Result<Outcome> {
    let Some(mut input) = Input::new(data) else { return Ok(Outcome::default()) };
    let mut plan = Plan {
        settings: Settings::choose(&mut input.choices),
        mode: match input.choices.one_in(2) {
            true => Mode::Plain,
            false => Mode::Pieces(input.choices.pick(&[1, 10, 1000, 20_000])),
        },
        budget: Some(BUDGET),
        optimised: input.choices.one_in(2),
        seed: 0,
    };
    let wasm = match input.given() {
        Some(given) => Some(given.to_vec()),
        None => {
            let steps = input.choices.one_in(2).then_some(STEPS);
            plan.budget = if steps.is_some() { None } else { Some(BUDGET) };
            let imports = input.choices.pick(&[Imports::All, Imports::Functions]);
            modules::random(&mut input, imports, steps)
        }
    };
    let Some(wasm) = wasm else { return Ok(Outcome::default()) };
    plan.seed = input.choices.number();
    let Ok(wasm) = modules::rewrite(&wasm, Rewrite::Comparable) else {
        return Ok(Outcome::default());
    };
    let compared = match compare(&wasm, &plan, &mut input.choices) {
        Err(error) if modules::is_too_large(&error) => Ok(Outcome::default()),
        compared => compared,
    };
    if compared.is_err() {
        modules::keep(&wasm);
    }
    compared.with_context(|| format!("{plan:?}"))
}

/// What wasmi has.
fn wasmi_features() -> WasmFeatures {
    modules::features()
        - WasmFeatures::EXCEPTIONS
        - WasmFeatures::THREADS
        - WasmFeatures::RELAXED_SIMD
}

fn compare(wasm: &[u8], plan: &Plan, choices: &mut Choices<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let exports = Exports::of(wasm)?;
    let theirs = wasmtime::Wasmtime::new(wasm, &exports, plan.seed, plan.budget, plan.optimised);
    if let Err(Ending::Refused(why)) = &theirs
        && why.contains("an imported tag")
    {
        return Ok(outcome);
    }
    outcome.modules = 1;
    let may_overflow = exports.have_huge_frames();
    let may_run_out = plan.budget.is_none() || plan.settings.costs == Costs::Dear;
    if theirs.as_ref().err().is_some_and(Ending::depends_on_engine) {
        outcome.exhausted = 1;
        return Ok(outcome);
    }
    let ours = Ours::new(wasm, &exports, plan.seed, &plan.settings, plan.mode)?;
    let reference = reference::Reference::new(wasm, &exports, plan.seed);
    let judged = !reference.as_ref().err().is_some_and(Ending::depends_on_engine);
    let wasmi = modules::is_valid(wasm, wasmi_features())
        .then(|| wasmi::Wasmi::new(wasm, &exports, plan.seed));
    let (theirs, mut ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(theirs), Err(ours)) => {
            ensure!(
                theirs.agrees(&ours),
                "instantiation ended differently: wasmtime {theirs:?}, ours {ours:?}"
            );
            match reference {
                Ok(_) => bail!("only the reference interpreter instantiates: ours {ours:?}"),
                Err(reference) => ensure!(
                    reference.agrees(&ours) || reference.depends_on_engine(),
                    "instantiation ended differently: interpreter {reference:?}, ours {ours:?}"
                ),
            }
            // Segments that do not fit are refused by wasmi in other words.
            let differs = match &wasmi {
                Some(Ok(_)) => true,
                Some(Err(Ending::Refused(_))) | None => false,
                Some(Err(wasmi)) => !wasmi.depends_on_engine() && !wasmi.agrees(&ours),
            };
            let wasmi = wasmi.map(|wasmi| wasmi.err());
            ensure!(!differs || judged, "instantiating: wasmi {wasmi:?}, ours {ours:?}");
            outcome.wasmi_alone = usize::from(differs);
            return Ok(outcome);
        }
        (Ok(_), Err(Ending::Trapped(kind)))
            if kind == Kind::OutOfFuel && may_run_out
                || kind == Kind::StackOverflow && may_overflow =>
        {
            outcome.exhausted = 1;
            return Ok(outcome);
        }
        (Ok(_), Err(ours)) => bail!("only our instantiation failed: {ours:?}"),
        (Err(theirs), Ok(_)) => bail!("only wasmtime's instantiation failed: {theirs:?}"),
    };
    let mut peers = vec![Peer { name: WASMTIME, guest: Box::new(theirs) }];
    match reference {
        Ok(guest) => peers.push(Peer { name: REFERENCE, guest: Box::new(guest) }),
        Err(error) if error.depends_on_engine() => {}
        Err(error) => bail!("only the interpreter's instantiation failed: {error:?}"),
    }
    match wasmi {
        None => {}
        Some(Ok(guest)) => peers.push(Peer { name: WASMI, guest: Box::new(guest) }),
        Some(Err(error)) if error.depends_on_engine() => {}
        Some(Err(_)) if judged => outcome.wasmi_alone = 1,
        Some(Err(error)) => bail!("only wasmi's instantiation failed: {error:?}"),
    }
    outcome.instances = 1;
    outcome.with_wasmi = usize::from(peers.iter().any(|peer| peer.name == WASMI));
    let mut comparison = Comparison { ours: &mut ours, peers, may_run_out, may_overflow, outcome };
    comparison.states("after instantiation")?;
    for number in 0..calls(&exports) {
        if plan.budget.is_none() {
            // The counter starts again.
            let global = exports.globals - 1;
            comparison.ours.set_global(global, STEPS);
            comparison.peers.iter_mut().for_each(|peer| peer.guest.set_global(global, STEPS));
        }
        // Each function once, then any.
        let function = match number < exports.functions.len() {
            true => number as u32,
            false => choices.below(exports.functions.len()) as u32,
        };
        let params = exports.params(function, choices);
        let went_on = comparison.call(function, &params)?;
        if !went_on {
            comparison.outcome.exhausted = 1;
            break;
        }
        comparison.states(&format!("after f{function}{params:x?}"))?;
    }
    let mut outcome = comparison.outcome;
    outcome.host_calls = ours.host().calls.len();
    outcome.suspensions = ours.suspensions;
    Ok(outcome)
}

/// How many calls are made.
fn calls(exports: &Exports) -> usize {
    match exports.functions.len() {
        0 => 0,
        some => (2 * some).clamp(4, 40).max(some).min(100),
    }
}

const WASMTIME: &str = "wasmtime";
const REFERENCE: &str = "the reference interpreter";
const WASMI: &str = "wasmi";

/// An instance that ours is compared with.
struct Peer {
    name: &'static str,
    guest: Box<dyn Guest>,
}

struct Comparison<'a> {
    ours: &'a mut Ours,
    /// Wasmtime first.
    peers: Vec<Peer>,
    /// Whether ours may run out of fuel, of which it has plenty: where an operation is charged by
    /// its length, which is beyond all bounds, and wasmtime does not charge it so.
    may_run_out: bool,
    /// Whether ours may overflow the stack.
    may_overflow: bool,
    outcome: Outcome,
}

impl Comparison<'_> {
    /// Makes a call everywhere. Returns whether all can go on.
    fn call(&mut self, function: u32, params: &[Given]) -> Result<bool> {
        let mut endings = Vec::new();
        let mut peers = std::mem::take(&mut self.peers);
        for peer in &mut peers {
            let ending = peer.guest.call(function, params);
            // What a peer refuses while it runs is memory for its own purposes.
            let sits_out = ending.depends_on_engine() || matches!(ending, Ending::Refused(_));
            if sits_out && peer.name == WASMTIME {
                return Ok(false);
            }
            endings.push((!sits_out).then_some(ending));
        }
        let call = || format!("f{function}{params:x?}");
        let found = self.ours.call(function, params);
        let exhausted = match found {
            Ending::Trapped(Kind::OutOfFuel) => self.may_run_out,
            Ending::Trapped(Kind::StackOverflow) => self.may_overflow,
            _ => false,
        };
        if exhausted {
            return Ok(false);
        }
        for (mut peer, ending) in peers.into_iter().zip(endings) {
            let Some(ending) = ending else { continue };
            if !ending.agrees(&found) && self.is_alone(&peer) {
                continue;
            }
            let name = peer.name;
            ensure!(ending.agrees(&found), "{}: {name} {ending:x?}, ours {found:x?}", call());
            let comparable = name == REFERENCE || matches!(found, Ending::Returned(_));
            if comparable
                && let (Some(theirs), Some(ours)) = (peer.guest.consumed(), self.ours.consumed())
            {
                ensure!(theirs == ours, "{}: fuel of {name} {theirs}, ours {ours}", call());
                self.outcome.fuel += usize::from(name == WASMTIME);
            }
            self.outcome.calls_of_wasmi += usize::from(name == WASMI);
            self.peers.push(peer);
        }
        self.outcome.calls += 1;
        match found {
            Ending::Returned(_) => self.outcome.returned += 1,
            Ending::Trapped(_) => self.outcome.trapped += 1,
            Ending::Threw => self.outcome.threw += 1,
            Ending::HostFailed(_) => self.outcome.host_failed += 1,
            Ending::Refused(why) => bail!("{}: our engine refused: {why}", call()),
        }
        Ok(true)
    }

    /// Whether a peer that differs is wasmi, while the interpreter takes part, which has agreed.
    fn is_alone(&mut self, peer: &Peer) -> bool {
        let alone = peer.name == WASMI && self.peers.iter().any(|peer| peer.name == REFERENCE);
        self.outcome.wasmi_alone += usize::from(alone);
        alone
    }

    /// Compares all that can be seen.
    fn states(&mut self, when: &str) -> Result<()> {
        let small = self.ours.state(false).memories.iter().map(|memory| memory.size).sum::<usize>()
            <= 256 << 10;
        let whole = small || self.outcome.calls.is_multiple_of(4);
        let found = self.ours.state(whole);
        for mut peer in std::mem::take(&mut self.peers) {
            let difference = peer.guest.state(whole).difference(&found).or_else(|| {
                let (theirs, ours) = (&peer.guest.host().calls, &self.ours.host().calls);
                let at = theirs.iter().zip(ours).position(|(a, b)| a != b);
                let at =
                    at.or((theirs.len() != ours.len()).then_some(theirs.len().min(ours.len())))?;
                Some(format!(
                    "call {at} of the host: {:x?} and {:x?}",
                    theirs.get(at),
                    ours.get(at)
                ))
            });
            match difference {
                None => self.peers.push(peer),
                Some(_) if self.is_alone(&peer) => {}
                Some(difference) => bail!("{when}: {} and ours: {difference}", peer.name),
            }
        }
        Ok(())
    }
}
