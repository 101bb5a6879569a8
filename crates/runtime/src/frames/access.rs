//! A wasm stack on which nothing runs: the only way to the memory of frames.

use crate::stack::WasmStack;
use std::marker::PhantomData;
use std::ops::Range;

/// A wasm stack that stays as it is for `'a`, but for what is written through this.
#[derive(Clone)]
pub(crate) struct FrozenStack<'a> {
    range: Range<usize>,
    _stack: PhantomData<&'a WasmStack>,
}

impl<'a> FrozenStack<'a> {
    /// The stack, for looking at.
    ///
    /// # Safety
    ///
    /// For `'a` no code runs on the stack, and no other thread writes to it.
    #[inline]
    pub(crate) unsafe fn new(stack: &'a WasmStack) -> FrozenStack<'a> {
        FrozenStack { range: stack.range(), _stack: PhantomData }
    }

    /// The bytes at an address, if all of them lie on the stack.
    #[inline]
    pub(crate) fn read<const N: usize>(&self, address: usize) -> Option<[u8; N]> {
        // SAFETY: frozen stack: the bytes lie in the stack, which is mapped while it is borrowed,
        // and nobody writes to it, as `new` was promised. They are plain bytes: any are valid.
        self.has(address, N).then(|| unsafe { (address as *const [u8; N]).read() })
    }

    /// The word at an address, if it lies on the stack.
    #[inline]
    pub(crate) fn word(&self, address: usize) -> Option<usize> {
        self.read(address).map(usize::from_le_bytes)
    }

    /// Writes bytes to an address, if all of them would lie on the stack; else `None`.
    ///
    /// # Safety
    ///
    /// Nobody else looks at the stack now. What is written is a value that the code whose frame
    /// the place is in can find there.
    pub(super) unsafe fn write<const N: usize>(
        &self,
        address: usize,
        bytes: [u8; N],
    ) -> Option<()> {
        // SAFETY: frozen stack: the place lies in the stack, which is mapped while it is borrowed;
        // nobody reads it, and no code runs on it.
        self.has(address, N).then(|| unsafe { (address as *mut [u8; N]).write(bytes) })
    }

    #[inline]
    fn has(&self, address: usize, size: usize) -> bool {
        self.range.start <= address
            && address.checked_add(size).is_some_and(|end| end <= self.range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::StackPool;

    #[test]
    fn what_lies_outside_of_the_stack_is_neither_read_nor_written() {
        let stack = StackPool::new(1 << 16, 1).take().unwrap();
        // SAFETY: nobody else has the stack.
        let frozen = unsafe { FrozenStack::new(&stack) };
        let (low, top) = (stack.range().start, stack.top());
        for outside in [low - 1, low - 8, top - 7, top, usize::MAX, usize::MAX - 7, 0] {
            assert_eq!(frozen.word(outside), None, "{outside:#x}");
            // SAFETY: nobody else looks, and no code runs here.
            assert_eq!(unsafe { frozen.write(outside, [1; 8]) }, None, "{outside:#x}");
        }
        for inside in [low, low + 1, top - 8, top - 9] {
            // SAFETY: nobody else looks, and no code runs here.
            assert_eq!(unsafe { frozen.write(inside, [7; 8]) }, Some(()));
            assert_eq!(frozen.read(inside), Some([7; 8]));
        }
        assert_eq!(frozen.read::<16>(top - 8), None);
        assert!(frozen.read::<16>(top - 16).is_some());
    }
}
