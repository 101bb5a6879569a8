//! Suspended calls on many threads: they go on, trap and are dropped on other threads than those that
//! suspended them, alone and with their stores, while yet others look.
//!
//! A binary of its own that needs no other engine, so that it can be run under ThreadSanitizer:
//!
//! ```text
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std \
//!     --target x86_64-unknown-linux-gnu -p stillframe --test threads
//! ```

#![allow(missing_docs)]

mod threads {
    mod between;
    mod common;
    mod crowd;
    mod ending;
    mod looking;
    mod wandering;
}
