//! A call that is stopped anywhere and carried on does what it does in one piece. The oracle is `stillframe_fuzzing::suspend`.

#![no_main]

stillframe_fuzz::target!(suspend);
