//! Any sequence of calls of the public interface does what is documented, and nothing leaks. The oracle is `stillframe_fuzzing::api`.

#![no_main]

stillframe_fuzz::target!(api);
