//! Clients that keep no rule.

use crate::fake::map;
use crate::rig::{Agent, announcement, answer, refusal, tell};
use crate::waiting::{AGES, until};
use agent::limits::Limits;
use channel::agent::{Answer, Told, VERSION};
use channel::datagram;
use channel::image::SessionId;
use channel::layout::Layout;
use rustix::net::SendFlags;
use std::os::fd::{AsFd, OwnedFd};

const ID: SessionId = SessionId([9; 16]);

fn say(socket: &OwnedFd, bytes: &[u8]) {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL).unwrap();
}

#[test]
fn nonsense_ends_the_conversation() {
    let agent = Agent::start(Limits::default());
    let nonsense: [&[u8]; 5] = [
        b"\xff\x00",
        b"{",
        b"{\"announce\":{\"session\":\"../../../x\"}}",
        b"{\"share\":{\"pages\":-1}}",
        b"{\"become\":\"root\"}",
    ];
    for bytes in nonsense {
        let (socket, _requests) = agent.announced(ID);
        say(&socket, bytes);
        let reason = refusal(&socket);
        assert!(reason.contains("nonsense"), "{reason}");
    }
    let (socket, _requests) = agent.greeted();
    say(&socket, &vec![b'x'; 200_000]);
    assert!(refusal(&socket).contains("nonsense"));
}

#[test]
fn what_comes_out_of_turn_ends_the_conversation() {
    let agent = Agent::start(Limits::default());
    let hello = Told::Hello { version: VERSION };
    for early in [
        Told::Publish,
        Told::Closed,
        Told::Looked,
        Told::Share { pages: 5 },
    ] {
        let socket = agent.connect();
        datagram::send(&socket, &early, &[]).unwrap();
        assert!(refusal(&socket).contains("out of turn"));
        let (socket, _requests) = agent.greeted();
        datagram::send(&socket, &early, &[]).unwrap();
        assert!(refusal(&socket).contains("out of turn"));
    }
    let (socket, _requests) = agent.greeted();
    datagram::send(&socket, &hello, &[]).unwrap();
    assert!(refusal(&socket).contains("out of turn"));
    let (socket, _requests) = agent.announced(ID);
    let second = announcement(SessionId([8; 16]));
    datagram::send(&socket, &Told::Announce(Box::new(second)), &[]).unwrap();
    assert!(refusal(&socket).contains("out of turn"), "one session each");
    assert!(!agent.xen.is_announced(SessionId([8; 16])));
}

#[test]
fn another_version_is_told_so() {
    let agent = Agent::start(Limits::default());
    let socket = agent.connect();
    let hello = Told::Hello {
        version: VERSION + 1,
    };
    datagram::send(&socket, &hello, &[]).unwrap();
    let reason = refusal(&socket);
    assert!(reason.contains(&format!("version {VERSION}")), "{reason}");
}

#[test]
fn a_flood_is_cut_off() {
    let agent = Agent::start(Limits {
        burst: 20,
        ..Limits::default()
    });
    let (socket, _requests) = agent.announced(ID);
    let mut sent = 0;
    let reason = loop {
        match tell(&socket, &Told::Looked) {
            Ok((Answer::Refused(reason), _)) => break reason,
            Ok(_) => sent += 1,
            Err(e) => panic!("{e}"),
        }
        assert!(sent < 10_000, "nothing stops it");
    };
    assert!(reason.contains("too many messages"), "{reason}");
}

#[test]
fn who_does_not_read_is_dropped_and_nobody_else_waits() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests) = agent.announced(ID);
    let mut other = crate::child::Other::start(&agent.socket, SessionId([8; 16]), None);
    // dom0 asks again and again; no client acknowledges.
    until("it is dropped", || {
        agent.xen.ask(ID, "look");
        let told = datagram::receive(&socket).unwrap_or_default();
        matches!(told, Some((Answer::Refused(reason), _)) if reason.contains("does not read"))
    });
    assert_eq!(other.outcome(), "ok");
}

#[test]
fn nothing_is_lent_unless_dom0_waits_for_it() {
    let agent = Agent::start(Limits {
        pages: 300,
        ..Limits::default()
    });
    let (socket, requests) = agent.announced(ID);
    let share = |pages| tell(&socket, &Told::Share { pages }).unwrap();
    assert!(matches!(share(20).0, Answer::Failed(why) if why.contains("dom0 does not wait")));
    assert!(matches!(
        tell(&socket, &Told::Publish).unwrap().0,
        Answer::Failed(_)
    ));
    agent.xen.ask(ID, "open");
    wait_for_request(&requests);
    let (lent, fds) = share(usize::MAX);
    assert_eq!(lent, Answer::Lent { pages: 300 }, "no more than its share");
    assert_eq!((fds.len(), agent.xen.bound()), (2, 1));
    let (lent, fds) = share(0);
    assert_eq!(lent, Answer::Lent { pages: 5 });
    Layout::format(&map(&fds[0], 5), &[0; 5]);
    assert_eq!(agent.xen.bound(), 1, "one at a time");
    assert_eq!(tell(&socket, &Told::Publish).unwrap().0, Answer::Done);
    assert!(
        matches!(share(20).0, Answer::Failed(_)),
        "dom0 has what it asked for"
    );
    assert!(matches!(
        tell(&socket, &Told::Publish).unwrap().0,
        Answer::Failed(_)
    ));
    assert_eq!(agent.xen.bound(), 1, "it has it as before");
}

/// dom0 has asked, and the client has published.
fn opened(agent: &Agent) -> (OwnedFd, OwnedFd, Vec<OwnedFd>) {
    let (socket, requests) = agent.announced(ID);
    agent.xen.ask(ID, "open");
    wait_for_request(&requests);
    let (_, fds) = tell(&socket, &Told::Share { pages: 20 }).unwrap();
    Layout::format(&map(&fds[0], 20), &[0; 20]);
    assert_eq!(tell(&socket, &Told::Publish).unwrap().0, Answer::Done);
    assert_eq!(agent.xen.bound(), 1);
    (socket, requests, fds)
}

fn is_published(agent: &Agent) -> bool {
    agent.xen.with(ID, |nodes| nodes.channel.is_some()) == Some(true)
}

#[test]
fn a_client_that_does_not_close_keeps_nothing_bound() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests, _fds) = opened(&agent);
    agent.xen.ask_and_wait(ID, "close");
    assert_eq!((agent.xen.bound(), is_published(&agent)), (0, false));
    let (late, _) = tell(&socket, &Told::Share { pages: 20 }).unwrap();
    assert!(
        matches!(late, Answer::Failed(_)),
        "an idle session holds nothing"
    );
}

#[test]
fn an_open_that_is_over_is_over() {
    let agent = Agent::start(Limits::default());
    let (socket, requests) = agent.announced(ID);
    agent.xen.ask(ID, "open");
    wait_for_request(&requests);
    // dom0 has waited long enough.
    agent.xen.ask_and_wait(ID, "close");
    let (late, _) = tell(&socket, &Told::Share { pages: 20 }).unwrap();
    assert!(matches!(late, Answer::Failed(_)));
    assert_eq!(agent.xen.bound(), 0);
}

#[test]
fn a_client_that_goes_keeps_nothing_bound() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests, fds) = opened(&agent);
    drop(socket);
    until("nothing bound", || agent.xen.bound() == 0);
    assert!(!is_published(&agent));
    drop(fds);
}

#[test]
fn a_client_that_drops_its_link_keeps_nothing_bound() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests, fds) = opened(&agent);
    // As it does when the link breaks: it says nothing, and goes on.
    drop(fds);
    until("nothing bound", || agent.xen.bound() == 0);
    assert!(!is_published(&agent));
    assert_eq!(tell(&socket, &Told::Looked).unwrap().0, Answer::Done);
}

#[test]
fn pages_laid_out_in_another_way_are_not_published() {
    let agent = Agent::start(Limits::default());
    let (socket, requests) = agent.announced(ID);
    agent.xen.ask(ID, "open");
    wait_for_request(&requests);
    let _lent = tell(&socket, &Told::Share { pages: 20 }).unwrap();
    let (answer, _) = tell(&socket, &Told::Publish).unwrap();
    assert!(matches!(answer, Answer::Failed(why) if why.contains("magic")));
    assert_eq!((agent.xen.bound(), is_published(&agent)), (0, false));
}

#[test]
fn noise_in_the_pages_ends_the_channel_alone() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests, fds) = opened(&agent);
    let memory = map(&fds[0], 20);
    // An index that no pushes give.
    memory.store(64, 0x7fff_ffff, std::sync::atomic::Ordering::Release);
    rustix::net::send(&fds[1], &[1], SendFlags::NOSIGNAL).unwrap();
    until("nothing bound", || agent.xen.bound() == 0);
    assert_eq!(tell(&socket, &Told::Looked).unwrap().0, Answer::Done);
}

#[test]
fn descriptors_from_a_client_are_dropped() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests) = agent.announced(ID);
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    datagram::send(&socket, &Told::Looked, &[writer.as_fd(), writer.as_fd()]).unwrap();
    assert_eq!(answer(&socket).unwrap().0, Answer::Done);
    drop(writer);
    // Ends at once if nobody has the other end.
    assert!(channel::link::wait_readable(&[reader.as_fd()], Some(AGES)).unwrap());
    assert_eq!(rustix::io::read(&reader, &mut [0u8; 1]), Ok(0));
    assert_eq!(tell(&socket, &Told::Looked).unwrap().0, Answer::Done);
}

fn wait_for_request(requests: &OwnedFd) {
    assert!(channel::link::wait_readable(&[requests.as_fd()], Some(AGES)).unwrap());
}
