//! Damaged artifacts are refused, or do no harm. The oracle is `stillframe_fuzzing::artifact`.

#![no_main]

stillframe_fuzz::target!(artifact);
