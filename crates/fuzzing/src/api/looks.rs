//! Frames, handles, backtraces and core dumps.

use super::data::Data;
use anyhow::{Context as _, Error, Result, ensure};
use std::hint::black_box;
use stillframe::{
    AsContextMut, CoreDumpBuilder, FrameError, FrameHandle, FrozenTrace, StoreContextMut, Val,
    WasmBacktrace,
};

type Context<'a> = StoreContextMut<'a, Data>;

/// Handles that are held, at most.
const HELD: usize = 100;

pub(super) fn look(mut store: Context<'_>) -> Result<()> {
    match store.data_mut().choices.below(6) {
        0 => hold(&mut store)?,
        1 => {
            let kept = &store.data().kept;
            let frames: Vec<FrameHandle> =
                kept.iter().filter_map(|kept| kept.frame.clone()).collect();
            for frame in &frames {
                ensure!(frame.is_valid(&store), "{frame:?} of a suspended call is stale");
            }
            store.data_mut().handles.extend(frames);
        }
        2 => {
            let dump = CoreDumpBuilder::new("guest").of_frames(&store, store.frames())?;
            black_box(dump.to_bytes()?);
            store.data_mut().seen.dumps += 1;
        }
        3 => {
            black_box(format!("{:?}", store.suspended_backtraces()));
            black_box(format!("{}", WasmBacktrace::capture(&store)));
            black_box((store.frame_cache_stats(), store.runtime_limits()));
        }
        4 => {
            let kept = store.data().kept.iter().map(|kept| format!("{:?}", kept.call));
            black_box(kept.collect::<Vec<_>>());
        }
        _ => use_handles(&mut store)?,
    }
    let handles = &mut store.data_mut().handles;
    let more = handles.len().saturating_sub(HELD);
    handles.drain(..more);
    Ok(())
}

/// Takes handles of the frames of the calls that run.
pub(super) fn hold(store: &mut Context<'_>) -> Result<()> {
    let frames: Vec<FrameHandle> = store.frames().take(20).collect();
    for frame in &frames {
        ensure!(frame.is_valid(&*store), "{frame:?} of a call that runs is stale");
        frame.source(&*store)?;
        frame.parent(&*store)?;
        black_box(frame.locals(&*store)?);
        black_box(frame.operands(&*store)?);
    }
    store.data_mut().handles.extend(frames);
    Ok(())
}

/// Whatever is asked of a handle is answered: if it is stale, with that.
pub(super) fn use_handles(store: &mut Context<'_>) -> Result<()> {
    for frame in store.data().handles.clone() {
        let index = store.data_mut().choices.pick(&[0, 1, 7, usize::MAX]);
        let value =
            store.data_mut().choices.pick(&[Val::I32(1), Val::F64(0), Val::ExternRef(None)]);
        let is_valid = frame.is_valid(&*store);
        let answers = [
            frame.local(&*store, index).err(),
            frame.operand(&*store, index).err(),
            frame.local_type(&*store, index).err(),
            frame.instance(&*store).err(),
            frame.func_index(&*store).err(),
        ];
        let stale = answers.iter().filter(|answer| **answer == Some(FrameError::Stale)).count();
        let expected = if is_valid { 0 } else { answers.len() };
        ensure!(stale == expected, "{frame:?}, of which validity is {is_valid}: {answers:?}");
        // Written are only those of no consequence: arguments that are read already could be more.
        let written = match is_valid {
            true => frame.set_local(store.as_context_mut(), usize::MAX, value).err(),
            false => frame.set_local(store.as_context_mut(), index, value).err(),
        };
        ensure!(written.is_some(), "{frame:?}: a local was written");
        let seen = &mut store.data_mut().seen;
        *(if is_valid { &mut seen.good } else { &mut seen.stale }) += 1;
    }
    Ok(())
}

/// Everything that the error of a call tells.
pub(super) fn dump_error(store: &mut Context<'_>, error: &Error) -> Result<()> {
    black_box(format!("{error} {error:?}"));
    if !store.data_mut().choices.one_in(4) {
        return Ok(());
    }
    let Some(trace) = FrozenTrace::of(error) else { return Ok(()) };
    for frame in trace.frames() {
        black_box((frame.locals(), frame.operands(), frame.source()));
    }
    let dump = CoreDumpBuilder::new("guest").of_error(&*store, error).context("a trace")?;
    black_box(dump.to_bytes()?);
    store.data_mut().seen.dumps += 1;
    Ok(())
}
