//! One open session.

use crate::host::{AGES, Host, eventually};
use crate::program::{Program, objects};
use channel::host::StepLimits;
use channel::image::SessionKey;
use channel::layout::Layout;
use channel::link::{Announcement, Link, Peer};
use daemon::capture_sink::{CaptureSink, Counts};
use daemon::session::OpenSession;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A peer that notes when it is closed.
struct Noted {
    peer: Box<dyn Peer>,
    closed: Arc<AtomicBool>,
}

impl Peer for Noted {
    fn announcement(&self) -> &Announcement {
        self.peer.announcement()
    }

    fn open(&mut self, patience: Duration) -> io::Result<(Box<dyn Link>, Layout)> {
        self.peer.open(patience)
    }

    fn close(&mut self, link: Box<dyn Link>, patience: Duration) -> io::Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        self.peer.close(link, patience)
    }
}

#[test]
fn nonsense_in_a_round_ends_the_link_at_once() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let closed = Arc::new(AtomicBool::new(false));
    let peer = Noted {
        peer: host.daemon.carrier.peer(0, program.id).unwrap(),
        closed: closed.clone(),
    };
    let key = SessionKey {
        session: program.id,
        generation: 1,
    };
    // Its buffers are larger than any may be.
    let mut limits: StepLimits = host.daemon.settings.limits;
    limits.batch.max_object_bytes = 1000;
    let image = host.daemon.images.new_image(0);
    let mut session = OpenSession::open(Box::new(peer), key, image, limits, AGES).unwrap();
    session.begin().unwrap();
    let sink = CaptureSink {
        records: None,
        cancelled: &AtomicBool::new(false),
        sent: &Counts::default(),
        sessions: 1,
    };
    let error = session.round(0, &sink).unwrap_err();
    assert!(
        error.to_string().contains("batch from the guest"),
        "{error}"
    );
    assert!(closed.load(Ordering::Relaxed), "not only when it is undone");
    session.undo();
    drop(session);
    eventually("the program can be captured again", || {
        host.request("checkpoint").is_ok()
    });
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}
