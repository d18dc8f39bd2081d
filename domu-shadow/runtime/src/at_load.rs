//! Functions that the dynamic linker calls.

/// Has a function called when this library is loaded, or the program that it is linked into.
#[macro_export]
macro_rules! at_load {
    ($function:path) => {
        const _: () = {
            extern "C" fn at_load() {
                $function();
            }
            // SAFETY: the linker calls what it finds in this section, as functions (System V ABI, gabi 5.4).
            #[used]
            #[unsafe(link_section = ".init_array")]
            static AT_LOAD: extern "C" fn() = at_load;
        };
    };
}
