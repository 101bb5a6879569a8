//! The same results here, in the reference interpreter, in wasmi and in wasmtime. The oracle is `stillframe_fuzzing::differential`.

#![no_main]

stillframe_fuzz::target!(differential);
