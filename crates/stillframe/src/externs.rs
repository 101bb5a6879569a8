//! What can be imported and exported, and its types.

use crate::context::AsContext;
use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::table::Table;
use std::fmt;
use stillframe_abi::module::EntityType;
use stillframe_abi::types::{FuncType, GlobalType, MemoryType, Mutability, TableType};
use stillframe_runtime::ExternalHandle;

/// Something that can be imported and exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
}

/// The type of an [`Extern`], an import or an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
}

macro_rules! variants {
    ($($variant:ident $ty:ident $extern_ty:ident $into:ident $get:ident $unwrap:ident $what:literal)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", $what, ", if it is one.")]
                pub fn $into(self) -> Option<$ty> {
                    match self {
                        Extern::$variant(it) => Some(it),
                        _ => None,
                    }
                }
            )*
        }

        impl ExternType {
            $(
                #[doc = concat!("The type of the ", $what, ", if it is one.")]
                pub fn $get(&self) -> Option<&$extern_ty> {
                    match self {
                        ExternType::$variant(it) => Some(it),
                        _ => None,
                    }
                }

                #[doc = concat!("The type of the ", $what, ".")]
                ///
                /// # Panics
                ///
                #[doc = concat!("If it is no ", $what, ".")]
                pub fn $unwrap(&self) -> &$extern_ty {
                    self.$get().unwrap_or_else(|| panic!(concat!("expected a ", $what, ", found {}"), self))
                }
            )*
        }

        $(
            impl From<$ty> for Extern {
                fn from(it: $ty) -> Extern {
                    Extern::$variant(it)
                }
            }

            impl From<$extern_ty> for ExternType {
                fn from(ty: $extern_ty) -> ExternType {
                    ExternType::$variant(ty)
                }
            }
        )*
    };
}

variants! {
    Func Func FuncType into_func func unwrap_func "function"
    Global Global GlobalType into_global global unwrap_global "global"
    Table Table TableType into_table table unwrap_table "table"
    Memory Memory MemoryType into_memory memory unwrap_memory "memory"
}

impl Extern {
    /// Its type. The minimum of a memory or table is its current size.
    ///
    /// # Panics
    ///
    /// If it is of another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Extern::Func(func) => func.ty(store).into(),
            Extern::Global(global) => global.ty(store).into(),
            Extern::Table(table) => table.ty(store).into(),
            Extern::Memory(memory) => memory.ty(store).into(),
        }
    }

    pub(crate) fn from_handle(handle: ExternalHandle) -> Extern {
        match handle {
            ExternalHandle::Func(func) => Extern::Func(Func(func)),
            ExternalHandle::Global(global) => Extern::Global(Global(global)),
            ExternalHandle::Table(table) => Extern::Table(Table(table)),
            ExternalHandle::Memory(memory) => Extern::Memory(Memory(memory)),
        }
    }

    pub(crate) fn handle(self) -> ExternalHandle {
        match self {
            Extern::Func(func) => ExternalHandle::Func(func.0),
            Extern::Global(global) => ExternalHandle::Global(global.0),
            Extern::Table(table) => ExternalHandle::Table(table.0),
            Extern::Memory(memory) => ExternalHandle::Memory(memory.0),
        }
    }
}

impl From<EntityType> for ExternType {
    fn from(ty: EntityType) -> ExternType {
        match ty {
            EntityType::Func(ty) => ExternType::Func(ty),
            EntityType::Table(ty) => ExternType::Table(ty),
            EntityType::Memory(ty) => ExternType::Memory(ty),
            EntityType::Global(ty) => ExternType::Global(ty),
        }
    }
}

/// As in "the module wants a …".
impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |f: &mut fmt::Formatter<'_>, minimum: u64, maximum: Option<u64>, unit: &str| {
            match maximum {
                Some(maximum) => write!(f, "of {minimum} to {maximum} {unit}"),
                None => write!(f, "of at least {minimum} {unit}"),
            }
        };
        match self {
            ExternType::Func(ty) => write!(f, "function of type `{ty}`"),
            ExternType::Global(ty) => {
                let mutable = if ty.mutability() == Mutability::Var { "mutable " } else { "" };
                write!(f, "{mutable}global of type `{}`", ty.content())
            }
            ExternType::Table(ty) => {
                f.write_str(if ty.is_64() { "64-bit table " } else { "table " })?;
                size(f, ty.minimum(), ty.maximum(), "elements")?;
                write!(f, " of type `{}`", ty.element())
            }
            ExternType::Memory(ty) => {
                f.write_str(if ty.is_64() { "64-bit memory " } else { "memory " })?;
                size(f, ty.minimum(), ty.maximum(), "pages")
            }
        }
    }
}

/// An import of a module: where it is looked for, and its type.
#[derive(Clone, Debug)]
pub struct ImportType<'a> {
    module: &'a str,
    name: &'a str,
    ty: ExternType,
}

impl<'a> ImportType<'a> {
    pub(crate) fn new(module: &'a str, name: &'a str, ty: ExternType) -> ImportType<'a> {
        ImportType { module, name, ty }
    }

    /// The first part of its name.
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// The second part of its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its type.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

/// An export of a module: its name and its type.
#[derive(Clone, Debug)]
pub struct ExportType<'a> {
    name: &'a str,
    ty: ExternType,
}

impl<'a> ExportType<'a> {
    pub(crate) fn new(name: &'a str, ty: ExternType) -> ExportType<'a> {
        ExportType { name, ty }
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its type.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

/// An export of an instance: its name, and what it is.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    name: &'a str,
    definition: Extern,
}

impl<'a> Export<'a> {
    pub(crate) fn new(name: &'a str, definition: Extern) -> Export<'a> {
        Export { name, definition }
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.definition
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// If it is of another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.definition.ty(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::types::ValType;

    #[test]
    fn types_are_named_as_in_errors() {
        let show = |ty: ExternType| ty.to_string();
        let func = FuncType::new([ValType::I32], [ValType::I64, ValType::F32]);
        assert_eq!(show(func.into()), "function of type `(i32) -> (i64 f32)`");
        assert_eq!(show(MemoryType::new(1, None).into()), "memory of at least 1 pages");
        assert_eq!(show(MemoryType::new64(1, Some(2)).into()), "64-bit memory of 1 to 2 pages");
        let table = TableType::new(ValType::FuncRef, 3, Some(4));
        assert_eq!(show(table.into()), "table of 3 to 4 elements of type `funcref`");
        let global = GlobalType::new(ValType::F64, Mutability::Var);
        assert_eq!(show(global.into()), "mutable global of type `f64`");
    }
}
