//! What the helper's library, `xl-gpud` and `xl-gpu` say to each other.
//!
//! | module | purpose |
//! |---|---|
//! | [`conversation`] | lines, replies and versions |
//! | [`helper`] | the conversation of a save or restore |
//! | [`ram`] | RAM that is pre-copied while devices are assigned |
//! | [`control`] | requests of the command line |
//! | [`status`] | domains, their sessions and images |
//! | [`progress`] | a migration under way |
//! | [`blackout`] | the parts of the time in which programs' GPU calls were blocked |
//! | [`report`] | what a migration cost |
//! | [`history`] | migrations that are over |
//! | [`diagnosis`] | why a domain could not migrate |
//! | [`xenstore`] | paths and nodes in XenStore, for guests too |
//! | [`text`] | text for people |

pub use channel::xenstore;

pub mod blackout;
pub mod control;
pub mod conversation;
pub mod diagnosis;
pub mod helper;
pub mod history;
pub mod progress;
pub mod ram;
pub mod report;
pub mod status;
pub mod text;
