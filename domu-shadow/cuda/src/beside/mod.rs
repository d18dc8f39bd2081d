//! Calls of ours beside the program's: in its contexts, on streams and in memory of our own.
//!
//! No thread of a session waits for the program's work here, and nothing disturbs it: streams do not synchronise with the legacy one and have the
//! lowest priority, memory is made by `cuMemCreate` (`cuMemFree` would wait for the whole device), and a capture of the program's in
//! global mode does not see our calls.
//!
//! | room | purpose |
//! |---|---|
//! | [`aside`] | calls that wait for the program's work |
//! | [`home`] | making a context current for a call |
//! | [`stream`] | streams and events |
//! | [`memory`] | device memory |
//! | [`pin`] | host memory that the driver has pinned |

pub mod aside;
pub mod home;
pub mod memory;
pub mod pin;
pub mod stream;
