//! Every type of this crate for real, between a guest and dom0.
//!
//! In the guest `xen-probe guest PAGES` waits for requests under `data/xen-probe`, and announces itself again after
//! each migration; in dom0 `xen-probe dom0 DOMID` makes it share its pages, maps and checks them, sends events both
//! ways, and closes everything; `xen-probe quit DOMID` ends it. Any difference ends either side with an error.

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use xl_gpu_xen::{EventChannel, GrantError, GrantMap, GrantShare, PAGE_SIZE, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HOME: &str = "data/xen-probe";
const WORDS: usize = PAGE_SIZE / 4;
const PINGS: u32 = 200;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["guest", pages] => guest(pages.parse()?),
        ["dom0", domid] => dom0(domid.parse()?),
        ["quit", domid] => {
            Ok(Store::open()?.write(&format!("/local/domain/{domid}/{HOME}/request"), "quit")?)
        }
        _ => Err("usage: xen-probe guest PAGES | dom0 DOMID | quit DOMID".into()),
    }
}

/// What the word at this place holds, as written by one side.
fn pattern(writer: u32, word: usize) -> u32 {
    (word as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(writer)
}

fn fill(start: *mut u8, words: usize, writer: u32) {
    for word in 0..words {
        // SAFETY: the callers pass the start of a mapping of that many words, which is alive.
        unsafe {
            start
                .cast::<u32>()
                .add(word)
                .write_volatile(pattern(writer, word))
        };
    }
}

fn check(start: *mut u8, words: usize, writer: u32) -> Result<()> {
    for word in 0..words {
        // SAFETY: as in `fill`.
        let value = unsafe { start.cast::<u32>().add(word).read_volatile() };
        if value != pattern(writer, word) {
            return Err(
                format!("word {word} of {words} is {value:#x}, not writer {writer}'s").into(),
            );
        }
    }
    Ok(())
}

fn wait(fd: impl AsFd, milliseconds: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry.
    unsafe { libc::poll(&raw mut poll, 1, milliseconds) > 0 }
}

fn wait_event(channel: &EventChannel) -> Result<()> {
    let started = Instant::now();
    while !channel.take_pending()? {
        if started.elapsed() > Duration::from_secs(20) {
            return Err("no event came".into());
        }
        wait(channel, 1000);
    }
    Ok(())
}

struct Shared {
    pages: GrantShare,
    directory: GrantShare,
    channel: EventChannel,
}

fn guest(pages: usize) -> Result<()> {
    let store = Store::open()?;
    match GrantShare::new(0, 40_000, true) {
        Err(GrantError::Limit { .. }) => {}
        other => return Err(format!("more pages than any limit: {other:?}").into()),
    }
    let request = format!("{HOME}/request");
    store.watch(&request, "request")?;
    store.watch("domid", "moved")?;
    let mut shared: Option<Shared> = None;
    loop {
        if wait(&store, 1000) {
            while store.next_event()?.is_some() {}
        }
        if store.read(&format!("{HOME}/ready"))?.is_none() {
            store.write(&request, "")?;
            store.write(&format!("{HOME}/ready"), "1")?;
            println!("announced in domain {}", store.own_domid()?);
        }
        match store.read_text(&request)?.as_deref() {
            Some("open") => {
                let s = share(pages)?;
                let value = format!(
                    "{} {} {pages}",
                    s.directory.references()[0],
                    s.channel.port()
                );
                store.transaction::<_, Box<dyn Error>>(|t| {
                    t.write(&format!("{HOME}/channel"), &value)?;
                    Ok(t.write(&request, "")?)
                })?;
                // dom0's event says that it has checked our pattern and left its own.
                wait_event(&s.channel)?;
                check(s.pages.as_ptr(), pages * WORDS, 2)?;
                s.channel.notify()?;
                for _ in 0..PINGS {
                    wait_event(&s.channel)?;
                    s.channel.notify()?;
                }
                shared = Some(s);
            }
            Some("close") => {
                let s = shared.take().ok_or("close without open")?;
                s.channel.close()?;
                s.pages.close()?;
                s.directory.close()?;
                store.remove(&format!("{HOME}/channel"))?;
                store.write(&request, "")?;
            }
            Some("quit") => {
                store.unwatch(&request, "request")?;
                store.remove(HOME)?;
                return Ok(());
            }
            _ => {}
        }
    }
}

fn share(pages: usize) -> Result<Shared> {
    let started = Instant::now();
    let shared = Shared {
        pages: GrantShare::new(0, pages, true)?,
        directory: GrantShare::new(0, pages.div_ceil(WORDS), false)?,
        channel: EventChannel::listen(0)?,
    };
    fill(shared.pages.as_ptr(), pages * WORDS, 1);
    for (index, &reference) in shared.pages.references().iter().enumerate() {
        // SAFETY: the directory has room for as many references as there are pages.
        unsafe {
            shared
                .directory
                .as_ptr()
                .cast::<u32>()
                .add(index)
                .write_volatile(reference)
        };
    }
    println!("shared {pages} pages in {:?}", started.elapsed());
    Ok(shared)
}

fn dom0(domid: u16) -> Result<()> {
    let store = Store::open()?;
    let home = format!("/local/domain/{domid}/{HOME}");
    store.watch(&home, "probe")?;
    let wait_for = |node: &str, wanted: fn(Option<String>) -> Option<String>| -> Result<String> {
        let started = Instant::now();
        loop {
            if let Some(value) = wanted(store.read_text(&format!("{home}/{node}"))?) {
                return Ok(value);
            }
            if started.elapsed() > Duration::from_secs(20) {
                return Err(format!("{home}/{node} does not change").into());
            }
            wait(&store, 1000);
            while store.next_event()?.is_some() {}
        }
    };
    wait_for("ready", |v| v)?;
    let owner = store.permissions(&format!("{home}/ready"))?[0].domid;
    println!(
        "guest {domid}, nodes of domain {owner}, children {:?}",
        store.directory(&home)?
    );
    store.write(&format!("{home}/request"), "open")?;
    let value = wait_for("channel", |v| v)?;
    let [reference, port, pages] = value
        .split(' ')
        .map(str::parse)
        .collect::<std::result::Result<Vec<u32>, _>>()?[..]
    else {
        return Err("channel has three numbers".into());
    };
    let pages = pages as usize;

    let directory = GrantMap::new(domid, &[reference], false)?;
    // SAFETY: the directory's page is mapped, and has a word for each index.
    let word = |i| unsafe { directory.as_ptr().cast::<u32>().add(i).read_volatile() };
    let references: Vec<u32> = (0..pages).map(word).collect();
    if let Ok(map) = GrantMap::new(domid, &[reference], true) {
        return Err(format!("a read-only grant was mapped for writing: {map:?}").into());
    }
    let started = Instant::now();
    let map = GrantMap::new(domid, &references, true)?;
    println!("mapped {pages} pages in {:?}", started.elapsed());
    check(map.as_ptr(), pages * WORDS, 1)?;
    fill(map.as_ptr(), pages * WORDS, 2);

    let channel = EventChannel::connect(domid, port)?;
    wait_event(&channel)?; // binding raises one here
    channel.notify()?;
    wait_event(&channel)?;
    let started = Instant::now();
    for _ in 0..PINGS {
        channel.notify()?;
        wait_event(&channel)?;
    }
    println!(
        "{PINGS} events there and back, {:?} each",
        started.elapsed() / PINGS
    );

    let started = Instant::now();
    map.close()?;
    println!("unmapped in {:?}", started.elapsed());
    directory.close()?;
    channel.close()?;
    store.write(&format!("{home}/request"), "close")?;
    wait_for("request", |v| v.filter(String::is_empty))?;
    println!("closed");
    Ok(())
}
