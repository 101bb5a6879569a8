//! Random calls, nested, suspended, resumed, dropped, trapping and panicking, with thousands of
//! handles held at once; a model says which frozen periods last.
//!
//! The model knows nothing of frames: it numbers periods, and marks one as ended whenever an
//! activation goes back into wasm or ends.

use super::common::{engine, trap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use stillframe::{
    AsContext, AsContextMut, Caller, Engine, FrameError, FrameHandle, Instance, Linker, Module,
    Result, Store, StoreContextMut, Trap, TypedFunc, TypedResumableCall, Val, bail,
};

/// As the common guest's `run`; from other places, and with traps.
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

type Run = TypedFunc<(i32, i32), i32>;
type Call = TypedResumableCall<i32>;

/// Handles held at once.
const HELD: usize = 4000;

struct World {
    random: u64,
    /// Operations left.
    left: usize,
    run: Option<Run>,
    /// By number of the period: whether it lasts.
    lasts: Vec<bool>,
    /// The activations, outermost first.
    activations: Vec<Running>,
    suspended: Vec<(Call, usize)>,
    held: Vec<(FrameHandle, usize)>,
    seen: Seen,
}

/// An activation; `period` is `None` while wasm runs.
#[derive(Clone, Copy)]
struct Running {
    resumable: bool,
    period: Option<usize>,
}

/// How often the interesting things have happened.
#[derive(Default, Debug)]
struct Seen {
    good: usize,
    stale: usize,
    nested: usize,
    suspended: usize,
    resumed: usize,
    dropped: usize,
    trapped: usize,
    panicked: usize,
    deepest: usize,
    held: usize,
}

impl World {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % below
    }

    fn begin_period(&mut self) -> usize {
        self.lasts.push(true);
        self.lasts.len() - 1
    }

    fn end_period(&mut self, period: usize) {
        self.lasts[period] = false;
    }

    fn hold(&mut self, handle: FrameHandle, period: usize) {
        if self.held.len() < HELD {
            self.held.push((handle, period));
        } else {
            let at = self.random(HELD);
            self.held[at] = (handle, period);
        }
        self.seen.held = self.seen.held.max(self.held.len());
    }
}

/// What the host function does in the end.
enum Ending {
    Return,
    Fail,
    Panic,
}

fn host(mut caller: Caller<'_, World>) -> Result<i32> {
    let period = caller.data_mut().begin_period();
    let depth = caller.data().activations.len();
    caller.data_mut().activations[depth - 1].period = Some(period);
    caller.data_mut().seen.deepest = caller.data().seen.deepest.max(depth);
    let steps = 1 + caller.data_mut().random(6);
    for _ in 0..steps {
        step(caller.as_context_mut());
    }
    let world = caller.data_mut();
    assert_eq!(world.activations.len(), depth);
    let ending = match world.random(12) {
        0 | 1 => Ending::Fail,
        2 => Ending::Panic,
        _ => Ending::Return,
    };
    let resumable = world.activations[depth - 1].resumable;
    match ending {
        // It is suspended, and nothing has run.
        Ending::Fail if resumable => bail!("wait"),
        Ending::Fail => bail!("fail"),
        Ending::Panic => resume_unwind(Box::new("on purpose")),
        Ending::Return => {
            world.end_period(period);
            world.activations[depth - 1].period = None;
            Ok(1)
        }
    }
}

/// One operation, in a host function or outside of all calls.
fn step(mut store: StoreContextMut<'_, World>) {
    if store.data().left == 0 {
        return;
    }
    store.data_mut().left -= 1;
    let can_nest = store.data().activations.len() < 8;
    match store.data_mut().random(13) {
        0 | 1 if can_nest => call(store),
        2..=4 if can_nest => call_resumable(store),
        5 if can_nest => resume(store),
        6 => drop_suspended(store),
        7 | 8 => take(store),
        9 => take_suspended(store),
        _ => check(store),
    }
}

/// Enters wasm with `go`, in the model too. The result is `None` if a host function panicked.
fn enter<R>(
    mut store: StoreContextMut<'_, World>,
    resumable: bool,
    go: impl FnOnce(StoreContextMut<'_, World>, Run, (i32, i32)) -> R,
) -> (Option<R>, Option<usize>) {
    let world = store.data_mut();
    world.activations.push(Running { resumable, period: None });
    let depth = world.activations.len();
    let (run, args) = (world.run.unwrap(), (world.random(8), 1 + world.random(3)));
    let args = (args.0 as i32, args.1 as i32);
    let result = catch_unwind(AssertUnwindSafe(|| go(store.as_context_mut(), run, args))).ok();
    let world = store.data_mut();
    assert_eq!(world.activations.len(), depth);
    let period = world.activations.pop().unwrap().period;
    if result.is_none() {
        world.seen.panicked += 1;
    }
    (result, period)
}

fn call(mut store: StoreContextMut<'_, World>) {
    store.data_mut().seen.nested += 1;
    let (result, period) =
        enter(store.as_context_mut(), false, |store, run, args| run.call(store, args));
    let world = store.data_mut();
    if let Some(period) = period {
        // A host function has failed or panicked.
        assert!(!matches!(result, Some(Ok(_))));
        world.end_period(period);
    }
    world.seen.trapped += usize::from(matches!(result, Some(Err(_))));
}

fn call_resumable(mut store: StoreContextMut<'_, World>) {
    let little = store.data_mut().random(4) == 0;
    let fuel = store.data_mut().random(60) as u64;
    let outcome = enter(store.as_context_mut(), true, |mut store, run, args| {
        if little {
            store.set_fuel(fuel).unwrap();
        }
        run.call_resumable(store, args)
    });
    store.set_fuel(1 << 40).unwrap();
    keep(store, outcome);
}

fn resume(mut store: StoreContextMut<'_, World>) {
    let world = store.data_mut();
    if world.suspended.is_empty() {
        return;
    }
    let at = world.random(world.suspended.len());
    let (call, period) = world.suspended.swap_remove(at);
    world.end_period(period);
    world.seen.resumed += 1;
    let outcome = enter(store.as_context_mut(), true, |store, _, _| -> Result<Call> {
        Ok(match call {
            Call::HostTrap(call) => call.resume(store, &[Val::I32(1)])?,
            Call::OutOfFuel(call) => call.resume(store)?,
            other => panic!("{other:?}"),
        })
    });
    keep(store, outcome);
}

/// What became of a call that was made or resumed resumably.
fn keep(mut store: StoreContextMut<'_, World>, outcome: (Option<Result<Call>>, Option<usize>)) {
    let world = store.data_mut();
    let (result, period) = outcome;
    match (result, period) {
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
            assert_eq!(trap(Err::<(), _>(error)), Trap::UnreachableCodeReached);
            world.seen.trapped += 1;
        }
        (None, Some(period)) => world.end_period(period),
        (result, period) => panic!("{result:?} in period {period:?}"),
    }
}

fn drop_suspended(mut store: StoreContextMut<'_, World>) {
    let world = store.data_mut();
    // Some stay, so that there are many at once.
    if world.suspended.len() < 20 {
        return;
    }
    let at = world.random(world.suspended.len());
    let (call, period) = world.suspended.swap_remove(at);
    world.end_period(period);
    world.seen.dropped += 1;
    match world.random(4) {
        0 => std::thread::spawn(move || drop(call)).join().unwrap(),
        _ => drop(call),
    }
}

/// Takes handles of frames of the calls that run, and checks which activations they are of.
fn take(mut store: StoreContextMut<'_, World>) {
    let frames: Vec<_> = store.frames().collect();
    let world = store.data_mut();
    let periods: Vec<_> = world.activations.iter().rev().map(|a| a.period.unwrap()).collect();
    let by_activation: Vec<_> = frames.chunk_by(|a, b| a.activation() == b.activation()).collect();
    assert_eq!(by_activation.len(), periods.len());
    for (frames, period) in by_activation.into_iter().zip(periods) {
        for frame in frames {
            if world.random(3) == 0 {
                world.hold(frame.clone(), period);
            }
        }
    }
}

fn take_suspended(mut store: StoreContextMut<'_, World>) {
    if store.data().suspended.is_empty() {
        return;
    }
    let count = store.data().suspended.len();
    let at = store.data_mut().random(count);
    let (call, period) = &store.data().suspended[at];
    let (frames, period): (Vec<_>, _) =
        (call.frames(store.as_context()).unwrap().collect(), *period);
    assert!(!frames.is_empty());
    let last = frames.last().unwrap();
    assert_eq!(last.parent(store.as_context()), Ok(None));
    for frame in frames {
        store.data_mut().hold(frame, period);
    }
}

/// Compares handles with what the model says of them.
fn check(mut store: StoreContextMut<'_, World>) {
    for _ in 0..100 {
        let count = store.data().held.len();
        if count == 0 {
            return;
        }
        let at = store.data_mut().random(count);
        let (frame, period) = store.data().held[at].clone();
        let lasts = store.data().lasts[period];
        check_one(&store, &frame, lasts);
        let seen = &mut store.data_mut().seen;
        *(if lasts { &mut seen.good } else { &mut seen.stale }) += 1;
    }
}

fn check_one(store: &StoreContextMut<'_, World>, frame: &FrameHandle, lasts: bool) {
    assert_eq!(frame.is_valid(store), lasts);
    let index = frame.func_index(store);
    let parent = frame.parent(store);
    let locals = frame.locals(store);
    if !lasts {
        let stale = FrameError::Stale;
        assert_eq!((index, parent, locals.err()), (Err(stale), Err(stale), Some(stale)));
        return;
    }
    assert!((1..=5).contains(&index.unwrap()));
    let parent = parent.unwrap();
    if let Some(parent) = parent {
        assert!(parent.is_valid(store) && parent != *frame);
    }
    // What is read is something that the guest can have had there.
    for local in locals.unwrap() {
        if let Ok(value) = local.value {
            assert!((0..100).contains(&value.unwrap_i32()), "{local:?} of {frame:?}");
        }
    }
}

fn play(engine: &Engine, module: &Module, seed: u64) -> Seen {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "h", host).unwrap();
    let world = World {
        random: seed,
        left: 20_000,
        run: None,
        lasts: Vec::new(),
        activations: Vec::new(),
        suspended: Vec::new(),
        held: Vec::new(),
        seen: Seen::default(),
    };
    let mut store = Store::new(engine, world);
    store.set_fuel(1 << 40).unwrap();
    let instance: Instance = linker.instantiate(&mut store, module).unwrap();
    store.data_mut().run = Some(instance.get_typed_func(&mut store, "run").unwrap());
    while store.data().left > 0 {
        step(store.as_context_mut());
    }
    for at in 0..store.data().held.len() {
        let (frame, period) = store.data().held[at].clone();
        let lasts = store.data().lasts[period];
        check_one(&store.as_context_mut(), &frame, lasts);
    }
    // Dropped with the store's data, after its store is gone.
    std::mem::take(&mut store.data_mut().seen)
}

#[test]
fn thousands_of_handles_are_good_exactly_as_long_as_their_frames_are_frozen() {
    let engine = engine(|config| {
        config.consume_fuel(true).frame_cache_size(3);
    });
    let module = Module::new(&engine, WAT).unwrap();
    for seed in [1, 77, 12345] {
        let seen = play(&engine, &module, seed);
        let Seen { good, stale, nested, suspended, resumed, dropped, .. } = seen;
        assert!(good > 2000 && stale > 10_000, "{seen:?}");
        assert!(nested > 100 && suspended > 100 && resumed > 50 && dropped > 20, "{seen:?}");
        assert!(seen.trapped > 50 && seen.panicked > 50 && seen.deepest >= 5, "{seen:?}");
        assert!(seen.held > 2000, "{seen:?}");
    }
}
