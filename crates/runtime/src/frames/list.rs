//! The frames of a store or of a suspended call, one handle after the other.

use super::access::FrozenStack;
use super::handle::FrameHandle;
use super::value::FrameError;
use super::versions::Version;
use super::walk::{Link, links};
use crate::resumable::SuspendedCall;
use crate::store::StoreCore;

/// Iterator over frames, innermost first.
///
/// The frames are looked up a few at a time, more each time, so that the cache's lock is not taken
/// for each, and looking at the innermost alone is cheap.
pub struct Frames<'a> {
    store: &'a StoreCore,
    /// What was looked up already, the next one last.
    ready: Vec<FrameHandle>,
    /// How many are looked up next time.
    batch: usize,
    strand: Option<Strand<'a>>,
    /// The next activation outwards; `None` if there is none that belongs to it.
    outer: Option<usize>,
}

/// The rest of the frames of one activation.
struct Strand<'a> {
    stack: FrozenStack<'a>,
    version: Version,
    next: Link,
}

/// Frames that are looked up at once, at most.
const MAX_BATCH: usize = 32;

impl<'a> Frames<'a> {
    fn new(store: &'a StoreCore) -> Frames<'a> {
        Frames { store, ready: Vec::new(), batch: 2, strand: None, outer: None }
    }

    /// Looks up the next few frames.
    #[cold]
    fn look_up(&mut self) -> Option<FrameHandle> {
        let wanted = self.batch;
        self.batch = (wanted * 2).min(MAX_BATCH);
        while self.ready.is_empty() {
            let strand = match self.strand.take() {
                Some(strand) => strand,
                None => match self.next_activation()? {
                    Some(strand) => strand,
                    None => continue,
                },
            };
            self.take_from(strand, wanted);
        }
        self.ready.reverse();
        self.ready.pop()
    }

    /// The next activation outwards; `Some(None)` for one without frames.
    fn next_activation(&mut self) -> Option<Option<Strand<'a>>> {
        let depth = self.outer?;
        let Some(activation) = self.store.frozen_activation(depth) else {
            self.outer = None;
            return None;
        };
        self.outer = Some(depth + 1);
        Some(activation.map(|activation| Strand {
            version: activation.version(),
            stack: activation.stack,
            next: activation.start,
        }))
    }

    /// Makes handles of the first `wanted` frames of a strand, and keeps the rest.
    fn take_from(&mut self, mut strand: Strand<'a>, wanted: usize) {
        let mut cache = self.store.frames.cache();
        let (stack, store, version) = (&strand.stack, self.store.id(), strand.version);
        // Where the latest frame stands: in a recursion the next one stands there too.
        let mut latest = 0;
        for (count, link) in links(strand.next, |address| stack.word(address)).enumerate() {
            if count == wanted {
                strand.next = link;
                self.strand = Some(strand);
                return;
            }
            let row = match self.ready.last() {
                Some(frame) if latest == link.pc => {
                    cache.count_hit();
                    frame.shared_row().clone()
                }
                _ => {
                    // A trampoline's frame has none.
                    let Some(row) = cache.row(link.pc) else { continue };
                    latest = link.pc;
                    row
                }
            };
            self.ready.push(FrameHandle::new(store, version, link.fp, row));
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = FrameHandle;

    #[inline]
    fn next(&mut self) -> Option<FrameHandle> {
        match self.ready.pop() {
            Some(frame) => Some(frame),
            None => self.look_up(),
        }
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

impl StoreCore {
    /// The frames of all activations, innermost first. There are some while the store is frozen: in
    /// a host function.
    pub fn frames(&self) -> Frames<'_> {
        Frames { outer: Some(0), ..Frames::new(self) }
    }

    /// The frames of a suspended call, innermost first.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`].
    pub fn frames_of_suspended<'a>(
        &'a self,
        call: &'a SuspendedCall,
    ) -> Result<Frames<'a>, FrameError> {
        let mut frames = Frames::new(self);
        if call.store() != self.id() {
            return Err(FrameError::WrongStore);
        }
        if let Some((stack, start)) = call.frozen() {
            let version = self.version_of_suspended(call);
            frames.strand = Some(Strand { stack, version, next: start });
        }
        Ok(frames)
    }

    /// The frame that a walk finds next after the one with this version and frame pointer: its
    /// caller, or the innermost one of the next activation outwards.
    pub(super) fn parent_of(
        &self,
        version: Version,
        fp: usize,
    ) -> Result<Option<FrameHandle>, FrameError> {
        let second = |stack: &FrozenStack<'_>| {
            links(Link { pc: 0, fp }, |address| stack.word(address)).nth(1)
        };
        let mut frames = Frames { batch: 1, ..Frames::new(self) };
        let caller = self.look_at(version, second).ok_or(FrameError::Stale)?;
        let row = caller.and_then(|link| Some((link.fp, self.frames.cache().row(link.pc)?)));
        if let Some((fp, row)) = row {
            return Ok(Some(FrameHandle::new(self.id(), version, fp, row)));
        }
        // A suspended call has nobody outwards.
        frames.outer = self.depth_of(version).map(|depth| depth + 1);
        Ok(frames.next())
    }
}
