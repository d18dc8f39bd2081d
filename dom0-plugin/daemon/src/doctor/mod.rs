//! Why a domain could not migrate now: `xl-gpu doctor`, and the pre-flight of each migration.
//!
//! One list of checks ([`checks`]), each a function from a domain to findings. The first half goes by what can be seen from
//! here; then the sessions are opened, and the second half goes by what they answer. Nothing is suspended, detached or kept
//! from running for any of it. A finding that is an error refuses the migration.

mod answers;
pub mod checks;
mod devices;
pub mod examination;
mod host;
pub mod patient;
pub mod sessions;
mod spool;
