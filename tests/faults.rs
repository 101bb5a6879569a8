//! Faults and signals: where memories end, who gets a fault that is not wasm's, and what a signal
//! sees that comes at the worst moment.

mod faults {
    mod accesses;
    mod bulk;
    mod foreign;
    mod handlers;
    mod ranges;
    mod steps;
    mod storms;
}
