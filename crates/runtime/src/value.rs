//! Raw values: the cells in which arguments and results travel, without their types.

use stillframe_abi::vmctx::ARG_CELL_SIZE;

/// One argument or result: the value in the low bytes, whatever in those above.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default, Debug)]
pub struct RawValue(u128);

const _: () = assert!(size_of::<RawValue>() == ARG_CELL_SIZE);

impl RawValue {
    /// An `i32`.
    pub const fn i32(value: i32) -> RawValue {
        RawValue(value as u32 as u128)
    }

    /// An `i64`.
    pub const fn i64(value: i64) -> RawValue {
        RawValue(value as u64 as u128)
    }

    /// An `f32`, as bits.
    pub const fn f32(bits: u32) -> RawValue {
        RawValue(bits as u128)
    }

    /// An `f64`, as bits.
    pub const fn f64(bits: u64) -> RawValue {
        RawValue(bits as u128)
    }

    /// A `v128`, little-endian.
    pub const fn v128(bits: u128) -> RawValue {
        RawValue(bits)
    }

    /// A reference; 0 is null.
    pub(crate) const fn reference(raw: u64) -> RawValue {
        RawValue(raw as u128)
    }

    /// The low bytes as an `i32`.
    pub const fn as_i32(self) -> i32 {
        self.0 as i32
    }

    /// The low bytes as an `i64`.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// The low bytes as the bits of an `f32`.
    pub const fn as_f32(self) -> u32 {
        self.0 as u32
    }

    /// The low bytes as the bits of an `f64`.
    pub const fn as_f64(self) -> u64 {
        self.0 as u64
    }

    /// All bytes as a `v128`.
    pub const fn as_v128(self) -> u128 {
        self.0
    }

    /// The low bytes as a reference.
    pub(crate) const fn as_reference(self) -> u64 {
        self.0 as u64
    }
}
