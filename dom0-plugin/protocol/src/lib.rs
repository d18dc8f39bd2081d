//! What the helper's library, `xl-gpud` and `xl-gpu` say to each other.
//!
//! | module | purpose |
//! |---|---|
//! | [`helper`] | the conversation of a save or restore |
//! | [`ram`] | RAM that is pre-copied while devices are assigned |
//! | [`control`] | requests of the command line |
//! | [`text`] | text for people |

pub mod control;
pub mod helper;
pub mod ram;
pub mod text;
