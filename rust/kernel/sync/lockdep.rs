// SPDX-License-Identifier: GPL-2.0

//! Lockdep annotations for waits that are not for a lock.
//!
//! Code that others may wait for is annotated as if it held a lock, of a class that is chosen by a
//! type; waiting for it, as if that lock were taken. So lockdep reports callers that wait with a
//! lock held which that code takes, even if the two don't meet.

#[cfg(CONFIG_LOCKDEP)]
use crate::ffi::c_ulong;

/// Returns a map of the class that is chosen by `T`.
// Not inlined, as lockdep distinguishes classes and names by their addresses.
#[cfg(CONFIG_LOCKDEP)]
#[inline(never)]
fn map<T>() -> bindings::lockdep_map {
    bindings::lockdep_map {
        // It is static, and nothing but its address is used. Each `T` has another one, as it points
        // to this function; two closures in one function have the same type name. Each crate that
        // uses this with `T` has another one, too.
        key: core::ptr::from_ref(const { &(map::<T> as fn() -> bindings::lockdep_map) })
            .cast_mut()
            .cast(),
        name: c"rust_wait".as_ptr().cast(),
        ..pin_init::zeroed()
    }
}

/// Returns what lockdep reports as the place where a [`map`] is acquired.
// The symbol of this address names `T`.
#[cfg(CONFIG_LOCKDEP)]
#[inline]
fn ip<T>() -> c_ulong {
    map::<T> as *const () as c_ulong
}

/// Calls `f`, which others may wait for.
///
/// With `trylock`, `f` is only called if there is nobody to wait for.
#[inline]
#[cfg_attr(not(CONFIG_LOCKDEP), expect(clippy::extra_unused_type_parameters))]
pub(crate) fn section<T, R>(trylock: bool, f: impl FnOnce() -> R) -> R {
    #[cfg(CONFIG_LOCKDEP)]
    {
        let mut map = map::<T>();
        // SAFETY: `map` is valid until it is released, by the same context.
        unsafe {
            bindings::lock_acquire(
                &mut map,
                0,
                trylock.into(),
                0,
                1,
                core::ptr::null_mut(),
                ip::<T>(),
            )
        };
        let ret = f();
        // SAFETY: `map` was acquired above, by this context.
        unsafe { bindings::lock_release(&mut map, ip::<T>()) };

        ret
    }

    #[cfg(not(CONFIG_LOCKDEP))]
    {
        let _ = trylock;
        f()
    }
}

/// Reports to lockdep that the caller may wait for a [`section`] of `T`.
#[inline]
pub(crate) fn might_wait<T>() {
    // SAFETY: `lock_sync()` does not keep the map.
    #[cfg(CONFIG_LOCKDEP)]
    unsafe {
        bindings::lock_sync(&mut map::<T>(), 0, 0, 1, core::ptr::null_mut(), ip::<T>())
    };
}
