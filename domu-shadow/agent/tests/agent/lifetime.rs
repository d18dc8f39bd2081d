//! Processes that end, hang up, or speak for others.

use crate::child::Other;
use crate::fake::{FakeXen, Nodes};
use crate::rig::{Agent, announcement, refusal, tell};
use crate::waiting::until;
use agent::limits::Limits;
use channel::agent::{Answer, Told};
use channel::datagram;
use channel::image::SessionId;
use channel::link::{Announcement, Residence};
use std::sync::Arc;
use std::time::Duration;
use xen_session::instance::Instance;

const ONE: SessionId = SessionId([1; 16]);
const TWO: SessionId = SessionId([2; 16]);
const SOON: Limits = Limits {
    sessions: 48,
    sessions_of_user: 16,
    pages: 300,
    burst: 100,
    rate: 10,
    reconnect: Duration::from_millis(50),
};

#[test]
fn a_process_that_is_killed_takes_its_session_along() {
    let agent = Agent::start(Limits::default());
    let mut other = Other::start(&agent.socket, ONE, None);
    assert_eq!(other.outcome(), "ok");
    let pid = agent.xen.with(ONE, |nodes| nodes.announcement.pid).unwrap();
    assert_eq!(pid, other.process.id());
    other.kill();
    until("its nodes are gone", || !agent.xen.is_announced(ONE));
}

#[test]
fn who_hangs_up_and_goes_on_has_some_time_to_come_back() {
    let agent = Agent::start(SOON);
    let (socket, requests) = agent.announced(ONE);
    drop((socket, requests));
    until("its nodes are gone", || !agent.xen.is_announced(ONE));

    let agent = Agent::start(Limits::default());
    let (socket, requests) = agent.announced(ONE);
    drop((socket, requests));
    let (socket, requests) = agent.announced(ONE);
    assert!(agent.xen.is_announced(ONE));
    // Another name: the process runs another program.
    drop((socket, requests));
    let _socket = agent.announced(TWO);
    assert!(agent.xen.is_announced(TWO) && !agent.xen.is_announced(ONE));
}

#[test]
fn a_session_whose_state_is_at_dom0_stays_as_long_as_its_process() {
    let agent = Agent::start(SOON);
    let (socket, requests) = agent.greeted();
    let detached = Announcement {
        state: Residence::Detached,
        ..announcement(ONE)
    };
    let told = Told::Announce(Box::new(detached));
    assert!(matches!(tell(&socket, &told).unwrap().0, Answer::Domain(_)));
    drop((socket, requests));
    // Only time can show that nothing happens.
    std::thread::sleep(10 * SOON.reconnect);
    assert!(agent.xen.is_announced(ONE));
}

#[test]
fn a_session_is_its_process_s_alone() {
    let agent = Agent::start(Limits::default());
    let mut owner = Other::start(&agent.socket, ONE, None);
    assert_eq!(owner.outcome(), "ok");
    let (thief, _requests) = agent.greeted();
    let told = Told::Announce(Box::new(announcement(ONE)));
    datagram::send(&thief, &told, &[]).unwrap();
    assert!(refusal(&thief).contains("another process"));
    // The nodes are the owner's as before, also when the thief goes.
    drop(thief);
    let pid = |xen: &FakeXen| xen.with(ONE, |nodes| nodes.instance.pid());
    assert_eq!(pid(&agent.xen), Some(owner.process.id()));
    owner.kill();
    until("its nodes are gone", || !agent.xen.is_announced(ONE));
}

#[test]
fn users_cannot_crowd_each_other_out() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can be two users");
        return;
    }
    let agent = Agent::start(Limits {
        sessions_of_user: 2,
        ..Limits::default()
    });
    let id = |n| SessionId([n; 16]);
    let start = |n, uid| {
        let mut other = Other::start(&agent.socket, id(n), Some(uid));
        let outcome = other.outcome();
        (other, outcome)
    };
    let (_one, first) = start(1, 12345);
    let (_two, second) = start(2, 12345);
    let (_three, third) = start(3, 12345);
    assert_eq!((first.as_str(), second.as_str()), ("ok", "ok"));
    assert!(third.contains("user 12345 has 2"), "{third}");
    let (_four, fourth) = start(4, 12346);
    assert_eq!(fourth, "ok");
    let uids = [1, 2, 4].map(|n| agent.xen.with(id(n), |nodes| nodes.uid));
    assert_eq!(uids, [Some(12345), Some(12345), Some(12346)]);
    // Nor speak for each other.
    let (_five, fifth) = start(1, 12346);
    assert!(fifth.contains("another process"), "{fifth}");
}

#[test]
fn a_session_that_needs_no_agent_is_left_alone() {
    let agent = Agent::start(Limits::default());
    let (socket, _requests) = agent.greeted();
    let mut owner = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    agent.xen.insert(ONE, nodes(ONE, owner.id()));
    let told = Told::Announce(Box::new(announcement(ONE)));
    datagram::send(&socket, &told, &[]).unwrap();
    assert!(refusal(&socket).contains("another process"));
    let pid = agent.xen.with(ONE, |nodes| nodes.instance.pid());
    assert_eq!(pid, Some(owner.id()));
    owner.kill().unwrap();
    owner.wait().unwrap();
}

fn nodes(id: SessionId, pid: u32) -> Nodes {
    Nodes {
        announcement: announcement(id),
        instance: Instance::of(pid).unwrap(),
        uid: rustix::process::geteuid().as_raw(),
        request: String::new(),
        channel: None,
        error: None,
    }
}

#[test]
fn the_next_agent_takes_over() {
    // Two processes whose sessions an earlier agent announced; one has ended since.
    let xen = Arc::new(FakeXen::default());
    let mut sleeper = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let mut gone = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    xen.insert(ONE, nodes(ONE, sleeper.id()));
    xen.insert(TWO, nodes(TWO, gone.id()));
    gone.kill().unwrap();
    gone.wait().unwrap();
    let agent = Agent::beside(
        xen.clone(),
        Limits {
            sessions: 1,
            ..SOON
        },
    );
    until("the dead one's nodes are gone", || !xen.is_announced(TWO));
    // A stranger cannot have the other's, though nobody has connected for it yet.
    let socket = agent.connect();
    assert!(refusal(&socket).contains("1 GPU sessions"), "it counts");
    assert!(xen.is_announced(ONE));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    until("the other's, too", || !xen.is_announced(ONE));
}
