//! What a dom0 has for saves and migrations. `xl-gpud` and `xl-gpu` use it: `xl-gpu doctor` works where the daemon is down.
//!
//! | module | purpose |
//! |---|---|
//! | [`helper`] | Xen's `libxl-save-helper`, and whether ours stands in its place |
//! | [`save`] | saves that run now, and whether they have the plugin |
//! | [`examination`] | `xl-gpu doctor` without a domain |

pub mod examination;
pub mod helper;
pub mod save;
