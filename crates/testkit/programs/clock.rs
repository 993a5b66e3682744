//! A wall clock that a test sets: preloaded into a process, it adds to the time of day as many seconds as the file
//! named by `TESTKIT_CLOCK` says, at any moment anew. The clock that only goes forward is left alone.
//!
//! Standard library only, so that `rustc` alone builds it: `--crate-type cdylib`.

use std::{
    ffi::{c_char, c_int, c_long, c_void},
    ptr,
    sync::atomic::{AtomicI64, AtomicPtr, Ordering},
};

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;

const READ_ONLY: c_int = 0;
const PROTECTION_READ: c_int = 1;
const SHARED: c_int = 1;

#[repr(C)]
pub struct Time {
    seconds: i64,
    /// Of a second: nano or micro, as the call has it.
    fraction: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
}

static UNSHIFTED: AtomicI64 = AtomicI64::new(0);
static SHIFT: AtomicPtr<AtomicI64> = AtomicPtr::new(ptr::null_mut());

/// Where the file's eight bytes are; they are mapped when they are first asked for.
fn shift() -> i64 {
    let mut known = SHIFT.load(Ordering::Acquire);
    if known.is_null() {
        known = unsafe {
            let path = getenv(c"TESTKIT_CLOCK".as_ptr());
            let file = if path.is_null() { -1 } else { open(path, READ_ONLY) };
            let mapped = mmap(ptr::null_mut(), 8, PROTECTION_READ, SHARED, file, 0);
            if file < 0 || mapped as isize == -1 { (&raw const UNSHIFTED).cast_mut() } else { mapped.cast() }
        };
        SHIFT.store(known, Ordering::Release);
    }
    unsafe { &*known }.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    let outcome = unsafe { syscall(CLOCK_GETTIME, clock as c_long, time) };
    if outcome == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
        unsafe { (*time).seconds += shift() };
    }
    outcome as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Time, _zone: *mut c_void) -> c_int {
    let outcome = unsafe { clock_gettime(REALTIME, time) };
    unsafe { (*time).fraction /= 1000 };
    outcome
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(into: *mut i64) -> i64 {
    let mut now = Time { seconds: 0, fraction: 0 };
    unsafe { clock_gettime(REALTIME, &mut now) };
    if !into.is_null() {
        unsafe { *into = now.seconds };
    }
    now.seconds
}
