//! Saves that run without the plugin are noticed when Xen's helper is started: the kernel tells who opens the program (inotify(7)).
//! A helper elsewhere, which `LIBXL_SAVE_HELPER` may name, is noticed at the guest's suspend (`domains`).

use crate::carrier::Event;
use host::helper;
use host::save::{Plugin, Save, running};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

const PROC: &str = "/proc";
/// From the start of a helper to each look at it: it has to load its libraries first.
const LOOKS: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(700),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Has events told of saves without the plugin, those that run already included.
///
/// # Errors
/// What the kernel says to a watch or a thread.
pub fn start(events: SyncSender<Event>) -> io::Result<()> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    for folder in helper::folders(Path::new("/usr")) {
        if folder.exists() {
            inotify::add_watch(&watch, &folder, WatchFlags::OPEN)?;
        }
    }
    std::thread::Builder::new()
        .name("bare-saves".into())
        .spawn(move || {
            if let Err(e) = follow(&watch, &events) {
                log::warn!("saves without the plugin are seen at the suspend only: {e}");
            }
        })?;
    Ok(())
}

/// Saves of `domid`, or of all domains, that run without the plugin.
pub fn now(domid: Option<u32>) -> impl Iterator<Item = Save> {
    running(Path::new(PROC)).into_iter().filter(move |save| {
        domid.is_none_or(|domid| domid == save.domid) && matches!(save.plugin, Plugin::Missing(_))
    })
}

/// Until nobody listens to events.
fn follow(watch: &OwnedFd, events: &SyncSender<Event>) -> io::Result<()> {
    let mut told = BTreeSet::new();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut opened = Reader::new(watch, &mut buffer);
    loop {
        for after in LOOKS {
            std::thread::sleep(after);
            let saves = running(Path::new(PROC));
            told.retain(|pid| saves.iter().any(|save| save.pid == *pid));
            let is_loading = saves.iter().any(|save| save.plugin == Plugin::Loading);
            for save in saves {
                let is_bare = matches!(save.plugin, Plugin::Missing(_));
                if is_bare && told.insert(save.pid) && events.send(Event::BareSave(save)).is_err() {
                    return Ok(());
                }
            }
            // What has just been started may not be a helper yet.
            if !is_loading && after > LOOKS[0] {
                break;
            }
        }
        while !is_helper(&opened.next()?) {}
    }
}

fn is_helper(event: &inotify::Event<'_>) -> bool {
    let name = event.file_name().map(|name| name.to_bytes());
    name.is_some_and(|name| name.starts_with(helper::NAME.as_bytes()))
}
