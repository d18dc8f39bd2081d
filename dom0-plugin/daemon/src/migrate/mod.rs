//! The saving side: one domain on its way out.
//!
//! ```text
//!   helper                      phase                              guest
//!  save, stream fd  ──────>  pre-flight: by what is seen,    ── open ──>  shares pages
//!                            by what the sessions answer   <──────────
//!  head, precopy … ───────>  pre-copying: HEAD; rounds      <── data ──  runs
//!  stop ──────────────────>  last round, manifests, SEAL    <── data ──  calls wait
//!                            unload; unmap; close           ── close ─>  detached, holds nothing
//!                            stopped: PCI devices detached  ─────────>  no device
//!  suspended ─────────────>  suspended: detached sessions are asked to open; whoever resumes the guest serves it
//!  done, or hang-up ──────>  report
//! ```
//!
//! Each phase is a type that the next one is made of. Whatever fails before `suspended` puts the GPU state back into the
//! running programs ([`aborted`]). Images stay until their session has them back or the domain is gone.

pub mod aborted;
pub mod conversation;
pub mod error;
pub mod outgoing;
pub mod precopying;
pub mod preflight;
pub mod stop;
pub mod stopped;
pub mod suspended;
