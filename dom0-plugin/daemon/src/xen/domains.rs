//! Which domains there are, and what their nodes say.

use super::bare_saves;
use super::presence::Alive;
use super::store::XenStore;
use super::watches::{Watch, Watches, shutdown};
use crate::carrier::{Event, MAX_HOLDERS, MAX_SESSIONS, Nonsense, Sessions};
use channel::bus::Bus;
use channel::image::SessionId;
use channel::link::{Announcement, LeftToDriver, Others};
use channel::xenstore;
use channel::xenstore::session::*;
use protocol::text;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// Least time between two looks at what fired: bounds what a guest that writes all the time can cost.
const PACE: Duration = Duration::from_millis(20);

/// Least time between two looks at a domain's suspend.
const SUSPEND_PACE: Duration = Duration::from_secs(1);

/// A node that is there as long as the domain is.
pub fn guard(domid: u32) -> String {
    format!("{}/domid", xenstore::home(domid))
}

/// Domains but dom0, in order.
pub fn list(store: &XenStore) -> io::Result<BTreeSet<u32>> {
    let names = store.list(xenstore::DOMAINS)?;
    Ok(names
        .iter()
        .filter_map(|n| n.parse().ok())
        .filter(|d| *d != 0)
        .collect())
}

/// Turns what fires into events until nobody listens or the connection is lost. Waits until they are taken: a guest that
/// writes all the time makes no queue.
pub fn follow(store: &Arc<XenStore>, watches: &Watches, events: &SyncSender<Event>) {
    let mut known = BTreeSet::new();
    let mut suspends = BTreeMap::new();
    match list(store) {
        Ok(now) => now
            .into_iter()
            .for_each(|domid| close_left_open(store, domid)),
        Err(e) => log::error!("the list of domains: {e}"),
    }
    while let Some(fired) = watches.take() {
        let mut all = Vec::new();
        if fired
            .iter()
            .any(|w| matches!(w, Watch::Introduced | Watch::Released | Watch::Data(_)))
        {
            match list(store) {
                Ok(now) => {
                    for &domid in now.difference(&known) {
                        watches.add(Watch::Data(domid));
                        watches.add(Watch::Control(domid));
                        watches.add(Watch::Shutdown(domid));
                    }
                    for &domid in known.difference(&now) {
                        watches.remove(Watch::Data(domid));
                        watches.remove(Watch::Control(domid));
                        watches.remove(Watch::Shutdown(domid));
                        suspends.remove(&domid);
                        all.push(Event::Gone(domid));
                    }
                    known = now;
                }
                Err(e) => log::error!("the list of domains: {e}"),
            }
        }
        for watch in fired {
            match watch {
                Watch::Data(domid) if known.contains(&domid) => all.push(Event::Sessions(domid)),
                Watch::Control(domid) => match store.read(&format!(
                    "{}/{}",
                    xenstore::control(domid),
                    xenstore::control::REQUEST
                )) {
                    Ok(Some(request)) if !request.is_empty() => {
                        all.push(Event::Request(domid, request));
                    }
                    Ok(_) => {}
                    Err(e) => log::warn!("domain {domid}: {e}"),
                },
                Watch::Shutdown(domid) if known.contains(&domid) => {
                    let node = store.read(&shutdown(domid));
                    if matches!(node, Ok(Some(asked)) if asked == "suspend")
                        && is_due(&mut suspends, domid)
                    {
                        all.extend(bare_saves::now(Some(domid)).map(Event::BareSave));
                    }
                }
                _ => {}
            }
        }
        for event in all {
            if events.send(event).is_err() {
                return;
            }
        }
        std::thread::sleep(PACE);
    }
    let _ = events.send(Event::Lost);
}

/// Whether to look for saves of the domain: not all the time, as its guest may write the node, too.
fn is_due(last: &mut BTreeMap<u32, Instant>, domid: u32) -> bool {
    let now = Instant::now();
    let due = last
        .get(&domid)
        .is_none_or(|last| now.duration_since(*last) >= SUSPEND_PACE);
    if due {
        last.insert(domid, now);
    }
    due
}

/// Has sessions closed that a daemon before this one had open when it died: its mappings went with it.
fn close_left_open(store: &XenStore, domid: u32) {
    let folder = xenstore::sessions(domid);
    let ids = store.list(&folder).unwrap_or_default();
    let ids = ids.iter().filter(|id| id.parse::<SessionId>().is_ok());
    for id in ids.take(MAX_SESSIONS) {
        let open = store.read(&format!("{folder}/{id}/{CHANNEL}"));
        if matches!(open, Ok(Some(_))) {
            log::warn!("domain {domid}: session {id} was left open; it is closed");
            let (guard, request) = (
                format!("{folder}/{id}/{PROTOCOL}"),
                format!("{folder}/{id}/{REQUEST}"),
            );
            if let Err(e) = store.write_under(&guard, &request, xenstore::request::CLOSE) {
                log::warn!("{request}: {e}");
            }
        }
    }
}

/// Reads a domain's sessions.
pub fn sessions(store: &XenStore, domid: u32) -> io::Result<Sessions> {
    let folder = xenstore::sessions(domid);
    let mut sessions = Sessions::default();
    let mut ids: Vec<SessionId> = store
        .list(&folder)?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    ids.sort_unstable();
    for id in ids {
        let seen = sessions.announced.len() + sessions.nonsense.len() + sessions.ended.len();
        if seen >= MAX_SESSIONS {
            sessions.nonsense.push(Nonsense {
                node: "…".into(),
                reason: format!("more than {MAX_SESSIONS} sessions"),
            });
            break;
        }
        match look(store, domid, id) {
            Ok(Found::Running(announcement)) => sessions.announced.push(announcement),
            Ok(Found::Ended) => sessions.ended.push(id),
            Ok(Found::Nothing) => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => sessions.nonsense.push(Nonsense {
                node: id.to_string(),
                reason: text::clean(&e.to_string()),
            }),
            Err(e) => return Err(e),
        }
    }
    Ok(sessions)
}

/// What there is of a session.
enum Found {
    Nothing,
    Running(Announcement),
    /// Its process was killed.
    Ended,
}

/// Reads one session; `None` where it is not announced, or its process was killed; an error of kind `InvalidData` where its
/// nodes make no sense.
pub fn session(store: &XenStore, domid: u32, id: SessionId) -> io::Result<Option<Announcement>> {
    Ok(match look(store, domid, id)? {
        Found::Running(announcement) => Some(announcement),
        Found::Nothing | Found::Ended => None,
    })
}

fn look(store: &XenStore, domid: u32, id: SessionId) -> io::Result<Found> {
    let folder = format!("{}/{id}", xenstore::sessions(domid));
    let read = |name: &str| store.read(&format!("{folder}/{name}"));
    let text = |name: &str| Ok::<_, io::Error>(read(name)?.unwrap_or_default());
    for _ in 0..10 {
        let Some(protocol) = read(PROTOCOL)? else {
            return Ok(Found::Nothing);
        };
        if let Some(text) = read(ALIVE)? {
            let alive = Alive::parse(domid, id, &text).ok_or_else(|| nonsense(ALIVE, &text))?;
            if alive.has_ended() {
                return Ok(Found::Ended);
            }
        }
        let generation = text(GENERATION)?;
        let announcement = Announcement {
            session: id,
            protocol: xenstore::parse_versions(&protocol)
                .ok_or_else(|| nonsense(PROTOCOL, &protocol))?,
            pid: number(PID, &text(PID)?)?,
            program: text::clean(&text(PROGRAM)?),
            state: {
                let state = text(STATE)?;
                state.parse().map_err(|_| nonsense(STATE, &state))?
            },
            generation: number(GENERATION, &generation)?,
            blocked: read(BLOCKED)?.map(|b| text::clean(&b)),
            others: Others {
                holders: lines(&text(HOLDERS)?),
                unseen: match read(UNSEEN)? {
                    Some(count) => number(UNSEEN, &count)?,
                    None => 0,
                },
            },
            left: match read(LEFT)? {
                Some(text) => xenstore::parse_left(&text).ok_or_else(|| nonsense(LEFT, &text))?,
                None => LeftToDriver::default(),
            },
            bus: match read(PCI)? {
                Some(text) => Some(bus(&text).ok_or_else(|| nonsense(PCI, &text))?),
                None => None,
            },
        };
        // State and generation belong together: an image is dropped or served by what they say. The guest
        // writes both in one transaction, so an unchanged generation means that they were read as one.
        if text(GENERATION)? == generation {
            return Ok(Found::Running(announcement));
        }
    }
    Err(nonsense(GENERATION, "changes all the time"))
}

/// The guest's texts in it are shown to people.
fn bus(text: &str) -> Option<Bus> {
    let line = |line: &str| {
        let words: Vec<String> = line.split(' ').map(text::clean).collect();
        words.join(" ")
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n").parse().ok()
}

/// Lines for people.
fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.take(MAX_HOLDERS).map(text::clean).collect()
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> io::Result<T> {
    text.parse().map_err(|_| nonsense(name, text))
}

fn nonsense(name: &str, value: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("node `{name}` holds `{}`", text::clean(value)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_many_modules_is_not_lost() {
        let modules: Vec<String> = (0..8)
            .map(|n| format!("module_of_a_long_name_{n}=1"))
            .collect();
        let line = format!("10de:2335 0000:00:05.0 0 nvidia {}", modules.join(" "));
        assert!(text::clean(&line).len() < line.len());
        let seen = bus(&format!("0 0 -\n{line}")).unwrap();
        assert_eq!(seen.devices[0].modules.len(), 8);
        let seen = bus("0 0 -\n10de:2335 0000:00:05.0 0 \x1b[2J").unwrap();
        assert_eq!(seen.devices[0].driver.as_deref(), Some("?[2J"));
    }

    #[test]
    fn nonsense_is_shown_clean() {
        let error = number::<u32>("pid", "1\x1b[2J").unwrap_err();
        assert_eq!(error.to_string(), "node `pid` holds `1?[2J`");
    }
}
