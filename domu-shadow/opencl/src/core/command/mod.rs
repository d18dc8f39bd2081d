//! Commands: enqueued, and enqueued again after a move.
//!
//! | room | purpose |
//! |---|---|
//! | [`enqueue`] | giving a command to the driver, and its event to the program |
//! | [`place`], [`wait_list`], [`operands`] | where a command goes, what it waits for, what it works on |
//! | [`deferred_commands`] | the log of commands that the program's user events defer |
//! | [`deferred_recreate`] | those in a move |
//! | [`event_status`] | setting and awaiting the statuses of events |
//! | [`transfer`] | reading and writing a part of a memory object |

pub mod deferred_commands;
pub mod deferred_recreate;
pub mod enqueue;
pub mod event_status;
pub mod operands;
pub mod place;
pub mod transfer;
pub mod wait_list;

pub use deferred_commands::{Order, Repeat};
pub use enqueue::{Command, issue, issue_once};
pub use operands::{Kept, Operands};
pub use place::{Place, marker};
pub use wait_list::WaitList;
