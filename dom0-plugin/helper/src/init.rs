//! Fills the slots before `main`: with the library's handlers beside a libxenguest of a known version, else with the
//! originals.

use super::originals::Symbols;
use super::{messages, restore, save, slots};

/// The dynamic linker calls what is listed in this section, after it has loaded all libraries and before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISE: extern "C" fn() = initialise;

extern "C" fn initialise() {
    let _ = std::panic::catch_unwind(|| {
        let Some(symbols) = Symbols::find() else {
            return;
        }; // not in a process with libxenguest
        slots::fill(&symbols);
        match symbols.known() {
            Some(_) => slots::intercept(
                save::xc_domain_save,
                restore::xc_domain_restore,
                messages::xc_interface_open,
            ),
            None => messages::unknown_version(symbols.version),
        }
    });
}
