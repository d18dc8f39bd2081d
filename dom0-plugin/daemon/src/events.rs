//! What happens by itself: sessions come and go, nodes ask for something, domains end.

use crate::bare_save;
use crate::carrier::Event;
use crate::daemon::Daemon;
use crate::manual;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Handles events until there are no more.
pub fn handle(daemon: &Arc<Daemon>, events: &Receiver<Event>) {
    for event in events {
        match event {
            Event::Sessions(domid) => daemon.server.look(domid),
            Event::Request(domid, request) => {
                let daemon = daemon.clone();
                // Its own thread: a request lasts as long as the guest lets it.
                std::thread::spawn(move || manual::from_store(&daemon, domid, &request));
            }
            Event::BareSave(save) => bare_save::look(daemon, &save),
            Event::Gone(domid) => {
                daemon.publisher.forget(domid);
                daemon.server.forget(domid);
                let dropped = daemon.images.drop_domain(domid);
                if dropped > 0 {
                    log::info!("domain {domid} is gone: {dropped} images dropped");
                }
            }
            Event::Lost => return,
        }
    }
}
