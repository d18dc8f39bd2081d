//! Generates the raw bindings from the Xen headers installed on the build machine (Debian: `libxen-dev`).
//!
//! The five libraries with a stable ABI become structs of function pointers that are filled with `dlopen` at run
//! time; from `xenguest.h` and `xenctrl.h` only types and constants are taken, because the plugin finds those
//! functions in the process it is preloaded into.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    library(
        &out,
        "gnttab",
        "xengnttab.h",
        "xengn(ttab|tshr)_(open|close|fd|share_pages|unshare|map_domain_grant_refs|unmap|grant_copy)",
    );
    library(
        &out,
        "evtchn",
        "xenevtchn.h",
        "xenevtchn_(open|close|fd|notify|bind_unbound_port|bind_interdomain|unbind|pending|unmask)",
    );
    library(
        &out,
        "store",
        "xenstore.h",
        "xs_(open|close|daemon_destroy_postfork|fileno|read|write|mkdir|rm|directory|watch|unwatch|check_watch|\
         get_permissions|set_permissions|transaction_start|transaction_end|is_domain_introduced)",
    );

    library(
        &out,
        "foreignmemory",
        "xenforeignmemory.h",
        "xenforeignmemory_(open|close|map|unmap)",
    );

    library(
        &out,
        "devicemodel",
        "xendevicemodel.h",
        "xendevicemodel_(open|close|set_isa_irq_level)",
    );

    let guest = builder("#include <xenctrl.h>\n#include <xenguest.h>\n")
        .allowlist_type(
            "save_callbacks|restore_callbacks|precopy_stats|xc_stream_type_t|xentoollog_level|xc_domain_meminfo",
        )
        .allowlist_var("XGS_POLICY_.*|XEN_DOMCTL_SHADOW_OP_.*|XEN_DOMCTL_PFINFO_.*|XCFLAGS_.*")
        .opaque_type("xc_interface_core");
    write(guest, &out.join("guest.rs"), "xenguest.h");
}

fn builder(contents: &str) -> bindgen::Builder {
    bindgen::builder()
        .header_contents("xl-gpu-xen.h", contents)
        // Under Clang the headers' nested includes need the public macros of a dom0 tool.
        .clang_arg("-D__XEN_TOOLS__")
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .generate_comments(false)
        .derive_debug(false)
        .layout_tests(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
}

fn library(out: &Path, name: &str, header: &str, functions: &str) {
    let bindings = builder(&format!(
        "#include <{header}>\n#include <stdlib.h>\n#include <xentoollog.h>\n"
    ))
    .dynamic_library_name("Api")
    .dynamic_link_require_all(true)
    .allowlist_function(functions)
    .allowlist_type("xs_permissions|xs_perm_type|xs_watch_type|xentoollog_logger")
    .allowlist_var("GNTST_.*|GNTCOPY_.*|XS_UNWATCH_FILTER|XBT_NULL|XS_PERM_(READ|WRITE)");
    write(bindings, &out.join(format!("{name}.rs")), header);
}

fn write(builder: bindgen::Builder, file: &Path, header: &str) {
    let bindings = builder
        .generate()
        .unwrap_or_else(|e| panic!("no bindings for {header}: {e}\ninstall the Xen headers and libclang (Debian: libxen-dev libclang-dev)"));
    bindings.write_to_file(file).expect("OUT_DIR is writable");
}
