//! Hostile guests: modules that are as large, as deep or as greedy as they can be. Each gives the right
//! answer, or an error, in bounded time and memory.
//!
//! Time is not asserted in seconds. What could take forever is done in a child process to which the system
//! gives a minute of processor time and some gigabytes: if it grows with the square of something, it
//! does not survive that.

mod hostile {
    mod common;
    mod custom_sections;
    mod frames;
    mod growth;
    mod large_modules;
    mod nesting;
    mod recursion;
    mod shapes;
    mod starts;
}
