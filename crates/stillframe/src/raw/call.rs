//! Calling wasm, and being called by it.

use super::cells::{Cells, cell_of, load_results, val_of};
use crate::caller::Caller;
use crate::error;
use crate::into_func::Returned;
use crate::store::Invariant;
use crate::val::Val;
use anyhow::{Result, ensure};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use stillframe_abi::types::{FuncType, ValType};
use stillframe_runtime::{FuncHandle, HostCall, HostCode, RawValue, StoreCore};

/// Calls a function with values whose types are checked here.
pub(crate) fn call(
    core: &mut StoreCore,
    func: FuncHandle,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    with_params(core, func, params, results.len(), |core, ty, cells| {
        // SAFETY: checked values: `with_params` has checked each parameter's type and store, and
        // there are cells for parameters and results.
        unsafe { core.call_unchecked(func, cells) }.map_err(error::of_call)?;
        // SAFETY: checked values: the call has stored results of the function's type.
        unsafe { load_results(core, ty, cells, results) };
        Ok(())
    })
}

/// Lends `body` cells for the parameters and results of a function, as many as the larger of the
/// two, and puts the parameters into them; an error if they are not of the function's types and of
/// this store, or if there is not room for all of its results.
pub(super) fn with_params<B>(
    core: &mut StoreCore,
    func: FuncHandle,
    params: &[Val],
    results: usize,
    body: impl FnOnce(&mut StoreCore, &FuncType, &mut [RawValue]) -> Result<B>,
) -> Result<B> {
    let ty = core.func_type(func);
    ensure!(
        params.len() == ty.params().len(),
        "expected {} arguments, found {}",
        ty.params().len(),
        params.len()
    );
    ensure!(
        results == ty.results().len(),
        "expected room for {} results, found room for {results}",
        ty.results().len(),
    );
    let cells = params.len().max(results);
    with_array::<RawValue, 16, _>(cells, RawValue::default(), |cells| {
        for (i, (value, ty)) in params.iter().zip(ty.params()).enumerate() {
            cells[i] = cell_of(core, *ty, value, || format!("argument {i}"))?;
        }
        body(core, &ty, cells)
    })
}

/// Lends `body` a slice of `len` copies of `value`; on the stack up to `N`.
fn with_array<A: Copy, const N: usize, B>(
    len: usize,
    value: A,
    body: impl FnOnce(&mut [A]) -> B,
) -> B {
    match len <= N {
        true => body(&mut [value; N][..len]),
        false => body(&mut vec![value; len]),
    }
}

/// A function whose type is known to be `P` to `R`.
pub(crate) struct TypedHandle<P, R> {
    func: FuncHandle,
    _type: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedHandle<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedHandle<P, R> {}

impl<P: Cells, R: Cells> TypedHandle<P, R> {
    /// The larger of the numbers of parameters and results.
    pub(super) const CELLS: usize =
        if P::TYPES.len() > R::TYPES.len() { P::TYPES.len() } else { R::TYPES.len() };

    /// `func`, if it has this type. Panics if it is of another store.
    pub(crate) fn new(core: &StoreCore, func: FuncHandle) -> Result<TypedHandle<P, R>> {
        let ty = core.func_type(func);
        if ty.params() != P::TYPES || ty.results() != R::TYPES {
            return Err(mismatch(&ty, P::TYPES, R::TYPES));
        }
        Ok(TypedHandle { func, _type: PhantomData })
    }

    pub(crate) fn func(&self) -> FuncHandle {
        self.func
    }

    /// Calls the function.
    #[inline]
    pub(crate) fn call(&self, core: &mut StoreCore, params: P) -> Result<R> {
        // The number of cells is known when this is compiled; arrays of a few sizes do for all.
        match Self::CELLS {
            0 | 1 => self.call_in::<1>(core, params),
            2 => self.call_in::<2>(core, params),
            3 | 4 => self.call_in::<4>(core, params),
            5..=8 => self.call_in::<8>(core, params),
            _ => self.call_in::<16>(core, params),
        }
    }

    #[inline]
    fn call_in<const N: usize>(&self, core: &mut StoreCore, params: P) -> Result<R> {
        params.check(core, "argument")?;
        let mut cells = [RawValue::default(); N];
        params.store_to(core, &mut cells);
        // SAFETY: checked values: the function's type was compared in `new`, so the cells are of
        // its parameters' types, and references are of this store, as checked; there are cells for
        // all parameters and results.
        match unsafe { core.call_unchecked(self.func, &mut cells) } {
            // SAFETY: checked values: the call has stored results of the function's type.
            Ok(()) => Ok(unsafe { R::load(core, &cells) }),
            Err(error) => Err(error::of_call(error)),
        }
    }
}

#[cold]
fn mismatch(ty: &FuncType, params: &[ValType], results: &[ValType]) -> anyhow::Error {
    let wanted = FuncType::new(params.iter().copied(), results.iter().copied());
    let lists = [("parameter", params, ty.params()), ("result", results, ty.results())];
    let mut why = String::from("the types are the same");
    for (what, wanted, found) in lists.into_iter().rev() {
        let mut pairs = wanted.iter().zip(found).enumerate();
        if let Some((i, (wanted, found))) = pairs.find(|(_, (wanted, found))| wanted != found) {
            why = format!("{what} {i}: expected `{wanted}`, found `{found}`");
        } else if wanted.len() != found.len() {
            why = format!("expected {} {what}s, found {}", wanted.len(), found.len());
        }
    }
    anyhow::anyhow!("the function has type `{ty}`, not `{wanted}`: {why}")
}

/// A function of the host's that is in no store yet, for stores with data of type `T`.
pub struct HostFunc<T> {
    /// Unique in the process.
    id: u64,
    ty: FuncType,
    code: HostCode,
    _data: Invariant<T>,
}

impl<T: 'static> HostFunc<T> {
    /// A host function of the type that follows from `P` and `R`.
    pub(crate) fn typed<P: Cells, R: Returned>(
        body: impl Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
    ) -> HostFunc<T> {
        let types = <R::Results as Cells>::TYPES;
        let ty = FuncType::new(P::TYPES.iter().copied(), types.iter().copied());
        HostFunc::new(
            ty,
            HostCode::sync(move |HostCall { store, caller, values }: HostCall<'_>| {
                // SAFETY: checked values: the caller has stored parameters of the function's type.
                let params = unsafe { P::load(store, values) };
                let results = body(Caller::new(store, caller), params).into_result()?;
                results.check(store, "host function result")?;
                results.store_to(store, values);
                Ok(())
            }),
        )
    }

    /// A host function of type `ty`. What `body` stores as results is checked.
    pub(crate) fn dynamic(
        ty: FuncType,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> HostFunc<T> {
        let types = ty.clone();
        let closure = move |HostCall { store, caller, values }: HostCall<'_>| {
            let (params, results) = (types.params(), types.results());
            let vals = params.len() + results.len();
            with_array::<Val, 8, _>(vals, Val::I32(0), |vals| {
                let (param_vals, result_vals) = vals.split_at_mut(params.len());
                for ((val, ty), cell) in param_vals.iter_mut().zip(params).zip(&*values) {
                    // SAFETY: checked values: the caller has stored parameters of the function's
                    // type.
                    *val = unsafe { val_of(store, *ty, *cell) };
                }
                for (val, ty) in result_vals.iter_mut().zip(results) {
                    *val = Val::default_for_ty(*ty);
                }
                body(Caller::new(store, caller), param_vals, result_vals)?;
                for (i, (val, ty)) in result_vals.iter().zip(results).enumerate() {
                    let place = || format!("host function result {i}");
                    values[i] = cell_of(store, *ty, val, place)?;
                }
                Ok(())
            })
        };
        HostFunc::new(ty, HostCode::sync(closure))
    }

    pub(super) fn new(ty: FuncType, code: HostCode) -> HostFunc<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        HostFunc { id, ty, code, _data: PhantomData }
    }

    /// A number that no other host function of this process has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// Adds the function to a store, whose data is of type `T`.
    pub(crate) fn add_to(&self, core: &mut StoreCore) -> Result<FuncHandle> {
        // SAFETY: checked values: the code made in `typed`, `dynamic`, `typed_async` and
        // `dynamic_async` is all there is; it stores results of `ty`'s types, and checks that
        // references are of the store, before it returns `Ok` or its future is ready with it.
        unsafe { core.add_host_function(&self.ty, self.code.clone()) }
    }
}
