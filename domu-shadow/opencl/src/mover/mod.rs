//! What a move needs of OpenCL.
//!
//! | room | purpose |
//! |---|---|
//! | `api` | OpenCL as one of the process's APIs |
//! | `capture` | what a round lists, and what a command has named since |
//! | `dirty` | marks left by commands, and markers behind them |
//! | `comparing` | the delta engines of a capture |
//! | `lanes`, `packed`, `pin` | reading and writing contents beside the program |
//! | `quiesce` | coming to rest |
//! | `recreate`, `matching` | releasing the driver's objects, and making them again |

mod api;
mod capture;
mod comparing;
mod dirty;
mod error;
mod lanes;
mod matching;
mod packed;
mod pin;
mod quiesce;
mod recreate;
