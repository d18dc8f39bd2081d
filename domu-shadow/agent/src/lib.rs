//! The guest's agent: lends sessions of users without rights what they need to be moved.
//!
//! It alone opens Xen's devices. A program connects to its socket, is told apart by the kernel's word for who it is, and gets its nodes in
//! XenStore written, pages and a doorbell. `docs/agent.md` has the design and its reasons, `channel::agent` the messages.
//!
//! | room | what it does |
//! |---|---|
//! | [`process`] | who a client is, and whether it still runs |
//! | [`limits`] | how much of everything a user has |
//! | [`xen`] | what the agent needs of Xen; a trait, so that tests do without |
//! | `announcement` | what of a program's words goes to dom0 |
//! | `registry` | the processes that have a session, each one |
//! | `loan` | pages and a doorbell, lent while dom0 has the session open |
//! | `client` | one client's conversation |
//! | `lifetime` | a session's nodes, as long as its process |
//! | [`service`] | the socket, and a thread for each client |

mod announcement;
mod client;
mod lifetime;
pub mod limits;
mod loan;
pub mod process;
mod registry;
pub mod service;
pub mod xen;
