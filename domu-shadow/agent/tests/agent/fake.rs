//! A XenStore and devices in memory, and dom0's hands on them.

use crate::waiting::until;
use agent::xen::{LeftBehind, Lent, Place, Xen};
use channel::PAGE_SIZE;
use channel::image::SessionId;
use channel::layout::Layout;
use channel::link::{Announcement, GuestLink, Link, Request};
use channel::memory::SharedRegion;
use channel::this_domain::ThisDomain;
use channel::xenstore::PublishedChannel;
use rustix::event::{EventfdFlags, eventfd};
use rustix::mm::{MapFlags, ProtFlags};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use xen_session::instance::Instance;

/// A session's nodes.
pub struct Nodes {
    pub announcement: Announcement,
    pub instance: Instance,
    pub uid: u32,
    pub request: String,
    pub channel: Option<PublishedChannel>,
    pub error: Option<String>,
}

/// What a link consists of, at both ends.
struct Pages {
    file: OwnedFd,
    references: Vec<u32>,
    port: u32,
    dom0_s: OwnedFd,
    guest_s: OwnedFd,
}

/// The machine.
#[derive(Default)]
pub struct FakeXen {
    nodes: Arc<Mutex<HashMap<SessionId, Nodes>>>,
    watches: Arc<Mutex<Vec<(SessionId, OwnedFd)>>>,
    pages: Mutex<Vec<Arc<Pages>>>,
    domid: AtomicU32,
    /// Links that are granted and bound.
    bound: Arc<AtomicUsize>,
}

fn bell() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn ring(bell: &OwnedFd) {
    rustix::io::write(bell, &1u64.to_ne_bytes()).unwrap();
}

fn silence(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0u8; 8]);
}

pub fn map(file: &OwnedFd, pages: usize) -> SharedRegion {
    let len = pages * PAGE_SIZE;
    let both = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping, never unmapped, with no reference into it.
    unsafe {
        let base = rustix::mm::mmap(std::ptr::null_mut(), len, both, MapFlags::SHARED, file, 0);
        SharedRegion::new(
            NonNull::new(base.unwrap().cast()).unwrap(),
            len,
            Box::new(()),
        )
    }
}

impl FakeXen {
    /// What a session's nodes say.
    pub fn with<T>(&self, id: SessionId, see: impl FnOnce(&mut Nodes) -> T) -> Option<T> {
        self.nodes.lock().unwrap().get_mut(&id).map(see)
    }

    pub fn is_announced(&self, id: SessionId) -> bool {
        self.with(id, |_| ()).is_some()
    }

    pub fn insert(&self, id: SessionId, nodes: Nodes) {
        self.nodes.lock().unwrap().insert(id, nodes);
    }

    pub fn bound(&self) -> usize {
        self.bound.load(Ordering::SeqCst)
    }

    fn wake(&self, id: SessionId) {
        let watches = self.watches.lock().unwrap();
        for (_, watch) in watches.iter().filter(|(of, _)| *of == id) {
            let _ = rustix::io::write(watch, &1u64.to_ne_bytes());
        }
    }

    /// dom0 writes `request`.
    pub fn ask(&self, id: SessionId, request: &str) {
        self.with(id, |nodes| nodes.request = request.into())
            .expect("announced");
        self.wake(id);
    }

    pub fn is_acknowledged(&self, id: SessionId) -> bool {
        self.with(id, |nodes| nodes.request.is_empty()) == Some(true)
    }

    pub fn ask_and_wait(&self, id: SessionId, request: &str) {
        self.ask(id, request);
        until(request, || self.is_acknowledged(id));
    }

    /// dom0 opens the session, or says why it cannot.
    pub fn open(&self, id: SessionId) -> Result<(Box<dyn Link>, Layout), String> {
        self.ask_and_wait(id, "open");
        let (channel, error) = self.with(id, |n| (n.channel, n.error.take())).unwrap();
        let channel = channel.ok_or_else(|| error.expect("one of both"))?;
        let pages = self.pages.lock().unwrap();
        let pages = pages
            .iter()
            .find(|p| p.port == channel.port)
            .unwrap()
            .clone();
        let memory = map(&pages.file, channel.pages);
        let layout = Layout::read(&memory, channel.pages).unwrap();
        let mut references = vec![channel.reference];
        references.extend(layout.references(&memory));
        assert_eq!(references, pages.references);
        Ok((Box::new(HostLink { memory, pages }), layout))
    }

    pub fn close(&self, id: SessionId, link: Box<dyn Link>) {
        drop(link);
        self.ask_and_wait(id, "close");
    }

    /// The domain is another one: its nodes have stayed behind.
    pub fn migrate(&self) {
        self.domid.fetch_add(1, Ordering::SeqCst);
        let ids: Vec<SessionId> = self
            .nodes
            .lock()
            .unwrap()
            .drain()
            .map(|(id, _)| id)
            .collect();
        ids.into_iter().for_each(|id| self.wake(id));
    }
}

impl Xen for FakeXen {
    fn domain(&self) -> Option<ThisDomain> {
        let number = self.domid.load(Ordering::SeqCst).to_string();
        ThisDomain::read(|node| (node == "domid").then(|| number.clone()))
    }

    fn meet(&self, session: SessionId) -> io::Result<Box<dyn Place>> {
        let watch = bell();
        // A watch fires once at once.
        ring(&watch);
        self.watches
            .lock()
            .unwrap()
            .push((session, watch.try_clone()?));
        Ok(Box::new(FakePlace {
            session,
            watch,
            nodes: self.nodes.clone(),
            asked: String::new(),
        }))
    }

    fn lend(&self, pages: usize) -> io::Result<Box<dyn Lent>> {
        static NEXT: AtomicU32 = AtomicU32::new(100);
        let file = rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, (pages * PAGE_SIZE) as u64)?;
        let first = NEXT.fetch_add(pages as u32 + 1, Ordering::Relaxed);
        let pages = Arc::new(Pages {
            file,
            references: (first..).take(pages).collect(),
            port: first,
            dom0_s: bell(),
            guest_s: bell(),
        });
        self.pages.lock().unwrap().push(pages.clone());
        self.bound.fetch_add(1, Ordering::SeqCst);
        let memory = map(&pages.file, pages.references.len());
        let bound = self.bound.clone();
        Ok(Box::new(FakeLent {
            memory,
            pages,
            bound,
        }))
    }

    fn left_behind(&self) -> io::Result<Vec<LeftBehind>> {
        let nodes = self.nodes.lock().unwrap();
        let left = nodes.iter().map(|(id, nodes)| LeftBehind {
            session: *id,
            instance: nodes.instance.clone(),
            uid: nodes.uid,
        });
        Ok(left.collect())
    }

    fn remove(&self, session: SessionId) -> io::Result<()> {
        self.nodes.lock().unwrap().remove(&session);
        Ok(())
    }
}

struct FakePlace {
    session: SessionId,
    watch: OwnedFd,
    nodes: Arc<Mutex<HashMap<SessionId, Nodes>>>,
    asked: String,
}

impl FakePlace {
    fn with<T>(&self, see: impl FnOnce(&mut Nodes) -> T) -> Option<T> {
        self.nodes.lock().unwrap().get_mut(&self.session).map(see)
    }

    fn answer(&self, request: &str, open: bool) {
        self.with(|nodes| {
            if !open {
                nodes.channel = None;
            }
            if nodes.request == request {
                nodes.request.clear();
            }
        });
    }
}

impl Place for FakePlace {
    fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    fn owner(&self) -> io::Result<Option<Instance>> {
        Ok(self.with(|nodes| nodes.instance.clone()))
    }

    fn announce(&mut self, announcement: &Announcement, by: &Instance, uid: u32) -> io::Result<()> {
        let announcement = announcement.clone();
        let mut all = self.nodes.lock().unwrap();
        let nodes = all.entry(self.session).or_insert_with(|| Nodes {
            announcement: announcement.clone(),
            instance: by.clone(),
            uid,
            request: String::new(),
            channel: None,
            error: None,
        });
        nodes.announcement = announcement;
        nodes.instance = by.clone();
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        if rustix::io::read(&self.watch, &mut [0u8; 8]).is_err() {
            return Ok(None);
        }
        let Some(request) = self.with(|nodes| nodes.request.clone()) else {
            return Ok(Some(Request::Announce));
        };
        self.asked = request;
        Ok(match self.asked.as_str() {
            "open" => Some(Request::Open),
            "close" => Some(Request::Close),
            "look" => Some(Request::Look),
            _ => None,
        })
    }

    fn publish(&mut self, channel: &PublishedChannel) -> io::Result<()> {
        self.with(|nodes| nodes.channel = Some(*channel));
        self.answer("open", true);
        Ok(())
    }

    fn retract(&mut self) -> io::Result<()> {
        self.with(|nodes| nodes.channel = None);
        Ok(())
    }

    fn closed(&mut self) -> io::Result<()> {
        self.answer("close", false);
        Ok(())
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        self.with(|nodes| nodes.error = Some(reason.into()));
        self.answer(&self.asked, false);
        Ok(())
    }

    fn looked(&mut self) -> io::Result<()> {
        self.answer("look", true);
        Ok(())
    }

    fn is_announced(&self) -> bool {
        self.with(|_| ()).is_some()
    }
}

struct FakeLent {
    memory: SharedRegion,
    pages: Arc<Pages>,
    bound: Arc<AtomicUsize>,
}

impl Drop for FakeLent {
    fn drop(&mut self) {
        self.bound.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Link for FakeLent {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        ring(&self.pages.dom0_s);
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pages.guest_s.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        silence(&self.pages.guest_s);
        Ok(())
    }
}

impl GuestLink for FakeLent {
    fn references(&self) -> &[u32] {
        &self.pages.references
    }
}

impl Lent for FakeLent {
    fn port(&self) -> u32 {
        self.pages.port
    }
}

/// dom0's end.
struct HostLink {
    memory: SharedRegion,
    pages: Arc<Pages>,
}

impl Link for HostLink {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        ring(&self.pages.guest_s);
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pages.dom0_s.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        silence(&self.pages.dom0_s);
        Ok(())
    }
}
