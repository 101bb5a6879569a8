//! Copied frames, seen as what this crate calls them.

use crate::frozen_trace::{FrozenFrame, FrozenTrace};
use stillframe_debug::{FrameInfo, WasmBacktrace};

/// A backtrace with values, as the trace that it is.
pub(crate) fn frozen_trace(trace: &WasmBacktrace) -> &FrozenTrace {
    // SAFETY: layout: `FrozenTrace` is a `repr(transparent)` `WasmBacktrace`.
    unsafe { &*std::ptr::from_ref(trace).cast() }
}

/// The same for its frames.
pub(crate) fn frozen_frames(frames: &[FrameInfo]) -> &[FrozenFrame] {
    // SAFETY: layout: `FrozenFrame` is a `repr(transparent)` `FrameInfo`.
    unsafe { std::slice::from_raw_parts(frames.as_ptr().cast(), frames.len()) }
}
