//! The library preloaded into `libxl-save-helper`.
//!
//! libxl starts the helper for each save and each restore of a domain; the helper calls `xc_domain_save` or
//! `xc_domain_restore` of libxenguest. The plugin's definitions of those functions come first in the process, so it
//! sits between the two and has `xl-gpud` put the GPU's records into the stream, or take them out:
//!
//! ```text
//!  libxl-save-helper          plugin                         libxenguest            xl-gpud
//!        │ xc_domain_save        │   save, stream fd              │                    │
//!        ├──────────────────────►├────────────────────────────────┼───────────────────►│ sessions?
//!        │                       │ xc_domain_save                 │                    │
//!        │                       ├───────────────────────────────►│ headers            │
//!        │                       │◄───── precopy_policy ──────────┤                    │
//!        │                       ├── precopy ─────────────────────┼───────────────────►│ writes records
//!        │                       │                                │ memory             │
//!        │                       │◄───── suspend ─────────────────┤                    │
//!        │                       ├── stop ────────────────────────┼───────────────────►│ writes records, seal
//!        │◄─── suspend ──────────┤                                │                    │
//!        │                       ├── suspended ───────────────────┼───────────────────►│
//!        │                       │                                │ memory, END        │
//!        │◄──────────────────────┤── done ────────────────────────┼───────────────────►│
//! ```
//!
//! With a PCI device assigned Xen refuses to track the guest's writes; then precopy and stop come before the first page of
//! memory, from within the call that switches log-dirty on: see [`passthrough`].
//!
//! On the restoring side it is `read_exact` that is interposed: where a record header of ours stands in the stream,
//! `xl-gpud` reads the records from the descriptor itself, and libxenguest gets the first header that is not ours.
//!
//! A domain without GPU sessions passes through: the helper's own arguments go to libxenguest unchanged, but for a suspend callback
//! that first looks whether a session has come meanwhile. That holds too when `xl-gpud` is absent, hangs or answers nonsense; the plugin then looks into XenStore itself, and refuses
//! only if the domain has a session. Beside a libxenguest whose prototypes it does not know, every entry point is a
//! plain jump to the original.

mod callbacks;
mod client;
#[cfg(target_arch = "x86_64")] // Xen saves and restores domains on x86 only
mod entry;
mod errno;
mod originals;
mod passing;
mod passthrough;
mod policy;
mod position;
mod ram;
mod report;
mod restore;
mod save;
mod sessions;
mod stream_fd;
