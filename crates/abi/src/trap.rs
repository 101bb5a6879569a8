//! Why wasm can stop for good.

use std::fmt;

/// Why WebAssembly code trapped.
///
/// The messages are those of the specification's test suite where it has one. A trap comes out of
/// a call as an error that can be downcast to this type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Trap {
    /// The wasm stack is used up, too many calls are nested through host functions, or too little
    /// is left of the host's stack.
    StackOverflow = 1,
    /// A load, store or bulk operation outside of a memory.
    MemoryOutOfBounds = 2,
    /// An access outside of a table.
    TableOutOfBounds = 3,
    /// `call_indirect` with an index outside of its table.
    UndefinedElement = 4,
    /// `call_indirect` to a table element that is null.
    IndirectCallToNull = 5,
    /// `call_indirect` to a function of another type.
    BadSignature = 6,
    /// Integer overflow: `INT_MIN / -1`, or a float too large for the integer type.
    IntegerOverflow = 7,
    /// Integer division by zero.
    IntegerDivisionByZero = 8,
    /// Conversion of NaN to an integer.
    BadConversionToInteger = 9,
    /// `unreachable` was executed.
    UnreachableCodeReached = 10,
    /// The epoch deadline was reached.
    Interrupt = 11,
    /// All fuel was consumed.
    OutOfFuel = 12,
    /// A null reference where a non-null one is needed.
    NullReference = 13,
    /// An atomic access that is not aligned.
    UnalignedAtomic = 14,
    /// `memory.atomic.wait` on a memory that is not shared.
    AtomicWaitNonSharedMemory = 15,
}

impl Trap {
    /// All traps, in the order of their codes.
    pub const ALL: [Trap; 15] = [
        Trap::StackOverflow,
        Trap::MemoryOutOfBounds,
        Trap::TableOutOfBounds,
        Trap::UndefinedElement,
        Trap::IndirectCallToNull,
        Trap::BadSignature,
        Trap::IntegerOverflow,
        Trap::IntegerDivisionByZero,
        Trap::BadConversionToInteger,
        Trap::UnreachableCodeReached,
        Trap::Interrupt,
        Trap::OutOfFuel,
        Trap::NullReference,
        Trap::UnalignedAtomic,
        Trap::AtomicWaitNonSharedMemory,
    ];

    /// The trap with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Trap> {
        Trap::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The code that the frame table stores for this trap; never 0.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// A short name that stays the same between versions, as the command prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Trap::StackOverflow => "StackOverflow",
            Trap::MemoryOutOfBounds => "MemoryOutOfBounds",
            Trap::TableOutOfBounds => "TableOutOfBounds",
            Trap::UndefinedElement => "UndefinedElement",
            Trap::IndirectCallToNull => "IndirectCallToNull",
            Trap::BadSignature => "BadSignature",
            Trap::IntegerOverflow => "IntegerOverflow",
            Trap::IntegerDivisionByZero => "IntegerDivisionByZero",
            Trap::BadConversionToInteger => "BadConversionToInteger",
            Trap::UnreachableCodeReached => "UnreachableCodeReached",
            Trap::Interrupt => "Interrupt",
            Trap::OutOfFuel => "OutOfFuel",
            Trap::NullReference => "NullReference",
            Trap::UnalignedAtomic => "UnalignedAtomic",
            Trap::AtomicWaitNonSharedMemory => "AtomicWaitNonSharedMemory",
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trap::StackOverflow => "call stack exhausted",
            Trap::MemoryOutOfBounds => "out of bounds memory access",
            Trap::TableOutOfBounds => "out of bounds table access",
            Trap::UndefinedElement => "undefined element",
            Trap::IndirectCallToNull => "uninitialized element",
            Trap::BadSignature => "indirect call type mismatch",
            Trap::IntegerOverflow => "integer overflow",
            Trap::IntegerDivisionByZero => "integer divide by zero",
            Trap::BadConversionToInteger => "invalid conversion to integer",
            Trap::UnreachableCodeReached => "unreachable",
            Trap::Interrupt => "interrupt",
            Trap::OutOfFuel => "all fuel consumed",
            Trap::NullReference => "null reference",
            Trap::UnalignedAtomic => "unaligned atomic",
            Trap::AtomicWaitNonSharedMemory => "expected shared memory",
        })
    }
}

impl std::error::Error for Trap {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_zero_is_none() {
        for trap in Trap::ALL {
            assert_eq!(Trap::from_code(trap.code()), Some(trap));
        }
        assert_eq!(Trap::from_code(0), None);
        assert_eq!(Trap::from_code(Trap::ALL.len() as u8 + 1), None);
    }
}
