//! The last migrations of each domain, kept over restarts of the daemon.
//!
//! One JSON object a line, oldest first. The file is written anew after a change and renamed into place, so it is whole
//! at any moment. A line that makes no sense is skipped, and gone with the next change.
//!
//! A thread of its own writes: whoever notes something may be in the middle of a domain's downtime, and the disk busy.

use protocol::history::{History, Migration};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

/// Migrations of one domain that are kept.
const EACH: usize = 32;
/// Migrations in all.
const ALL: usize = 2048;
/// Longest reason that is kept, in characters.
const REASON: usize = 2000;

type Migrations = Arc<Mutex<Vec<Migration>>>;

/// Migrations that are over, oldest first.
#[derive(Debug, Default)]
pub struct Histories {
    migrations: Migrations,
    /// To the thread that writes.
    changed: Option<Sender<()>>,
}

fn lock(migrations: &Migrations) -> MutexGuard<'_, Vec<Migration>> {
    migrations.lock().unwrap_or_else(|e| e.into_inner())
}

impl Histories {
    /// Those in `file`, which need not be there; new ones go there, soon.
    pub fn in_file(file: PathBuf) -> Self {
        let migrations: Migrations = Arc::new(Mutex::new(read(&file)));
        let (changed, changes) = channel();
        let kept = migrations.clone();
        let writer = std::thread::Builder::new().name("history".into());
        if let Err(e) = writer.spawn(move || write_changes(&file, &kept, &changes)) {
            log::error!("the history will not be kept, no thread can be had for it: {e}");
        }
        Histories {
            migrations,
            changed: Some(changed),
        }
    }

    /// Keeps a migration, or what is new about one that is kept. Whether it is a new one.
    pub fn note(&self, mut migration: Migration) -> bool {
        if let Some(error) = &mut migration.error {
            *error = error.chars().take(REASON).collect();
        }
        let mut kept = lock(&self.migrations);
        let known = kept
            .iter_mut()
            .find(|m| m.id == migration.id && m.role == migration.role);
        let is_new = known.is_none();
        match known {
            Some(known) => *known = migration,
            None => kept.push(migration),
        }
        forget_oldest(&mut kept);
        drop(kept);
        if let Some(changed) = &self.changed {
            // There is nobody to tell where the thread could not be had.
            let _ = changed.send(());
        }
        is_new
    }

    /// Those of the domain of this name or UUID; of all where none is named.
    pub fn of(&self, domain: Option<&str>) -> History {
        let kept = lock(&self.migrations);
        let wanted = |m: &&Migration| {
            domain.is_none_or(|wanted| m.name == wanted || m.uuid.as_deref() == Some(wanted))
        };
        History {
            migrations: kept.iter().filter(wanted).cloned().collect(),
        }
    }
}

/// The oldest ones of a domain that has more than its share, and of all where there are too many.
fn forget_oldest(migrations: &mut Vec<Migration>) {
    let mut newer: BTreeMap<String, usize> = BTreeMap::new();
    let mut keep: Vec<bool> = migrations
        .iter()
        .rev()
        .map(|m| {
            let count = newer.entry(m.domain().to_owned()).or_default();
            *count += 1;
            *count <= EACH
        })
        .collect();
    keep.truncate(ALL);
    keep.resize(migrations.len(), false);
    migrations.retain(|_| keep.pop().unwrap_or(false));
}

fn read(file: &Path) -> Vec<Migration> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            log::warn!("{}: the history cannot be read: {e}", file.display());
            return Vec::new();
        }
    };
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let mut migrations: Vec<Migration> = lines
        .filter_map(|(number, line)| {
            serde_json::from_slice(line)
                .inspect_err(|e| log::warn!("{}, line {}: {e}", file.display(), number + 1))
                .ok()
        })
        .collect();
    forget_oldest(&mut migrations);
    migrations
}

/// Writes what there is after a change, or after several that came meanwhile.
fn write_changes(file: &Path, migrations: &Migrations, changes: &Receiver<()>) {
    while changes.recv().is_ok() {
        while changes.try_recv().is_ok() {}
        let kept = lock(migrations).clone();
        if let Err(e) = write(file, &kept) {
            log::warn!("{}: the history cannot be kept: {e}", file.display());
        }
    }
}

fn write(file: &Path, migrations: &[Migration]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut text = Vec::new();
    for migration in migrations {
        serde_json::to_writer(&mut text, migration)?;
        text.push(b'\n');
    }
    let new = file.with_extension("new");
    // Domains' names and what went wrong with them: root's, like the socket.
    let mut open = OpenOptions::new();
    let mut written = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(&text)?;
    // The name must not reach the disk before the contents.
    written.sync_data()?;
    std::fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::history::Outcome;
    use protocol::report::{Report, Role};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    /// Waits for what must come.
    fn eventually(is_so: impl Fn() -> bool) {
        while !is_so() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn migration(id: u64, name: &str) -> Migration {
        let mut report = Report::new(Role::Source, 1);
        report.id = id;
        report.name = name.into();
        report.ok = Some(true);
        Migration::of(&report).unwrap()
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xl-gpu-{name}-{}", std::process::id()));
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("history.jsonl")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_outlives_the_daemon_and_bad_lines() {
        let folder = Folder::new("history");
        let file = folder.file();
        let histories = Histories::in_file(file.clone());
        assert!(histories.note(migration(1, "web")));
        assert!(histories.note(migration(2, "db")));
        let mut known = migration(1, "web");
        known.blackout_s = Some(0.25);
        assert!(!histories.note(known.clone()), "what is new about it");
        eventually(|| read(&file) == histories.of(None).migrations);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "root's alone");

        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("{\"id\": 7\n\u{0}\n{\"id\":9}\n");
        std::fs::write(&file, text).unwrap();
        let again = Histories::in_file(file);
        assert_eq!(again.of(None), histories.of(None));
        assert_eq!(again.of(Some("web")).migrations, [known]);
        assert_eq!(again.of(Some("other")).migrations, []);
    }

    #[test]
    fn a_domain_is_found_by_its_uuid_over_a_change_of_name() {
        let histories = Histories::default();
        for (id, name) in [(1, "old"), (2, "new")] {
            let mut one = migration(id, name);
            one.uuid = Some("6f2c".into());
            histories.note(one);
        }
        assert_eq!(histories.of(Some("6f2c")).migrations.len(), 2);
        assert_eq!(histories.of(Some("old")).migrations.len(), 1);
    }

    #[test]
    fn no_domain_takes_all_the_room() {
        let histories = Histories::default();
        histories.note(migration(0, "quiet"));
        for id in 1..=3 * EACH as u64 {
            histories.note(migration(id, "busy"));
        }
        let busy = histories.of(Some("busy")).migrations;
        assert_eq!(busy.len(), EACH);
        assert_eq!(busy.last().unwrap().id, 3 * EACH as u64);
        assert!(busy.is_sorted_by_key(|m| m.id), "the newest are kept");
        assert_eq!(histories.of(Some("quiet")).migrations.len(), 1);
    }

    #[test]
    fn many_domains_do_not_fill_the_disk() {
        let many = 0..ALL as u64 + 10;
        let many = many.map(|id| migration(id, &format!("domain {id}")));
        let histories = Histories {
            migrations: Arc::new(Mutex::new(many.collect())),
            ..Histories::default()
        };
        histories.note(migration(9999, "last"));
        let all = histories.of(None).migrations;
        assert_eq!(all.len(), ALL);
        assert_eq!((all[0].id, all[ALL - 1].id), (11, 9999));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let histories = Histories::default();
        let mut one = migration(1, "web");
        one.outcome = Outcome::Failed;
        one.error = Some("ö".repeat(REASON + 1));
        histories.note(one);
        let kept = histories.of(None).migrations.remove(0).error.unwrap();
        assert_eq!(kept, "ö".repeat(REASON));
    }

    /// `note` is called while a domain waits for its restore to end.
    #[test]
    fn nobody_waits_for_the_disk() {
        let folder = Folder::new("busy-disk");
        std::fs::create_dir_all(&folder.0).unwrap();
        // Opening it takes until somebody reads from it.
        let stuck = folder.file().with_extension("new");
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, &stuck, FileType::Fifo, mode, 0).unwrap();
        let histories = Histories::in_file(folder.file());
        for id in 0..3 {
            assert!(histories.note(migration(id, "web")));
        }
        assert_eq!(histories.of(Some("web")).migrations.len(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_no_harm() {
        let histories = Histories::in_file("/proc/nowhere/history.jsonl".into());
        assert!(histories.note(migration(1, "web")));
        assert_eq!(histories.of(None).migrations.len(), 1);
    }
}
