//! Finds circles of modules: modules that, each through the next, refer back to themselves.
//!
//! - `targets`: what cargo builds from a folder, each target with its root file
//! - `modules`: the modules of a target, read from its files
//! - `tests_out`: what is compiled for tests only is left out
//! - `references`: which modules a module's paths lead to
//! - `circle`: the circles among these references
//!
//! All of it works on tokens, so paths inside macros count too. Names are not resolved: `crate::a::T` leads to `crate::a`, whatever
//! module `T` comes from. A re-export therefore makes its module depend on both sides, which is what a reader sees.

use std::collections::BTreeSet;
use std::path::Path;

mod circle;
mod error;
mod modules;
mod references;
mod targets;
mod tests_out;

pub use circle::{Circle, Reference};
pub use error::Error;
pub use targets::{Target, targets_below};

/// The circles of the target with this root file.
pub fn circles(root: &Path) -> Result<Vec<Circle>, Error> {
    let modules = modules::modules(root)?;
    let names: BTreeSet<String> = modules.iter().map(|module| module.name.clone()).collect();
    let references = modules
        .iter()
        .flat_map(|module| references::references(module, &names));
    Ok(circle::circles(references))
}
