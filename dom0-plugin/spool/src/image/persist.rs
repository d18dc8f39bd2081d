//! Images that outlive the daemon.
//!
//! `NAME.memory` and `NAME.disk` are the two files, `NAME.json` (beside `NAME.memory`, written last) says what is in
//! them. All vanish with the image. Nothing is forced to disk: a host that crashes takes its guests along.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Image, OBJECT_COST, Shared};
use crate::error::{RecordFault, SpoolError};
use crate::object::{GRANULE, Medium, Object};
use crate::saved_files::{SavedFiles, remove};
use crate::store::Store;

const VERSION: u32 = 1;
const INDEX: &str = "json";
const MEMORY: &str = "memory";
const DISK: &str = "disk";
const BAD: &str = "bad";

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    version: u32,
    label: Value,
    memory_end: Option<u64>,
    disk_end: Option<u64>,
    objects: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    number: u64,
    size: u64,
    on_disk: bool,
    base: u64,
    /// Byte ranges that have space, in whole granules; the rest is zero.
    present: Vec<(u64, u64)>,
}

/// An image of an earlier daemon.
#[derive(Debug)]
pub struct Saved {
    index: Index,
    paths: [PathBuf; 3],
}

fn paths(memory_dir: &Path, dir: &Path, name: &str) -> [PathBuf; 3] {
    [
        memory_dir.join(format!("{name}.{INDEX}")),
        memory_dir.join(format!("{name}.{MEMORY}")),
        dir.join(format!("{name}.{DISK}")),
    ]
}

impl Image {
    /// Puts the image on record under `name` (a file name without an extension, nobody else's), with a label for whoever
    /// adopts it. It stays so until it is dropped or changed. Without effect in a spool that is not lasting.
    pub fn save(&mut self, name: &str, label: &impl Serialize) -> Result<(), SpoolError> {
        let Some(memory_dir) = self.shared.memory_dir.clone() else {
            return Ok(());
        };
        self.saved = None;
        let [index_path, memory, disk] = paths(&memory_dir, &self.shared.dir, name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| SpoolError::Save { path, error }
        };
        // What has been made is removed again where something fails; what was there before is another image's.
        let mut names = SavedFiles { paths: Vec::new() };
        for (store, path) in [(&self.memory, &memory), (&self.disk, &disk)] {
            if let Some(store) = store {
                store.link(path).map_err(failed(path))?;
                names.paths.push(path.clone());
            }
        }
        let index = Index {
            version: VERSION,
            label: serde_json::to_value(label)
                .map_err(io::Error::from)
                .map_err(failed(&index_path))?,
            memory_end: self.memory.as_ref().map(Store::end),
            disk_end: self.disk.as_ref().map(Store::end),
            objects: self.objects.iter().map(|(n, o)| entry(*n, o)).collect(),
        };
        let new = index_path.with_extension("new");
        let written = serde_json::to_vec(&index)
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&new, bytes))
            // Unlike a rename this replaces nothing.
            .and_then(|()| std::fs::hard_link(&new, &index_path));
        remove(&new);
        written.map_err(failed(&index_path))?;
        names.paths.insert(0, index_path);
        self.saved = Some(names);
        Ok(())
    }
}

fn entry(number: u64, object: &Object) -> Entry {
    let present = object.all_present().into_iter();
    Entry {
        number,
        size: object.size,
        on_disk: object.medium == Medium::Disk,
        base: object.base,
        present: present.map(|run| (run.start, run.end)).collect(),
    }
}

impl Saved {
    /// What the image was labelled with.
    pub fn label(&self) -> &Value {
        &self.index.label
    }

    /// Removes it.
    pub fn discard(self) {
        self.paths.iter().for_each(|path| remove(path));
    }

    /// All that are in these folders. One whose index cannot be read is put aside as `NAME.bad`, its files beside it.
    pub(crate) fn find(memory_dir: &Path, dir: &Path) -> Vec<Saved> {
        let (mut found, mut aside) = (Vec::new(), Vec::new());
        for name in names(memory_dir, INDEX) {
            let paths = paths(memory_dir, dir, &name);
            let read =
                std::fs::read(&paths[0]).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
            match read {
                Ok(index) => found.push(Saved { index, paths }),
                Err(e) => {
                    let bad = paths[0].with_extension(BAD);
                    log::error!(
                        "{}: {e}; it is kept as {}",
                        paths[0].display(),
                        bad.display()
                    );
                    if let Err(e) = std::fs::rename(&paths[0], &bad) {
                        log::error!("{}: {e}", bad.display());
                        aside.extend(paths);
                    }
                }
            }
        }
        for name in names(memory_dir, BAD) {
            aside.extend(paths(memory_dir, dir, &name));
        }
        let known = |path: &PathBuf| {
            aside.contains(path) || found.iter().any(|saved| saved.paths.contains(path))
        };
        let of = |dir: &Path, extension: &'static str| {
            let dir = dir.to_owned();
            names(&dir, extension)
                .into_iter()
                .map(move |name| dir.join(format!("{name}.{extension}")))
        };
        of(memory_dir, MEMORY)
            .chain(of(dir, DISK))
            .chain(of(memory_dir, "new"))
            .filter(|path| !known(path))
            .for_each(|path| remove(&path));
        found
    }

    pub(crate) fn open(self, shared: Shared) -> Result<Image, SpoolError> {
        let [index_path, memory_path, disk_path] = &self.paths;
        let bad = |fault| SpoolError::Record {
            path: index_path.clone(),
            fault,
        };
        if self.index.version != VERSION {
            return Err(bad(RecordFault::Version(self.index.version)));
        }
        let open = |path: &PathBuf, end: Option<u64>, on_disk| {
            end.map(|end| Store::linked(path, end, on_disk))
                .transpose()
                .map_err(|error| {
                    let path = path.clone();
                    bad(RecordFault::Open { path, error })
                })
        };
        let mut image = Image::new(shared);
        image.memory = open(memory_path, self.index.memory_end, false)?;
        image.disk = open(disk_path, self.index.disk_end, true)?;
        for entry in &self.index.objects {
            let medium = match entry.on_disk {
                true => Medium::Disk,
                false => Medium::Memory,
            };
            let mut object = Object::new(entry.size, medium, entry.base);
            for &(start, end) in &entry.present {
                if start > end || end > entry.size {
                    return Err(bad(RecordFault::NoBytes {
                        object: entry.number,
                        start,
                        end,
                    }));
                }
                Object::touched(&(start..end)).for_each(|granule| object.set(granule, None));
            }
            debug_assert!(entry.base.is_multiple_of(GRANULE));
            // They are there already, whatever the limits say now.
            image
                .shared
                .quota
                .take_anyway(OBJECT_COST + object.stored());
            if medium == Medium::Memory {
                image
                    .shared
                    .memory
                    .take_anyway(Object::addressed(object.size));
            }
            image.bytes += object.size;
            image.objects.insert(entry.number, object);
        }
        image.saved = Some(SavedFiles {
            paths: self.paths.into(),
        });
        Ok(image)
    }
}

/// Names in `dir` with this extension, without it.
fn names(dir: &Path, extension: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(&format!(".{extension}"))?.to_owned())
        })
        .collect()
}
