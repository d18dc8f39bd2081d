//! Watches: one thread, one connection, what fired as a set.
//!
//! A guest may touch its nodes as often as it likes: a node that fired ten thousand times is one entry here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use channel::xenstore;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};
use xenstore_rs::AsyncWatch;
use xenstore_rs::tokio::XsTokio;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    /// Domains have come.
    Introduced,
    /// Domains have gone.
    Released,
    /// `data/gpu-migration` of a domain, which the guest writes.
    Data(u32),
    /// `control/gpu-migration/request` of a domain, which the administrator writes; its siblings are ours.
    Control(u32),
    /// `control/shutdown` of a domain: the toolstack asks the guest to suspend.
    Shutdown(u32),
}

/// The node by which the toolstack asks a guest to suspend (Xen's `docs/misc/xenstore-paths.pandoc`).
pub fn shutdown(domid: u32) -> String {
    format!("{}/control/shutdown", xenstore::home(domid))
}

impl Watch {
    fn path(self) -> String {
        match self {
            Watch::Introduced => "@introduceDomain".into(),
            Watch::Released => "@releaseDomain".into(),
            Watch::Data(domid) => xenstore::sessions(domid),
            Watch::Control(domid) => format!(
                "{}/{}",
                xenstore::control(domid),
                xenstore::control::REQUEST
            ),
            Watch::Shutdown(domid) => shutdown(domid),
        }
    }
}

/// Looks of one wait that a guest can cause at once; one that writes on is looked at every [`PACE`] only, so that it cannot
/// take a processor from us.
const FREE_LOOKS: u32 = 16;
/// Least time between two looks after those.
const PACE: Duration = Duration::from_millis(2);
/// A lost event costs no more than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Fired {
    /// Not taken yet.
    pending: BTreeSet<Watch>,
    /// How often each domain's data fired, for those who wait for an answer of the guest.
    data: BTreeMap<u32, u64>,
    lost: bool,
}

#[derive(Debug, Default)]
struct Shared {
    fired: Mutex<Fired>,
    changed: Condvar,
}

impl Shared {
    fn fired(&self) -> MutexGuard<'_, Fired> {
        self.fired.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn fire(&self, watch: Watch) {
        let mut fired = self.fired();
        fired.pending.insert(watch);
        if let Watch::Data(domid) = watch {
            *fired.data.entry(domid).or_default() += 1;
        }
        drop(fired);
        self.changed.notify_all();
    }

    fn lose(&self) {
        self.fired().lost = true;
        self.changed.notify_all();
    }
}

enum Command {
    Add(Watch),
    Remove(Watch),
}

/// The watching thread's handle.
#[derive(Debug, Clone)]
pub struct Watches {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Watches {
    /// Connects and watches domains come and go.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (commands, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let watches = Watches {
            shared: shared.clone(),
            commands,
        };
        std::thread::Builder::new()
            .name("watches".into())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, serve(shared.clone(), receiver));
                shared.lose();
            })?;
        watches.add(Watch::Introduced);
        watches.add(Watch::Released);
        Ok(watches)
    }

    /// Watches; fires once at the start.
    pub fn add(&self, watch: Watch) {
        // The thread ends only with the connection, and then says so itself.
        let _ = self.commands.send(Command::Add(watch));
    }

    /// Watches no longer.
    pub fn remove(&self, watch: Watch) {
        let _ = self.commands.send(Command::Remove(watch));
        if let Watch::Data(domid) = watch {
            self.shared.fired().data.remove(&domid);
        }
    }

    /// Waits for something to fire and takes all that has; `None` when the connection is lost.
    pub fn take(&self) -> Option<BTreeSet<Watch>> {
        let mut fired = self.shared.fired();
        loop {
            if !fired.pending.is_empty() {
                return Some(std::mem::take(&mut fired.pending));
            }
            if fired.lost {
                return None;
            }
            fired = match self.shared.changed.wait(fired) {
                Ok(fired) => fired,
                Err(e) => e.into_inner(),
            };
        }
    }

    /// How often the domain's data has fired.
    pub fn data(&self, domid: u32) -> u64 {
        *self.shared.fired().data.get(&domid).unwrap_or(&0)
    }

    /// A wait for something that the domain's guest has to write.
    pub fn wait_for_data(&self, domid: u32) -> DataWait<'_> {
        DataWait {
            watches: self,
            domid,
            seen: 0,
            looks: 0,
        }
    }
}

/// Waits for a guest's nodes to change: [`DataWait::mark`], look at them, [`DataWait::until`], and again.
#[derive(Debug)]
pub struct DataWait<'a> {
    watches: &'a Watches,
    domid: u32,
    seen: u64,
    looks: u32,
}

impl DataWait<'_> {
    /// Before a look: what is written from now on ends the next wait.
    pub fn mark(&mut self) {
        self.seen = self.watches.data(self.domid);
    }

    /// After a look that did not find it: waits for something new, at most until `deadline`. It may return early.
    pub fn until(&mut self, deadline: Instant) {
        self.looks = self.looks.saturating_add(1);
        let left = || deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(pace(self.looks).min(left()));
        let (shared, domid, seen) = (&self.watches.shared, self.domid, self.seen);
        let same = |fired: &mut Fired| !fired.lost && fired.data.get(&domid).unwrap_or(&0) == &seen;
        let wait = left().min(LOOK_AGAIN);
        drop(
            shared
                .changed
                .wait_timeout_while(shared.fired(), wait, same),
        );
    }
}

/// What the next look has to wait for in any case after so many.
fn pace(looks: u32) -> Duration {
    match looks {
        ..=FREE_LOOKS => Duration::ZERO,
        _ => PACE,
    }
}

async fn serve(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let store = match XsTokio::new().await {
        Ok(store) => store,
        Err(e) => return log::error!("XenStore cannot be watched: {e}"),
    };
    let mut running: BTreeMap<Watch, JoinHandle<()>> = BTreeMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Add(watch) => {
                let (store, shared) = (store.clone(), shared.clone());
                let task = tokio::task::spawn_local(async move {
                    match store.watch(&watch.path()).await {
                        Ok(mut events) => {
                            // The store's own first event may come before it is listened for.
                            shared.fire(watch);
                            while events.next().await.is_some() {
                                shared.fire(watch);
                            }
                        }
                        Err(e) => {
                            return log::error!("{}: cannot be watched: {e}", watch.path());
                        }
                    }
                    // The stream ends with the connection only.
                    shared.lose();
                });
                if let Some(before) = running.insert(watch, task) {
                    before.abort();
                }
            }
            Command::Remove(watch) => {
                // Dropping the stream ends the watch.
                if let Some(task) = running.remove(&watch) {
                    task.abort();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_writes_on_is_looked_at_at_a_pace() {
        assert_eq!(pace(1), Duration::ZERO);
        assert_eq!(pace(FREE_LOOKS), Duration::ZERO);
        assert_eq!(pace(FREE_LOOKS + 1), PACE);
        assert_eq!(pace(u32::MAX), PACE);
    }

    #[test]
    fn what_is_written_after_the_mark_ends_the_wait() {
        let watches = Watches {
            shared: Arc::default(),
            commands: mpsc::unbounded_channel().0,
        };
        let mut wait = watches.wait_for_data(7);
        let ages = Instant::now() + Duration::from_secs(3600);
        for _ in 0..2 * FREE_LOOKS {
            wait.mark();
            watches.shared.fire(Watch::Data(7));
            wait.until(ages);
        }
        // Another guest's does not, and the end of the connection does.
        wait.mark();
        watches.shared.fire(Watch::Data(8));
        watches.shared.lose();
        wait.until(ages);
    }
}
