//! What the system refuses.
