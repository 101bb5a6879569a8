//! Every frame of every stop is the reference interpreter's, and handles never lie. The oracle is `stillframe_fuzzing::frames`.

#![no_main]

stillframe_fuzz::target!(frames);
