//! What bindgen makes of Xen's headers (see `build.rs`); everything else in this crate is built on it.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

macro_rules! opaque_debug {
    ($($module:ident)*) => {$(
        impl std::fmt::Debug for $module::Api {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($module)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque_debug!(gnttab evtchn store foreignmemory devicemodel);

/// `xengnttab.h`
pub mod gnttab {
    include!(concat!(env!("OUT_DIR"), "/gnttab.rs"));
}

/// `xenevtchn.h`
pub mod evtchn {
    include!(concat!(env!("OUT_DIR"), "/evtchn.rs"));
}

/// `xenstore.h`
pub mod store {
    include!(concat!(env!("OUT_DIR"), "/store.rs"));
}

/// `xenforeignmemory.h`
pub mod foreignmemory {
    include!(concat!(env!("OUT_DIR"), "/foreignmemory.rs"));
}

/// `xendevicemodel.h`
pub mod devicemodel {
    include!(concat!(env!("OUT_DIR"), "/devicemodel.rs"));
}

/// Types and constants of `xenguest.h` and `xenctrl.h`
pub mod guest {
    include!(concat!(env!("OUT_DIR"), "/guest.rs"));
}
