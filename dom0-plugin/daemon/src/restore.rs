//! A session that is not open gets its image back.

use super::image_source::ImageSource;
use super::passthrough::error::DeviceError;
use super::session::{CLOSE_PATIENCE, Problem, SessionError, who};
use channel::guest::{Opened, Restored};
use channel::host::{Detached, HostTimeouts, Refused, StepLimits};
use channel::image::SessionKey;
use channel::link::Peer;
use spool::Image;
use std::time::Duration;

/// What happens while a session is served.
pub struct Serving<'a> {
    /// It is open: the domain runs then, and has to have its devices before the session's driver is loaded.
    pub ready: &'a mut dyn FnMut() -> Result<(), DeviceError>,
    /// The program runs again; contents arrive from now on.
    pub opened: &'a mut dyn FnMut(Opened),
    /// Some more contents have gone to the guest, which it cannot all have had before.
    pub progress: &'a (dyn Fn() + Sync),
}

/// A session that announced itself detached or arriving: opened, served from `image` until all of it has arrived,
/// closed.
pub fn restore(
    mut peer: Box<dyn Peer>,
    key: SessionKey,
    image: &Image,
    limits: StepLimits,
    patience: Duration,
    serving: Serving<'_>,
) -> Result<Restored, SessionError> {
    let who = who(&*peer);
    let error = |step, problem| SessionError {
        key,
        who: who.clone(),
        step,
        problem: Box::new(problem),
    };
    let (link, layout) = peer
        .open(patience)
        .map_err(|e| error("opening", Problem::Silent(e)))?;
    let detached = Detached::new(link, layout, limits, HostTimeouts::default());
    let source = ImageSource::new(image, serving.progress);
    let (restored, link) = match (serving.ready)() {
        Err(e) => (
            Err(error("attaching", Problem::Device(e))),
            Some(detached.into_link()),
        ),
        Ok(()) => match detached.restore(key.generation, &source, serving.opened) {
            Ok((restored, attached)) => (Ok(restored), Some(attached.into_link())),
            Err(Refused {
                session,
                link,
                error: e,
            }) => (
                Err(error("restoring", Problem::Step(e))),
                session.map(Detached::into_link).or(link),
            ),
        },
    };
    if let Some(link) = link
        && let Err(e) = peer.close(link, CLOSE_PATIENCE)
    {
        log::warn!("session {key} ({who}): closing: {e}");
    }
    restored
}
