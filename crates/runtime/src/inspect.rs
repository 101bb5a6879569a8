//! What debuggers ask of a store: its instances, and what they have, exported or not.

use crate::store::{FuncHandle, GlobalHandle, InstanceHandle, MemoryHandle, StoreCore};
use stillframe_abi::module::NO_SLOT;

impl StoreCore {
    /// All instances, in the order in which they were made.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = InstanceHandle> + '_ {
        self.instances.iter().map(|instance| instance.handle)
    }

    /// The memories of an instance, by index, imported ones first.
    ///
    /// # Panics
    ///
    /// If the instance is of another store; so for all of these.
    #[track_caller]
    pub fn memories_of(&self, instance: InstanceHandle) -> &[MemoryHandle] {
        self.check(instance.store, "instance");
        self.instances[instance.index as usize].memories()
    }

    /// The globals of an instance, by index, imported ones first.
    #[track_caller]
    pub fn globals_of(&self, instance: InstanceHandle) -> &[GlobalHandle] {
        self.check(instance.store, "instance");
        self.instances[instance.index as usize].globals()
    }

    /// The instance whose module defines a function, and the function's index there; `None` for a
    /// function of the host's.
    #[track_caller]
    pub fn definition_of(&self, func: FuncHandle) -> Option<(InstanceHandle, u32)> {
        let context = self.func_ref(func).vmctx as usize;
        let handle = self.instance_at(context)?;
        let module = self.module_of(handle);
        // Its reference lies in the context, in the slot that the module gave it.
        let offset = (func.func_ref.as_ptr() as usize).checked_sub(context)?;
        let is_it = |&slot: &u32| slot != NO_SLOT && module.offsets().func_ref(slot) == offset;
        let index = module.info().func_ref_slots.iter().position(is_it)?;
        Some((handle, index as u32))
    }
}
