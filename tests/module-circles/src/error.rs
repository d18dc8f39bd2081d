//! Why the modules of a target could not be read.

use std::io;
use std::path::PathBuf;

/// Why the modules of a target could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("running cargo metadata in {dir}: {source}", dir = .dir.display())]
    Cargo { dir: PathBuf, source: io::Error },
    #[error("cargo metadata failed in {dir}: {message}", dir = .dir.display())]
    Metadata { dir: PathBuf, message: String },
    #[error("reading what cargo metadata says: {0}")]
    Json(#[from] serde_json::Error),
    #[error("no package at or below {dir} belongs to the workspace", dir = .0.display())]
    NoPackage(PathBuf),
    #[error("reading {path}: {source}", path = .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not Rust: {source}", path = .path.display())]
    Tokens {
        path: PathBuf,
        source: proc_macro2::LexError,
    },
}
