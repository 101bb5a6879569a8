//! Stores, engines, calls and threads that end at the same time.

use super::common::{ENDINGS, THREADS, WAT, Walk, engine, instantiate};
use std::sync::{Barrier, mpsc};
use std::thread;
use stillframe::{Module, ResumableCall, Store, Val};

/// Store, engine and calls are dropped at the same time, each by another thread.
#[test]
fn everything_is_dropped_at_once() {
    for round in 0..50 {
        let engine = engine(|config| {
            config.pooled_stacks(round);
        });
        let module = Module::new(&engine, WAT).unwrap();
        let (mut store, instance) = instantiate(&module);
        let down = instance.get_func(&mut store, "down").unwrap();
        let mut calls = Vec::new();
        for i in 0..THREADS as i32 {
            let args = [Val::I32(i)];
            calls.push(down.call_resumable(&mut store, &args, &mut [Val::I32(0)]).unwrap());
        }
        let start = Barrier::new(THREADS + 3);
        thread::scope(|scope| {
            for call in calls {
                let start = &start;
                scope.spawn(move || {
                    let ResumableCall::HostTrap(call) = call else { panic!("{call:?}") };
                    start.wait();
                    assert_eq!(call.into_host_error().to_string(), "wait 0");
                });
            }
            for what in [Box::new(store) as Box<dyn Send>, Box::new(engine), Box::new(module)] {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    drop(what);
                });
            }
        });
    }
}

/// When a thread's last destructors run, some of what the runtime keeps for the thread is gone
/// already.
#[test]
fn calls_go_on_and_trap_while_their_thread_ends() {
    struct AtTheEnd(Option<(Store<()>, Walk)>, Option<mpsc::Sender<usize>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let Some((mut store, walk)) = self.0.take() else { return };
            let (mut walk, mut steps) = (Some(walk), 0);
            while let Some(next) = walk {
                walk = next.step(&mut store, 1 << 30);
                steps += 1;
            }
            self.1.take().unwrap().send(steps).unwrap();
        }
    }
    thread_local! {
        static EARLY: std::cell::RefCell<AtTheEnd> =
            const { std::cell::RefCell::new(AtTheEnd(None, None)) };
        static LATE: std::cell::RefCell<AtTheEnd> =
            const { std::cell::RefCell::new(AtTheEnd(None, None)) };
    }

    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    for how in 0..ENDINGS.len() as i32 + 1 {
        let (sender, receiver) = mpsc::channel();
        let module = module.clone();
        thread::spawn(move || {
            let wait = || {
                let (mut store, instance) = instantiate(&module);
                let walk = instance.get_typed_func(&mut store, "walk").unwrap();
                let call = Walk::start(&mut store, walk, how);
                Some((store, call))
            };
            // One is first used before what the runtime keeps for the thread, one after: whichever
            // order destructors run in, one of them finds it gone.
            EARLY.with_borrow_mut(|early| early.1 = Some(sender.clone()));
            EARLY.with_borrow_mut(|early| early.0 = wait());
            LATE.with_borrow_mut(|late| *late = AtTheEnd(wait(), Some(sender)));
        })
        .join()
        .unwrap();
        let steps: Vec<usize> = receiver.iter().collect();
        assert_eq!(steps.len(), 2);
        assert!(steps.iter().all(|steps| *steps >= 2), "{steps:?}");
    }
}
