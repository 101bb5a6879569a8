//! What was compared, in numbers.

use std::ops::AddAssign;

macro_rules! report {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What was compared.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Report {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Report {
            /// Adds another one.
            pub fn add(&mut self, other: &Report) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

report! {
    /// Places where frames were compared.
    stops,
    /// Calls of host functions among them.
    host_calls,
    /// Epoch deadlines among them.
    interrupts,
    /// Traps.
    traps,
    /// Traps of the processor among them.
    faults,
    /// Exceptions that nobody has caught.
    uncaught,
    /// Calls that returned.
    finished,
    /// Calls that were given up: they consumed too much fuel, or used up the stack.
    given_up,
    /// Locals that were the same.
    locals,
    /// Locals that could not be read, and were not promised.
    not_live,
    /// Locals that were the same where the processor has trapped, in that frame.
    known,
    /// Locals that could not be read there.
    unknown,
    /// Operands that were the same.
    operands,
    /// Locals and operands that were written.
    writes,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Report) {
        self.add(&other);
    }
}
