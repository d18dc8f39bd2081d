//! XenStore as the daemon uses it: texts, short, read and written from any thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use xen_bindings::{Store, StoreError};
use xenstore_rs::Xs;
use xenstore_rs::unix::XsUnix;

/// Longest value that is taken from a guest, in bytes (XenStore's own limit is 2 KiB for guests).
const MAX_VALUE: usize = 4096;

/// Children of a folder and their values.
pub type Nodes = BTreeMap<String, String>;

/// Two connections: one to read, one for guarded writes.
pub struct XenStore {
    reading: Mutex<XsUnix>,
    writing: Store,
}

impl XenStore {
    /// Connects.
    pub fn open() -> io::Result<Self> {
        let explain = |e: io::Error| {
            io::Error::new(
                e.kind(),
                format!("XenStore cannot be reached ({e}); xl-gpud runs in dom0, as root"),
            )
        };
        Ok(XenStore {
            reading: Mutex::new(XsUnix::new().map_err(explain)?),
            writing: Store::open().map_err(|e| explain(to_io(e)))?,
        })
    }

    fn reading<T>(&self, f: impl FnOnce(&XsUnix) -> io::Result<T>) -> io::Result<T> {
        f(&self.reading.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// A node's value; `None` where there is no such node.
    pub fn read(&self, path: &str) -> io::Result<Option<String>> {
        match self.reading(|xs| xs.read(path)) {
            Ok(value) if value.len() > MAX_VALUE => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} holds {} bytes", value.len()),
            )),
            Ok(value) => Ok(Some(value.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
        }
    }

    /// Names of a node's children; none where there is no such node.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        match self.reading(|xs| xs.directory(path)) {
            Ok(names) => Ok(names
                .iter()
                .filter(|n| !n.is_empty())
                .map(|n| n.to_string())
                .collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
        }
    }

    /// Writes `path` if there is a node `guard`; whether there was.
    pub fn write_under(&self, guard: &str, path: &str, value: &str) -> io::Result<bool> {
        self.under(guard, |t| t.write(path, value))
    }

    /// Writes `path`, and removes `stale`, if `path` holds `expected`; whether it did.
    pub fn write_over(
        &self,
        path: &str,
        expected: &str,
        value: &str,
        stale: &str,
    ) -> io::Result<bool> {
        self.writing
            .transaction(|t| {
                if t.read_text(path)?.as_deref() != Some(expected) {
                    return Ok(false);
                }
                if t.read(stale)?.is_some() {
                    t.remove(stale)?;
                }
                t.write(path, value).map(|()| true)
            })
            .map_err(to_io)
    }

    /// Writes what `path` holds once more, so that watches of it fire. In a transaction: another write that comes in between
    /// is not undone.
    pub fn touch(&self, path: &str) -> io::Result<bool> {
        self.under(path, |t| match t.read(path)? {
            Some(value) => t.write(path, value),
            None => Ok(()),
        })
    }

    /// Has `folder` hold the children `now` and no others, if there is a node `guard`; whether there was. `before` is what it
    /// holds already, if it is still there.
    pub fn replace_under(
        &self,
        guard: &str,
        folder: &str,
        before: &Nodes,
        now: &Nodes,
    ) -> io::Result<bool> {
        self.under(guard, |t| {
            let mut held = before;
            if t.read(folder)?.is_none() {
                held = const { &Nodes::new() };
            } else if before.is_empty() || before.keys().any(|name| !now.contains_key(name)) {
                t.remove(folder)?;
                held = const { &Nodes::new() };
            }
            now.iter()
                .filter(|(name, value)| held.get(*name) != Some(*value))
                .try_for_each(|(name, value)| t.write(&format!("{folder}/{name}"), value))
        })
    }

    /// Removes `path`, where there is a node `guard`.
    pub fn remove_under(&self, guard: &str, path: &str) -> io::Result<bool> {
        self.under(guard, |t| match t.read(path)? {
            Some(_) => t.remove(path),
            None => Ok(()),
        })
    }

    fn under(
        &self,
        guard: &str,
        change: impl Fn(&xen_bindings::Transaction<'_>) -> Result<(), StoreError>,
    ) -> io::Result<bool> {
        self.writing
            .transaction(|t| {
                if t.read(guard)?.is_none() {
                    return Ok(false);
                }
                change(t).map(|()| true)
            })
            .map_err(to_io)
    }
}

fn to_io(e: StoreError) -> io::Error {
    io::Error::other(e)
}
