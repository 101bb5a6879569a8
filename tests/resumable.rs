//! Calls that are suspended and carried on: they compute, leave behind and consume the same as calls
//! that run through, wherever they are cut; and what is refused, dropped, nested or interrupted
//! does no harm.
//!
//! What needs several threads is in `crates/stillframe/tests/threads.rs`, which can be run under
//! ThreadSanitizer; real programs, cut in pieces, are in `programs.rs`.

mod resumable {
    mod backtraces;
    mod budgets;
    mod changes;
    mod common;
    mod dropping;
    mod epochs;
    mod extremes;
    mod fuel;
    mod hosts;
    mod limits;
    mod nesting;
    mod refusals;
    mod registers;
    mod stretches;
}
