//! The bugs that others had: defects that were found in other runtimes and in the ideas that this
//! one is built on, each rebuilt as a test that fails if it is here.
//!
//! Above each test stands whose bug it was, and what it was; advisories have their number. What
//! cannot be here by design (component model, garbage collection, other processors) is left out.
//! Where the place of a bug is one that this runtime does not have, the test is of the place where
//! ours would be.
//!
//! `call_ref` is not supported yet. "A call through a reference does not store the fuel" is tested
//! for the calls that there are; whoever adds function references adds theirs to the list in
//! `fuel.rs`.

mod others {
    mod addresses;
    mod bulk;
    mod common;
    mod engines;
    mod frames;
    mod fuel;
    mod hosts;
    mod lowering;
    mod references;
    mod resuming;
    mod reuse;
}
