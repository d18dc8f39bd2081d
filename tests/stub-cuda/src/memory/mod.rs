//! Memory: device memory is the host's, at addresses that the program cannot touch.
//!
//! | room | purpose |
//! |---|---|
//! | [`addresses`] | the range of device addresses, and which of it is taken |
//! | [`backing`] | physical memory, charged to its device |
//! | [`space`] | what is mapped where, and who may touch it |
//! | [`ordinary`] | `cuMemAlloc` and relatives: small ones share a block |
//! | [`physical`] | `cuMemCreate` handles |
//! | [`reserved`] | `cuMemAddressReserve` |
//! | [`host`] | the program's memory that devices may touch |
//! | [`pool`] | stream-ordered pools |

pub mod addresses;
pub mod backing;
pub mod host;
pub mod ordinary;
pub mod physical;
pub mod pool;
pub mod reserved;
pub mod space;
