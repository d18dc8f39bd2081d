//! What cargo builds from a folder: libraries, programs, tests, examples, each with its root file.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;

/// A crate in rustc's sense.
#[derive(Debug)]
pub struct Target {
    pub package: String,
    /// As cargo names it: `lib`, `bin`, `test`, `custom-build` and so on.
    pub kind: String,
    pub name: String,
    /// The file that holds the root module.
    pub root: PathBuf,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.kind, self.name)
    }
}

/// The targets of all members of the workspace whose folder is `dir` or below it; an error if there are none.
pub fn targets_below(dir: &Path) -> Result<Vec<Target>, Error> {
    let dir = dir.canonicalize().map_err(|source| Error::Read {
        path: dir.to_owned(),
        source,
    })?;
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(&dir)
        .output()
        .map_err(|source| Error::Cargo {
            dir: dir.clone(),
            source,
        })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Metadata { dir, message });
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        if !Path::new(&text(&package["manifest_path"])).starts_with(&dir) {
            continue;
        }
        found.extend(list(&package["targets"]).iter().map(|target| Target {
            package: text(&package["name"]),
            kind: text(&target["kind"][0]),
            name: text(&target["name"]),
            root: text(&target["src_path"]).into(),
        }));
    }
    if found.is_empty() {
        Err(Error::NoPackage(dir))
    } else {
        Ok(found)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
