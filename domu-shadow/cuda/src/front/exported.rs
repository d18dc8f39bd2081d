//! All functions of the list that are not ours, exported under their names.
//!
//! A function that passes the gate gets its arguments as words and hands them on. A jump needs to know nothing of them.
//!
//! `unsafe`: exports C functions, and calls the driver's by their addresses.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::mem::transmute;
use std::sync::atomic::Ordering;

use super::marks::USED;
use crate::abi::*;
use crate::core::entry::{Need, enter};
use crate::core::room;
use crate::driver::library;
use crate::driver::list::functions;
use crate::driver::table::{LIST, Place, TABLE, real};

/// A function of C, whatever its parameters.
pub type Function = unsafe extern "C" fn();

macro_rules! exported {
    ($($class:ident $name:ident($($abi:tt)*) $($why:literal)?;)*) => {
        $(function! { $class $name $($abi)* })*

        /// Under these names programs, too, find what is above and in `api`.
        mod names {
            unsafe extern "C" {
                $(pub fn $name();)*
            }
        }

        /// Ours, in the list's order.
        pub static OURS: [Function; LIST.len()] = [$(names::$name,)*];
    };
}

macro_rules! function {
    (own $name:ident $($abi:tt)*) => {};
    (jump $name:ident $($abi:tt)*) => {
        /// # Safety
        /// As `cuda.h` says of the parameters.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "mov r11, [rip + {table} + {place} * 8]",
                "test r11, r11",
                "jz 2f",
                "jmp r11",
                "2: mov r11d, {place}",
                "jmp {first}",
                table = sym TABLE,
                place = const Place::$name as u32,
                first = sym first,
            )
        }
    };
    (mark $name:ident _) => {
        /// # Safety
        /// As `cuda.h` says of the parameters.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                "mov byte ptr [rip + {used} + {place}], 1",
                "mov r11, [rip + {table} + {place} * 8]",
                "test r11, r11",
                "jz 2f",
                "jmp r11",
                "2: mov r11d, {place}",
                "jmp {first}",
                used = sym USED,
                table = sym TABLE,
                place = const Place::$name as u32,
                first = sym first,
            )
        }
    };
    (mark $name:ident $($abi:tt)*) => { words! { Mark $name $($abi)* } };
    (driver $name:ident $($abi:tt)*) => { words! { Driver $name $($abi)* } };
    (contents $name:ident $($abi:tt)*) => { words! { Contents $name $($abi)* } };
}

macro_rules! words {
    ($need:ident $name:ident 0) => { gated! { $need $name [] } };
    ($need:ident $name:ident 1 $(+ $($more:ty),*)?) => { gated! { $need $name [a] $($($more),*)? } };
    ($need:ident $name:ident 2 $(+ $($more:ty),*)?) => { gated! { $need $name [a b] $($($more),*)? } };
    ($need:ident $name:ident 3) => { gated! { $need $name [a b c] } };
    ($need:ident $name:ident 4) => { gated! { $need $name [a b c d] } };
    ($need:ident $name:ident 5) => { gated! { $need $name [a b c d e] } };
    ($need:ident $name:ident 6) => { gated! { $need $name [a b c d e f] } };
    ($need:ident $name:ident 7) => { gated! { $need $name [a b c d e f g] } };
    ($need:ident $name:ident 8) => { gated! { $need $name [a b c d e f g h] } };
    ($need:ident $name:ident 9) => { gated! { $need $name [a b c d e f g h i] } };
    ($need:ident $name:ident 10) => { gated! { $need $name [a b c d e f g h i j] } };
    ($need:ident $name:ident 11) => { gated! { $need $name [a b c d e f g h i j k] } };
    ($need:ident $name:ident 12) => { gated! { $need $name [a b c d e f g h i j k l] } };
    ($need:ident $name:ident 13) => { gated! { $need $name [a b c d e f g h i j k l m] } };
    ($need:ident $name:ident 14) => { gated! { $need $name [a b c d e f g h i j k l m n] } };
    ($need:ident $name:ident 15) => { gated! { $need $name [a b c d e f g h i j k l m n o] } };
    ($need:ident $name:ident 16) => { gated! { $need $name [a b c d e f g h i j k l m n o p] } };
}

macro_rules! gated {
    ($need:ident $name:ident [$($word:ident)*]) => {
        gated! { @make $need $name ($($word: usize),*) }
    };
    ($need:ident $name:ident [$($word:ident)*] $first:ty) => {
        gated! { @make $need $name ($($word: usize,)* y: $first) }
    };
    ($need:ident $name:ident [$($word:ident)*] $first:ty, $second:ty) => {
        gated! { @make $need $name ($($word: usize,)* y: $first, z: $second) }
    };
    (@make $need:ident $name:ident ($($argument:ident: $type:ty),*)) => {
        /// # Safety
        /// As `cuda.h` says of the parameters.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments)]
        unsafe extern "C" fn $name($($argument: $type),*) -> CUresult {
            let _inside = match before!($need $name) {
                Ok(inside) => inside,
                Err(code) => return code,
            };
            let real = TABLE[Place::$name as usize].load(Ordering::Relaxed);
            // SAFETY: what the driver has under this name, which `enter` has looked up; its arguments are these words.
            let call = || unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> CUresult>(real)($($argument),*) };
            match call() {
                CUDA_ERROR_OUT_OF_MEMORY if room::give_way() => call(),
                code => code,
            }
        }
    };
}

macro_rules! before {
    (Driver $name:ident) => {
        enter(Need::Driver)
    };
    (Contents $name:ident) => {
        enter(Need::Contents)
    };
    // A move looks once nobody is inside.
    (Mark $name:ident) => {
        enter(Need::Contents).inspect(|_| USED[Place::$name as usize].store(1, Ordering::Relaxed))
    };
}

functions!(exported);

/// The first jump of all: opens the library, and goes on with the arguments where they are. The place is in `r11`.
#[unsafe(naked)]
unsafe extern "C" fn first() {
    naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 8",
        "mov edi, r11d",
        "call {resolve}",
        "add rsp, 8",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        resolve = sym resolve,
    )
}

extern "C" fn resolve(place: u32) -> *mut c_void {
    let opened = library::open_outside();
    let real = real(place as usize);
    if opened.is_ok() || !real.is_null() {
        return real;
    }
    not_initialized as *mut c_void
}

/// In a child that was forked in the middle of a move.
extern "C" fn not_initialized() -> CUresult {
    CUDA_ERROR_NOT_INITIALIZED
}
