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
//! memory, from within the call that switches log-dirty on: see [`log_dirty`].
//!
//! On the restoring side it is `read_exact` that is interposed: where a record header of ours stands in the stream,
//! `xl-gpud` reads the records from the descriptor itself, and libxenguest gets the first header that is not ours.
//!
//! A domain without GPU sessions passes through: the helper's own arguments go to libxenguest unchanged, but for a suspend callback
//! that first looks whether a session has come meanwhile. That holds too when `xl-gpud` is absent, hangs or answers nonsense; the plugin then looks into XenStore itself, and refuses
//! only if the domain has a session. Beside a libxenguest whose prototypes it does not know, every entry point is a
//! plain jump to the original.

//!
//! | module | purpose |
//! |---|---|
//! | `init` | fills the slots before `main` |
//! | `slots` | the symbols that come before Xen's, and what they jump to |
//! | `originals` | Xen's own functions, and which versions are known |
//! | `save` | `xc_domain_save`: pass through, refuse, or migrate |
//! | `plain_save` | a save of a domain without GPU session |
//! | `callbacks` | a save with one: precopy policy and suspend |
//! | `precopy_policy` | when GPU and memory together stop the pre-copy |
//! | `log_dirty`, `devices` | PCI devices have to leave before log-dirty is switched on |
//! | `ram` | RAM pre-copy before they leave |
//! | `restore`, `stream_cursor` | `xc_domain_restore`, and which reads are record headers |
//! | `client` | the conversation with `xl-gpud` |
//! | `sessions` | what XenStore says where `xl-gpud` cannot |
//! | `stream_fd` | the stream's descriptor, and whether it was taken away |
//! | `messages` | lines for whoever runs `xl` |
//! | `errno` | the C library's |

mod callbacks;
mod client;
mod devices;
mod errno;
#[cfg(target_arch = "x86_64")] // Xen saves and restores domains on x86 only
mod init;
mod log_dirty;
mod messages;
mod originals;
mod plain_save;
mod precopy_policy;
mod ram;
mod restore;
mod save;
mod sessions;
#[cfg(target_arch = "x86_64")]
mod slots;
mod stream_cursor;
mod stream_fd;
