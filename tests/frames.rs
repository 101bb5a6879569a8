//! Frames of frozen wasm: that handles name what they should for as long as it is frozen, and
//! nothing after; walks, caches and copies of frames.
//!
//! What needs several threads is in `crates/stillframe/tests/threads.rs` too, which can be run under
//! ThreadSanitizer.

mod frames {
    mod cache;
    mod common;
    mod inlined;
    mod nesting;
    mod places;
    mod staleness;
    mod states;
    mod suspended;
    mod traces;
    mod values;
    mod walks;
    mod writes;
}
