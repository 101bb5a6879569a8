//! The store's cache of places in code: what it counts, and that it stays within its bound.

use super::common::{Data, engine, run, store_of, store_with, then};
use stillframe::{FrameCacheStats, Store};

fn store_with_cache(entries: usize) -> Store<Data> {
    store_of(&engine(|config| {
        config.frame_cache_size(entries).max_wasm_stack(64 << 20);
    }))
}

/// Walks over frames `depth` deep; returns how many there were, and what the cache did.
fn walk(store: &mut Store<Data>, depth: i32) -> (u64, FrameCacheStats) {
    let before = store.frame_cache_stats();
    then(store, |caller| Ok(caller.frames().count() as i32));
    let frames = run(store).call(&mut *store, (depth, 1)).unwrap();
    let FrameCacheStats { hits, misses, entries } = store.frame_cache_stats();
    let (hits, misses) = (hits - before.hits, misses - before.misses);
    (frames as u64, FrameCacheStats { hits, misses, entries })
}

#[test]
fn a_fresh_store_has_looked_up_nothing() {
    let mut store = store_with_cache(100);
    let nothing = FrameCacheStats { hits: 0, misses: 0, entries: 0 };
    assert_eq!(store.frame_cache_stats(), nothing);
    // Calls look nothing up.
    run(&mut store).call(&mut store, (100, 100)).unwrap();
    assert_eq!(store.frame_cache_stats(), nothing);
}

#[test]
fn each_place_is_looked_up_once() {
    let mut store = store_with_cache(100);
    // `bottom`, `down` where it calls `bottom`, and `run`.
    let (frames, stats) = walk(&mut store, 0);
    assert_eq!((frames, stats), (3, FrameCacheStats { hits: 0, misses: 3, entries: 3 }));
    let (frames, stats) = walk(&mut store, 0);
    assert_eq!((frames, stats), (3, FrameCacheStats { hits: 3, misses: 0, entries: 3 }));
}

#[test]
fn thousands_of_frames_of_a_recursion_cost_one_miss() {
    let mut store = store_with_cache(100);
    walk(&mut store, 0);
    // New is where `down` calls itself.
    let (frames, stats) = walk(&mut store, 50_000);
    assert_eq!((frames, stats), (50_003, FrameCacheStats { hits: 50_002, misses: 1, entries: 4 }));
}

#[test]
fn handles_do_not_ask_the_cache_but_for_their_parents() {
    let mut store = store_with_cache(100);
    then(&mut store, |caller| {
        let frames: Vec<_> = caller.frames().collect();
        let before = caller.frame_cache_stats();
        for frame in &frames {
            super::common::good(frame, &*caller);
        }
        // `good` asks each frame for its parent.
        let after = caller.frame_cache_stats();
        assert_eq!(after.hits - before.hits, frames.len() as u64 - 1);
        assert_eq!(after.misses, before.misses);
        Ok(0)
    });
    run(&mut store).call(&mut store, (2, 1)).unwrap();
}

#[test]
fn backtraces_ask_it_too_and_only_for_the_frames_that_they_keep() {
    let mut store = store_with_cache(100);
    then(&mut store, |caller| {
        let trace = stillframe::WasmBacktrace::capture(&*caller);
        assert_eq!((trace.frames().len(), trace.omitted()), (80, 5003 - 80));
        Ok(0)
    });
    run(&mut store).call(&mut store, (5000, 1)).unwrap();
    let stats = store.frame_cache_stats();
    assert_eq!((stats.hits + stats.misses, stats.misses), (80, 4));
}

#[test]
fn a_cache_of_no_entries_keeps_none() {
    let mut store = store_with_cache(0);
    for _ in 0..2 {
        // Consecutive frames at one place are looked up once.
        let (frames, stats) = walk(&mut store, 1);
        assert_eq!((frames, stats), (4, FrameCacheStats { hits: 0, misses: 4, entries: 0 }));
    }
}

/// Functions that call each other in a chain, each at a place of its own.
fn chain(functions: usize) -> String {
    let mut wat = String::from(r#"(module (import "host" "h" (func $h (result i32)))"#);
    for i in 1..functions {
        wat += &format!("(func $f{i} (result i32) (i32.add (call $f{}) (i32.const 0)))", i - 1);
    }
    wat += "(func $f0 (result i32) (i32.add (call $h) (i32.const 0)))";
    wat += &format!(
        r#"(func (export "run") (param i32 i32) (result i32) (call $f{}))"#,
        functions - 1
    );
    wat + ")"
}

#[test]
fn the_bound_is_kept() {
    let config = engine(|config| {
        config.frame_cache_size(10);
    });
    let mut store = store_with(&config, &chain(30));
    let (frames, stats) = walk(&mut store, 0);
    assert_eq!((frames, stats), (31, FrameCacheStats { hits: 0, misses: 31, entries: 10 }));
    let (_, again) = walk(&mut store, 0);
    assert_eq!((again.entries, again.hits + again.misses), (10, 31));
}

/// What was used since the cache looked last is thrown out after what was not.
#[test]
fn what_is_used_again_stays() {
    let config = engine(|config| {
        config.frame_cache_size(8);
    });
    let mut store = store_with(&config, &chain(30));
    then(&mut store, |caller| {
        // Places 0 to 5, of which 0 and 1 are used again.
        let mut frame = caller.frames().take(6).last().unwrap();
        assert_eq!(caller.frames().take(2).count(), 2);
        // Places 6 to 9, the last two of which need room: that of 2 and 3.
        for _ in 6..10 {
            frame = frame.parent(&*caller)?.unwrap();
        }
        let before = caller.frame_cache_stats();
        assert_eq!((before.misses, before.entries), (10, 8));
        assert_eq!(caller.frames().take(2).count(), 2);
        let after = caller.frame_cache_stats();
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (2, 0));
        Ok(0)
    });
    run(&mut store).call(&mut store, (0, 1)).unwrap();
}

/// A cache that is always full gives each frame its own row nonetheless.
#[test]
fn what_was_thrown_out_is_not_mistaken_for_what_came_in_its_place() {
    let config = engine(|config| {
        config.frame_cache_size(3);
    });
    let mut store = store_with(&config, &chain(30));
    for depth in [0, 7, 3, 12] {
        then(&mut store, move |caller| {
            // Some of them first, so that the hand stands elsewhere each time.
            assert_eq!(caller.frames().take(depth).count(), depth);
            let found: Vec<_> =
                caller.frames().map(|frame| frame.func_index(&*caller).unwrap()).collect();
            // `$f0` is the last but one.
            assert_eq!(found, [30].into_iter().chain(1..30).chain([31]).collect::<Vec<_>>());
            Ok(0)
        });
        run(&mut store).call(&mut store, (0, 1)).unwrap();
    }
    assert_eq!(store.frame_cache_stats().entries, 3);
}

#[test]
fn a_cache_that_is_large_enough_never_misses_twice() {
    let config = engine(|config| {
        config.frame_cache_size(201);
    });
    let mut store = store_with(&config, &chain(200));
    for round in 0..3 {
        let (frames, stats) = walk(&mut store, 0);
        let misses = if round == 0 { 201 } else { 0 };
        assert_eq!(frames, 201);
        assert_eq!(stats, FrameCacheStats { hits: 201 - misses, misses, entries: 201 });
    }
}
