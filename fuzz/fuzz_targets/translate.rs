//! Any bytes, any module, any configuration: an error or code. The oracle is `stillframe_fuzzing::translate`.

#![no_main]

stillframe_fuzz::target!(translate);
