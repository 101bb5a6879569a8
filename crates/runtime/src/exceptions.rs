//! Exceptions: objects with a tag and values, and the search for who catches one.
//!
//! Throwing goes up the frames of the innermost activation, by their frame pointers, to the first
//! call that has a handler in the frame table. That code goes on with its own frame pointer and
//! stack pointer, the exception in a register; it finds out itself whether a clause matches, and
//! throws on if none does. The frames in between are just left: nothing is on a wasm stack that
//! would need cleaning up. An activation's end is the end of the search; what is not caught there
//! is an error to the host code that entered wasm.

use crate::frames::{FrozenStack, Link, links};
use crate::store::{ExnHandle, StoreCore};
use crate::value::RawValue;
use anyhow::{Error, Result, ensure};

/// An exception tag's identity: each instance's tags are their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(u32);

/// An exception object.
struct Exception {
    tag: Tag,
    values: Box<[RawValue]>,
}

/// Bytes that the exceptions of a store may take in all, roughly. They are the host's memory, and
/// live as long as the store until references are collected: a guest must not have its way with it.
const MAX_BYTES: usize = 256 << 20;

/// The exceptions of a store. They live as long as it does.
#[derive(Default)]
pub(crate) struct Exceptions {
    objects: Vec<Exception>,
    bytes: usize,
    tags: u32,
}

impl Exceptions {
    /// The exception of a raw `exnref` that is not null.
    fn get(&self, raw: u64) -> &Exception {
        &self.objects[raw as usize - 1]
    }

    /// The tag of the exception of a raw `exnref`.
    pub(crate) fn tag(&self, raw: u64) -> Tag {
        self.get(raw).tag
    }

    /// Copies an exception's values to cells.
    ///
    /// # Safety
    ///
    /// `to` points to as many cells as the exception has values, which nobody else uses.
    pub(crate) unsafe fn load(&self, raw: u64, to: *mut RawValue) {
        let values = &self.get(raw).values;
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    }
}

/// An exception that wasm threw and did not catch: the error of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UncaughtException(());

impl std::fmt::Display for UncaughtException {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("uncaught exception")
    }
}

impl std::error::Error for UncaughtException {}

impl StoreCore {
    /// Identities for the tags of a new instance.
    pub(crate) fn new_tags(&mut self, count: usize) -> Vec<Tag> {
        let first = self.exceptions.tags;
        let after = u32::try_from(count).ok().and_then(|count| first.checked_add(count));
        self.exceptions.tags = after.expect("fewer than 2^32 tags in a store");
        (first..self.exceptions.tags).map(Tag).collect()
    }

    /// Makes an exception with tag number `tag` of an instance; returns its raw `exnref`.
    ///
    /// # Errors
    ///
    /// If the store's exceptions take too much memory.
    ///
    /// # Safety
    ///
    /// `values` points to a cell for each of the tag's values.
    pub(crate) unsafe fn new_exception(
        &mut self,
        instance: usize,
        tag: u32,
        values: *const RawValue,
    ) -> Result<u64> {
        let instance = &self.instances[instance];
        let info = instance.module.info();
        let count = info.types[info.tags[tag as usize] as usize].params().len();
        let tag = instance.tag(tag);
        let bytes = size_of::<Exception>() + count * size_of::<RawValue>();
        self.exceptions.bytes += bytes;
        ensure!(
            self.exceptions.bytes <= MAX_BYTES,
            "the store's exceptions exceed {MAX_BYTES} bytes: they are not collected yet"
        );
        // SAFETY: the caller's.
        let values = unsafe { std::slice::from_raw_parts(values, count) }.into();
        self.exceptions.objects.push(Exception { tag, values });
        Ok(self.exceptions.objects.len() as u64)
    }

    /// Finds who catches an exception that wasm has just thrown, and prepares going on there: see
    /// `Status::CATCH`. Returns the exception again.
    ///
    /// # Errors
    ///
    /// [`UncaughtException`] if nobody in the innermost activation does.
    pub(crate) fn throw(&mut self, exception: u64) -> Result<u64> {
        let uncaught = || Error::new(UncaughtException(()));
        let activation = self.activations.innermost().ok_or_else(uncaught)?;
        let stack = activation.stack.as_ref().ok_or_else(uncaught)?;
        let limits = &self.limits;
        let (pc, fp) = (limits.last_wasm_exit_pc.get(), limits.last_wasm_exit_fp.get());
        // SAFETY: frozen stack: the activation has left wasm just now, and goes back when this has
        // returned.
        let frozen = unsafe { FrozenStack::new(stack) };
        let cache = self.frames.cache_mut();
        let (fp, (landing, frame_size)) = links(Link { pc, fp }, |address| frozen.word(address))
            .find_map(|link| Some((link.fp, cache.row(link.pc)?.handler()?)))
            .ok_or_else(uncaught)?;
        let sp = fp - frame_size;
        let range = stack.range();
        assert!(range.start + 16 <= sp && sp <= fp && fp < range.end);
        // SAFETY: frozen stack: the two words lie on the wasm stack, below the frame of the handler
        // and so in frames that have been left; generated code is not running.
        unsafe {
            *((sp - 8) as *mut usize) = landing;
            *((sp - 16) as *mut usize) = fp;
        }
        self.limits.last_wasm_exit_sp.set(sp - 16);
        Ok(exception)
    }

    /// An exception, or null, as a raw `exnref`.
    ///
    /// # Panics
    ///
    /// If the exception is of another store.
    #[track_caller]
    pub fn exn_to_raw(&self, handle: Option<ExnHandle>) -> RawValue {
        RawValue::reference(handle.map_or(0, |handle| {
            self.check(handle.store, "exnref");
            u64::from(handle.index) + 1
        }))
    }

    /// The exception that a raw `exnref` names; `None` is null, or nothing of this store.
    pub fn exn_from_raw(&self, value: RawValue) -> Option<ExnHandle> {
        let index = u32::try_from(value.as_reference().checked_sub(1)?).ok()?;
        ((index as usize) < self.exceptions.objects.len())
            .then_some(ExnHandle { store: self.id(), index })
    }
}
