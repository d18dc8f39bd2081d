//! A session that keeps the rules.

use crate::common::workload::{Memory, some_objects};
use crate::common::{Store, limits, patient};
use crate::fake::FakeXen;
use crate::rig::{Agent, announcement};
use crate::waiting::{AGES, until};
use agent::limits::Limits;
use channel::agent::{AgentRendezvous, AnnouncedIn};
use channel::guest::Session;
use channel::host::{Attached, Detached, one_by_one};
use channel::image::SessionId;
use channel::link::{Rendezvous, Residence};

#[test]
fn a_session_moves_there_and_back_by_the_agent() {
    let agent = Agent::start(Limits::default());
    let (id, xen) = (SessionId([3; 16]), agent.xen.clone());
    let objects = some_objects(3000);
    let (memory, program) = Memory::new(objects.clone());
    let mut session = Session::new(memory, announcement(id), 263);
    let socket = agent.socket.clone();
    std::thread::spawn(move || {
        let mut rendezvous = AgentRendezvous::connect(&socket, &AnnouncedIn::default()).unwrap();
        panic!("{}", session.run(&mut rendezvous));
    });
    until("an announcement", || xen.is_announced(id));
    xen.with(id, |nodes| {
        assert_eq!(nodes.announcement.pid, std::process::id());
        assert_ne!(
            nodes.announcement.program, "test",
            "the kernel's word counts"
        );
        assert_eq!(nodes.uid, rustix::process::geteuid().as_raw());
        assert_eq!(nodes.instance.pid(), std::process::id());
    });
    assert_eq!(xen.bound(), 0, "an idle session holds nothing");

    let (link, layout) = xen.open(id).unwrap();
    assert_eq!(xen.bound(), 1);
    let mut store = Store::default();
    let attached = Attached::new(link, layout, limits(), patient());
    let (_, mut copying) = attached.begin(1).unwrap();
    for round in 0..3 {
        copying.round(round, &one_by_one(&mut store)).unwrap();
    }
    let (_, quiesced) = copying.stop(AGES, &one_by_one(&mut store)).unwrap();
    let (_, detached) = quiesced.unload().unwrap();
    let last = store.objects.clone();
    xen.close(id, detached.into_link());
    assert_eq!(xen.bound(), 0, "nothing is bound across the suspend");
    assert!(program.lock().unwrap().objects.is_none());

    xen.migrate();
    until("a new announcement", || xen.is_announced(id));
    let state = |xen: &FakeXen| xen.with(id, |n| n.announcement.state).unwrap();
    assert_eq!(state(&xen), Residence::Detached);
    let (link, layout) = xen.open(id).unwrap();
    let detached = Detached::new(link, layout, limits(), patient());
    let (_, session) = detached.restore(1, &store, &mut |_| ()).unwrap();
    xen.close(id, session.into_link());
    assert_eq!(program.lock().unwrap().objects, Some(last));
    until("attached again", || state(&xen) == Residence::Attached);
    assert!(!program.lock().unwrap().moved, "it was asked");

    // A look at the bus, and a domain that was moved without a word.
    xen.ask_and_wait(id, "look");
    let bus = xen.with(id, |n| n.announcement.bus.clone()).unwrap();
    // As the agent sees it: a machine may have none.
    assert!(bus.is_none_or(|bus| !bus.devices.is_empty()));
    xen.migrate();
    until("an announcement in the third domain", || {
        xen.is_announced(id)
    });
    until("the program hears of it", || program.lock().unwrap().moved);
}

#[test]
fn a_link_that_a_move_cut_off_is_never_ended() {
    let agent = Agent::start(Limits::default());
    let (id, xen) = (SessionId([4; 16]), agent.xen.clone());
    let (memory, program) = Memory::new(some_objects(100));
    let mut session = Session::new(memory, announcement(id), 20);
    let socket = agent.socket.clone();
    std::thread::spawn(move || {
        let mut rendezvous = AgentRendezvous::connect(&socket, &AnnouncedIn::default()).unwrap();
        panic!("{}", session.run(&mut rendezvous));
    });
    until("an announcement", || xen.is_announced(id));
    let _link = xen.open(id).unwrap();
    xen.migrate();
    until("a new announcement", || xen.is_announced(id));
    until("the program hears of it", || program.lock().unwrap().moved);
    assert_eq!(
        xen.bound(),
        1,
        "its port is no longer the agent's to unbind"
    );
    let (link, _) = xen.open(id).unwrap();
    xen.close(id, link);
    assert_eq!(xen.bound(), 1);
}

#[test]
fn a_session_that_lost_the_agent_in_a_move_hears_of_it() {
    let agent = Agent::start(Limits::default());
    let announced_in = AnnouncedIn::default();
    let told = announcement(SessionId([5; 16]));
    let connect = || AgentRendezvous::connect(&agent.socket, &announced_in).unwrap();
    let mut first = connect();
    assert!(!first.is_other_domain());
    first.announce(&told).unwrap();
    drop(first);
    let mut second = connect();
    assert!(!second.is_other_domain());
    drop(second);
    agent.xen.migrate();
    let mut third = connect();
    assert!(third.is_other_domain());
    third.announce(&told).unwrap();
    assert!(!third.is_other_domain());
}
