//! What the functions that are ours work with.
//!
//! | room | purpose |
//! |---|---|
//! | [`entry`] | what every call passes: the gate, the driver's library, contents that are still on their way |
//! | [`capturing`] | streams that are being captured |
//! | [`contents`] | waiting for contents |

pub mod capturing;
pub mod contents;
pub mod entry;
