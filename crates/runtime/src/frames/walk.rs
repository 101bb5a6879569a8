//! The chain of frame pointers of one activation.
//!
//! ```text
//!   fp of a wasm frame  ─►  saved frame pointer of the caller, return address into it
//!   fp of its caller    ─►  …
//!   fp of the entry trampoline's frame  ─►  0
//! ```
//!
//! Memory is read through a function that checks every address.

/// A frame: where its function stands, and its frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// The address that the call out of the frame returns to; in a frame that has faulted, the
    /// instruction.
    pub(crate) pc: usize,
    pub(crate) fp: usize,
}

/// The frames from `start` on, innermost first, without that of the entry trampoline. `read` gives
/// the word at an address of the wasm stack, or `None` outside of it.
pub(crate) fn links<R: Fn(usize) -> Option<usize>>(start: Link, read: R) -> Links<R> {
    Links { next: Some(start), read }
}

/// Iterator over the frames of an activation; see [`links`].
pub(crate) struct Links<R> {
    next: Option<Link>,
    read: R,
}

impl<R: Fn(usize) -> Option<usize>> Iterator for Links<R> {
    type Item = Link;

    #[inline]
    fn next(&mut self) -> Option<Link> {
        let link = self.next.take()?;
        match (self.read)(link.fp) {
            Some(0) => return None,
            // Callers lie at higher addresses.
            Some(fp) if fp > link.fp => {
                self.next = (self.read)(link.fp + 8).map(|pc| Link { pc, fp });
            }
            Some(_) => debug_assert!(false, "frame pointers must ascend"),
            None => {}
        }
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends_at_the_entry_trampoline_and_at_damaged_links() {
        // Three frames at 100, 200 and 300; the last is the trampoline's.
        let memory = |address| match address {
            100 => Some(200),
            108 => Some(11),
            200 => Some(300),
            208 => Some(12),
            300 => Some(0),
            308 => Some(13),
            400 => Some(500),
            _ => None,
        };
        let walk = |pc, fp| links(Link { pc, fp }, memory).collect::<Vec<_>>();
        assert_eq!(walk(10, 100), [Link { pc: 10, fp: 100 }, Link { pc: 11, fp: 200 }]);
        assert_eq!(walk(20, 300), []);
        assert_eq!(walk(20, 7), [Link { pc: 20, fp: 7 }]);
        assert_eq!(walk(20, 400), [Link { pc: 20, fp: 400 }]);
    }
}
