//! The guest that these tests suspend, and stores, calls and numbers for it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use stillframe::{
    Caller, Config, Engine, Error, Instance, Linker, Module, Store, Trap, TypedFunc,
    TypedResumableCall, Val, bail,
};

pub const THREADS: usize = 8;

/// `walk` goes through all kinds of suspensions and ends as its first parameter says; `down` waits
/// some frames down.
pub const WAT: &str = r#"
(module
  (import "host" "wait" (func $wait (param i32) (result i32)))
  (table 1 funcref)
  (func $fail (param $how i32) (result i32)
    (block $overflow (block $null (block $divide (block $load (block $unreachable
      (br_table $unreachable $load $divide $null $overflow (local.get $how)))
      (unreachable))
      (return (i32.load (i32.const -1))))
      (return (i32.div_u (local.get $how) (i32.const 0))))
      (return (call_indirect (result i32) (i32.const 0))))
    (call $overflow (local.get $how)))
  (func $overflow (param i32) (result i32)
    (i32.add (call $overflow (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (memory 1)
  (func (export "walk") (param $how i32) (param $n i32) (param $x i64) (result i64 f64)
    (local $f f64)
    (loop $again
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 5)) (i64.extend_i32_u
        (call $wait (local.get $n)))))
      (local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.5))
        (f64.convert_i64_s (local.get $x))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (if (i32.lt_u (local.get $how) (i32.const 5)) (then (drop (call $fail (local.get $how)))))
    (local.get $x) (local.get $f))
  (func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (call $wait (i32.const 0)))))
  (func $bottom (export "down") (param i32) (result i32) (call $down (local.get 0))))
"#;

/// How `walk` ends, by its first parameter; above these it returns.
pub const ENDINGS: [Trap; 5] = [
    Trap::UnreachableCodeReached,
    Trap::MemoryOutOfBounds,
    Trap::IntegerDivisionByZero,
    Trap::IndirectCallToNull,
    Trap::StackOverflow,
];

/// Numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

pub fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).max_wasm_stack(64 << 10);
    configure(&mut config);
    Engine::new(&config).unwrap()
}

/// A store whose host function fails each time.
pub fn instantiate(module: &Module) -> (Store<()>, Instance) {
    let mut linker = Linker::new(module.engine());
    linker
        .func_wrap("host", "wait", |_: Caller<'_, ()>, x: i32| -> stillframe::Result<i32> {
            bail!("wait {x}")
        })
        .unwrap();
    let mut store = Store::new(module.engine(), ());
    store.epoch_deadline_suspend();
    store.set_epoch_deadline(1);
    store.set_fuel(1 << 40).unwrap();
    let instance = linker.instantiate(&mut store, module).unwrap();
    (store, instance)
}

/// A call of `walk`, and what becomes of it.
pub struct Walk {
    pub call: TypedResumableCall<(i64, f64)>,
    pub how: i32,
    n: i32,
    x: i64,
}

impl Walk {
    pub fn start(
        store: &mut Store<()>,
        walk: TypedFunc<(i32, i32, i64), (i64, f64)>,
        i: i32,
    ) -> Walk {
        let (how, n, x) = (i % 9, 2 + i % 5, i64::from(i) * 77_777);
        Walk { call: walk.call_resumable(store, (how, n, x)).unwrap(), how, n, x }
    }

    /// What `walk` returns if `wait` was answered with its parameter.
    pub fn expected(&self) -> (i64, f64) {
        let (mut x, mut f) = (self.x, 0.0_f64);
        for n in (1..=self.n).rev() {
            x = x.wrapping_mul(5).wrapping_add(n.into());
            f = f * 0.5 + x as f64;
        }
        (x, f)
    }

    /// Goes on to the next suspension; `None` if it has ended, as it should.
    pub fn step(mut self, store: &mut Store<()>, fuel: u64) -> Option<Walk> {
        self.call = match self.call {
            TypedResumableCall::Finished(results) => {
                let call = TypedResumableCall::Finished(results);
                assert_eq!(results, Walk { call, ..self }.expected());
                return None;
            }
            TypedResumableCall::HostTrap(call) => {
                let error = call.host_error().to_string();
                let answer: i32 = error.strip_prefix("wait ").unwrap().parse().unwrap();
                store.set_fuel(fuel).unwrap();
                match call.resume(&mut *store, &[Val::I32(answer)]) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
            TypedResumableCall::OutOfFuel(call) => {
                store.set_fuel(call.required_fuel() + fuel).unwrap();
                match call.resume(&mut *store) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
            TypedResumableCall::Interrupted(call) => {
                store.set_fuel(fuel + 1).unwrap();
                match call.resume(&mut *store) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
        };
        Some(self)
    }
}

fn self_ended(how: i32, error: Error) -> Option<Walk> {
    let expected = ENDINGS.get(how as usize);
    assert_eq!(error.downcast_ref(), expected, "{error:?}");
    None
}

/// Says so when a thread ends, also by a panic.
pub struct Done<'a>(pub &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
