//! Calls that are nested, suspended, resumed, dropped, trapping and panicking, in any order, with
//! handles of all their frames.

use super::Outcome;
use super::model::{Call, Run, Running, World};
use crate::panics::message;
use crate::{Choices, threads};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use stillframe::{
    AsContext, AsContextMut, Caller, Config, Engine, FrameError, FrameHandle, FrameState, Instance,
    Linker, Module, Store, StoreContextMut, Trap, Val,
};

/// `run` goes `depth` frames down, by calls of different kinds, and calls the host `times` times
/// from there; behind 3 times it ends in a trap.
const WAT: &str = r#"
(module
  (import "host" "h" (func $h (result i32)))
  (tag $oops)
  (func $bottom (param $times i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $h)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum))
  (func $throws (param $times i32) (drop (call $bottom (local.get $times))) (throw $oops))
  (func $catches (param $times i32) (result i32)
    (block $caught
      (try_table (catch $oops $caught) (call $throws (local.get $times)))
      (unreachable))
    (call $bottom (i32.const 1)))
  (func $down (param $depth i32) (param $times i32) (result i32)
    (if (i32.eqz (local.get $depth)) (then (return (call $bottom (local.get $times)))))
    (if (i32.eq (local.get $depth) (i32.const 5)) (then
      (return (call $catches (local.get $times)))))
    (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $times)))
  (func (export "run") (param $depth i32) (param $times i32) (result i32)
    (call $down (local.get $depth) (local.get $times))
    (if (i32.eq (local.get $times) (i32.const 3)) (then (unreachable)))))
"#;

/// What a host function panics with.
const ON_PURPOSE: &str = "on purpose";

/// Runs a world.
pub(super) fn run(mut choices: Choices<'_>, operations: usize) -> Result<Outcome> {
    let writes = choices.one_in(2);
    let state = choices.pick(&[FrameState::Live, FrameState::All, FrameState::Off]);
    let cache = choices.pick(&[3, 0, 1, 4096]);
    let mut config = Config::new();
    config.consume_fuel(true).frame_state(state).frame_writes(writes).frame_cache_size(cache);
    let engine = Engine::new(config.parallel_compilation(false))?;
    let module = Module::new(&engine, WAT)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "h", |mut caller: Caller<'_, World>| match host(&mut caller) {
        Ok(Ending::Return) => Ok(1),
        Ok(Ending::Fail) => Err(anyhow!("wait")),
        Ok(Ending::Panic) => resume_unwind(Box::new(ON_PURPOSE)),
        Err(error) => {
            caller.data_mut().failure.get_or_insert(error);
            Err(anyhow!("a failure was found"))
        }
    })?;
    // Without state it is refused.
    let can_write = writes && state != FrameState::Off;
    play(&engine, &module, &linker, World::new(choices, operations, can_write))
        .with_context(|| format!("{state:?}, writes {writes}, a cache of {cache}"))
}

fn play(engine: &Engine, module: &Module, linker: &Linker<World>, world: World) -> Result<Outcome> {
    let mut store = Store::new(engine, world);
    store.set_fuel(1 << 40)?;
    let instance: Instance = linker.instantiate(&mut store, module)?;
    store.data_mut().run = Some(instance.get_typed_func(&mut store, "run")?);
    while store.data().left > 0 {
        step(store.as_context_mut())?;
        noted(store.data_mut())?;
    }
    for at in 0..store.data().held.len() {
        let (frame, period) = store.data().held[at].clone();
        let lasts = store.data().lasts(period);
        check_one(&store.as_context_mut(), &frame, lasts)?;
    }
    // Suspended calls are dropped with the store's data, when the store is gone.
    store.data_mut().seen.worlds += 1;
    Ok(store.data().seen)
}

/// What a host function has noted.
fn noted(world: &mut World) -> Result<()> {
    world.failure.take().map_or(Ok(()), Err).context("in a host function")
}

/// What the host function does in the end.
enum Ending {
    Return,
    /// If the call is resumable it is suspended, and nothing has run.
    Fail,
    Panic,
}

fn host(caller: &mut Caller<'_, World>) -> Result<Ending> {
    let world = caller.data_mut();
    let period = world.begin_period();
    let depth = world.activations.len();
    world.activations[depth - 1].period = Some(period);
    world.seen.deep += u64::from(depth >= 5);
    for _ in 0..1 + world.choices.below(6) {
        step(caller.as_context_mut())?;
    }
    let world = caller.data_mut();
    ensure!(world.activations.len() == depth, "activations are left");
    let ending = match world.choices.below(12) {
        0 | 1 => Ending::Fail,
        2 => Ending::Panic,
        _ => Ending::Return,
    };
    if let Ending::Return = ending {
        world.end_period(period)?;
        world.activations[depth - 1].period = None;
    }
    Ok(ending)
}

/// One operation, in a host function or outside of all calls.
fn step(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let world = store.data_mut();
    if world.left == 0 {
        return Ok(());
    }
    world.left -= 1;
    let can_nest = world.activations.len() < 8;
    match world.choices.below(15) {
        0 | 1 if can_nest => call(store),
        2..=4 if can_nest => call_resumable(store),
        5 if can_nest => resume(store),
        6 => drop_suspended(store),
        7 | 8 => take(store),
        9 => take_suspended(store),
        10 => write(store),
        11 => elsewhere(store),
        _ => check(store),
    }
}

/// What entering wasm came to, and the period of the host function in which it was left, if it was.
type Entered<R> = (Option<R>, Option<usize>);

/// Enters wasm with `go`, in the model too. The result is `None` if a host function panicked.
fn enter<R>(
    mut store: StoreContextMut<'_, World>,
    go: impl FnOnce(StoreContextMut<'_, World>, Run, (i32, i32)) -> R,
) -> Result<Entered<R>> {
    let world = store.data_mut();
    world.activations.push(Running { period: None });
    let depth = world.activations.len();
    let run = world.run.context("a function")?;
    let args = (world.choices.below(8) as i32, 1 + world.choices.below(3) as i32);
    let result = catch_unwind(AssertUnwindSafe(|| go(store.as_context_mut(), run, args)));
    let world = store.data_mut();
    noted(world)?;
    ensure!(world.activations.len() == depth, "activations are left");
    let period = world.activations.pop().context("an activation")?.period;
    let result = match result {
        Ok(result) => Some(result),
        Err(panic) => {
            let text = message(&*panic);
            ensure!(text == ON_PURPOSE, "it panicked: {text}");
            world.seen.panicked += 1;
            None
        }
    };
    Ok((result, period))
}

fn call(mut store: StoreContextMut<'_, World>) -> Result<()> {
    store.data_mut().seen.nested += u64::from(!store.data().activations.is_empty());
    let (result, period) = enter(store.as_context_mut(), |store, run, args| run.call(store, args))?;
    let world = store.data_mut();
    if let Some(period) = period {
        ensure!(!matches!(result, Some(Ok(_))), "a host function has failed, and it returned");
        world.end_period(period)?;
    }
    world.seen.trapped += u64::from(matches!(result, Some(Err(_))));
    Ok(())
}

fn call_resumable(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let world = store.data_mut();
    let (little, fuel) = (world.choices.one_in(4), world.choices.below(60) as u64);
    let outcome = enter(store.as_context_mut(), |mut store, run, args| {
        if little {
            store.set_fuel(fuel)?;
        }
        run.call_resumable(store, args)
    })?;
    store.set_fuel(1 << 40)?;
    keep(store, outcome)
}

fn resume(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let world = store.data_mut();
    if world.suspended.is_empty() {
        return Ok(());
    }
    let at = world.choices.below(world.suspended.len());
    let (call, period) = world.suspended.swap_remove(at);
    world.end_period(period)?;
    world.seen.resumed += 1;
    // A call with little fuel may be around this one.
    store.set_fuel(1 << 40)?;
    let outcome = enter(store.as_context_mut(), |store, _, _| -> Result<Call> {
        Ok(match call {
            Call::HostTrap(call) => call.resume(store, &[Val::I32(1)])?,
            Call::OutOfFuel(call) => call.resume(store)?,
            other => bail!("{other:?}"),
        })
    })?;
    keep(store, outcome)
}

/// What became of a call that was made or resumed resumably.
fn keep(mut store: StoreContextMut<'_, World>, outcome: Entered<Result<Call>>) -> Result<()> {
    let world = store.data_mut();
    match outcome {
        (Some(Ok(call @ Call::HostTrap(_))), Some(period)) => {
            world.seen.suspended += 1;
            world.suspended.push((call, period));
        }
        (Some(Ok(call @ Call::OutOfFuel(_))), None) => {
            let period = world.begin_period();
            world.seen.suspended += 1;
            world.suspended.push((call, period));
        }
        (Some(Ok(Call::Finished(_))), None) => {}
        (Some(Err(error)), None) => {
            let trap = error.downcast_ref();
            ensure!(trap == Some(&Trap::UnreachableCodeReached), "it failed: {error:?}");
            world.seen.trapped += 1;
        }
        (None, Some(period)) => world.end_period(period)?,
        (result, period) => bail!("{result:?} in period {period:?}"),
    }
    Ok(())
}

fn drop_suspended(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let world = store.data_mut();
    // Some stay, so that there are many at once.
    if world.suspended.len() < 10 {
        return Ok(());
    }
    let at = world.choices.below(world.suspended.len());
    let (call, period) = world.suspended.swap_remove(at);
    world.end_period(period)?;
    world.seen.dropped += 1;
    match world.choices.one_in(4) {
        true => threads::elsewhere(move || drop(call)),
        false => drop(call),
    }
    Ok(())
}

/// Takes handles of frames of the calls that run, and checks which activations they are of.
fn take(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let frames: Vec<_> = store.frames().collect();
    let world = store.data_mut();
    let periods: Option<Vec<_>> = world.activations.iter().rev().map(|a| a.period).collect();
    let periods = periods.context("wasm runs, and the host too")?;
    let by_activation: Vec<_> = frames.chunk_by(|a, b| a.activation() == b.activation()).collect();
    ensure!(by_activation.len() == periods.len(), "{} activations", by_activation.len());
    for (frames, period) in by_activation.into_iter().zip(periods) {
        for frame in frames {
            if world.choices.one_in(3) {
                world.hold(frame.clone(), period);
            }
        }
    }
    Ok(())
}

fn take_suspended(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let count = store.data().suspended.len();
    if count == 0 {
        return Ok(());
    }
    let at = store.data_mut().choices.below(count);
    let (call, period) = &store.data().suspended[at];
    let (frames, period): (Vec<_>, _) = (call.frames(store.as_context())?.collect(), *period);
    let last = frames.last().context("a suspended call has frames")?;
    ensure!(last.parent(store.as_context())?.is_none(), "the outermost frame has a parent");
    for frame in frames {
        store.data_mut().hold(frame, period);
    }
    Ok(())
}

/// A handle that is held, and its period.
fn any_held(store: &mut StoreContextMut<'_, World>) -> Option<(FrameHandle, usize)> {
    let count = store.data().held.len();
    let at = (count > 0).then(|| store.data_mut().choices.below(count))?;
    Some(store.data().held[at].clone())
}

/// Compares handles with what the model says of them.
fn check(mut store: StoreContextMut<'_, World>) -> Result<()> {
    for _ in 0..100 {
        let Some((frame, period)) = any_held(&mut store) else { return Ok(()) };
        let lasts = store.data().lasts(period);
        check_one(&store, &frame, lasts)?;
        let seen = &mut store.data_mut().seen;
        *(if lasts { &mut seen.good } else { &mut seen.stale }) += 1;
    }
    Ok(())
}

fn check_one(store: &StoreContextMut<'_, World>, frame: &FrameHandle, lasts: bool) -> Result<()> {
    let is_valid = frame.is_valid(store);
    ensure!(is_valid == lasts, "{frame:?}: that it is valid is {is_valid}");
    let index = frame.func_index(store);
    let parent = frame.parent(store);
    let locals = frame.locals(store);
    if !lasts {
        let stale = FrameError::Stale;
        let answers = (index, parent, locals.err());
        ensure!(answers == (Err(stale), Err(stale), Some(stale)), "{frame:?}: {answers:?}");
        return Ok(());
    }
    let index = index?;
    ensure!((1..=5).contains(&index), "function {index}");
    if let Some(parent) = parent? {
        ensure!(parent.is_valid(store) && parent != *frame, "the parent of {frame:?}");
    }
    // What is read is something that the guest can have had there.
    for local in locals? {
        if let Ok(value) = local.value {
            ensure!((0..100).contains(&value.unwrap_i32()), "{local:?} of {frame:?}");
        }
    }
    Ok(())
}

/// Writes to a local, or tries to, as it must not be.
fn write(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let running = store.frames().next().zip(store.data().activations.last().and_then(|a| a.period));
    let any = any_held(&mut store);
    let wants_running = store.data_mut().choices.one_in(2);
    let Some((frame, period)) = running.filter(|_| wants_running).or(any) else { return Ok(()) };
    let world = store.data_mut();
    let (lasts, writes) = (world.lasts(period), world.writes);
    let (index, wrong) = (world.choices.below(4), world.choices.one_in(4));
    // As a loop's count and as a depth, it ends soon.
    let number = 1 + world.choices.below(3) as i32;
    let value = if wrong { Val::F32(0) } else { Val::I32(number) };
    let readable = frame.local(&store, index).map(|_| ());
    let written = frame.set_local(&mut store, index, value);
    let expected: &[FrameError] = match &written {
        _ if !lasts => &[FrameError::Stale],
        _ if !writes => &[FrameError::ReadOnly],
        Err(FrameError::OutOfRange { .. } | FrameError::NotLive) => {
            ensure!(written == readable, "{written:?} where reading says {readable:?}");
            return Ok(());
        }
        Err(FrameError::TypeMismatch { .. }) if wrong => return Ok(()),
        _ => &[],
    };
    match (written, expected) {
        (Err(error), [expected]) if error == *expected => Ok(()),
        (Ok(()), []) if !wrong => {
            let now = frame.local(&store, index)?;
            ensure!(now.i32() == Some(number), "{now:?} instead of {number}");
            store.data_mut().seen.changed += 1;
            Ok(())
        }
        (written, _) => bail!("writing {value:?} to local {index} of {frame:?}: {written:?}"),
    }
}

/// Uses a handle with another store, and a handle of another store here.
fn elsewhere(mut store: StoreContextMut<'_, World>) -> Result<()> {
    let Some((frame, _)) = any_held(&mut store) else { return Ok(()) };
    let mut other = Store::new(store.engine(), ());
    let answers = [
        frame.func_index(&other).err(),
        frame.local(&other, usize::MAX).err(),
        frame.set_local(&mut other, 0, Val::I32(1)).err(),
        frame.parent(&other).err(),
    ];
    let wrong = Some(FrameError::WrongStore);
    ensure!(!frame.is_valid(&other) && answers.iter().all(|a| *a == wrong), "{answers:?}");
    store.data_mut().seen.strange += 1;
    Ok(())
}
