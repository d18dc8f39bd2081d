//! Giving images back: whoever resumes the guest serves it.

pub mod ended;
pub mod followed;
pub mod image_server;
pub mod server;
