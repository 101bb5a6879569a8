//! What stores may have, what happens when the system has no more, and what is left of things that are
//! gone.

mod resources {
    mod churn;
    mod lack;
    mod limits;
    mod system;
}
