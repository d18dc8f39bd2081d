//! Few file descriptors or little address space left: a move without room for its way back is refused, and what the driver
//! frees is there for it when it comes back, whatever the program takes meanwhile.

use std::fs::File;
use std::ptr::null_mut;
use std::time::Duration;

use crate::common::Gpu;
use crate::rig::{Counter, in_child};
use runtime::mover::{self, MoveError};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

type Limit = libc::__rlimit_resource_t;

fn limit(which: Limit, value: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointers are to a whole structure; this process has one test alone.
    let limited = unsafe {
        libc::getrlimit(which, &raw mut limit);
        limit.rlim_cur = value.min(limit.rlim_max);
        libc::setrlimit(which, &raw const limit)
    };
    assert_eq!(limited, 0, "{}", std::io::Error::last_os_error());
}

fn no_limit(which: Limit) {
    limit(which, u64::MAX);
}

fn files() -> u64 {
    std::fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

fn mapped() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    sizes.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// So many more descriptors than the process has, in numbers without a gap.
pub fn leave_files(count: u64) {
    no_limit(libc::RLIMIT_NOFILE);
    let free = || File::open("/dev/null").unwrap();
    let mut filled = vec![free()];
    while filled.len() < 64 {
        filled.push(free());
    }
    std::mem::forget(filled);
    limit(libc::RLIMIT_NOFILE, files() - 1 + count);
}

/// All descriptors that are left.
pub fn all_files() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// All the address space that is left, but for less than a MiB.
fn all_space() -> Vec<(usize, usize)> {
    let mut taken = Vec::new();
    let mut size = 4096 * MIB;
    while size >= MIB {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, which nobody uses.
        let start = unsafe { libc::mmap(null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        match start {
            libc::MAP_FAILED => size /= 2,
            start => taken.push((start as usize, size)),
        }
    }
    taken
}

fn give_back(space: Vec<(usize, usize)>) {
    for (start, size) in space {
        // SAFETY: mapped by `all_space`, once.
        unsafe { libc::munmap(start as *mut _, size) };
    }
}

fn is_refused(answer: Result<(), MoveError>, what: &str) {
    match answer {
        Err(error) if error.to_string().contains(what) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_move_without_room_for_its_way_back_is_refused() {
    let test = "shortage::a_move_without_room_for_its_way_back_is_refused";
    in_child(test, "nvidia", || {
        let mut counter = Counter::new();
        for (which, left, what) in [
            (libc::RLIMIT_NOFILE, 6, "file descriptors"),
            (libc::RLIMIT_AS, 6 * MIB as u64, "address space"),
        ] {
            let lack_it = || match which {
                libc::RLIMIT_NOFILE => leave_files(left),
                _ => limit(which, mapped() + left),
            };
            let plenty = || no_limit(which);
            lack_it();
            is_refused(mover::begin().map(drop), what);
            counter.check();
            plenty();
            let capture = mover::begin().unwrap();
            lack_it();
            let (capture, error) = capture.quiesce(PATIENCE).map(drop).unwrap_err();
            is_refused(Err(error), what);
            counter.check();
            drop(capture);
            plenty();
            counter.move_and_check();
        }
    });
}

#[test]
fn what_a_driver_frees_is_kept_for_it() {
    let test = "shortage::what_a_driver_frees_is_kept_for_it";
    in_child(test, "nvidia", || {
        let mut counter = Counter::new();
        counter.move_and_check();
        for _ in 0..2 {
            leave_files(32);
            let (detached, store) = counter.detach();
            let taken = all_files();
            counter.attach(detached, &store);
            drop(taken);
            counter.check();
            no_limit(libc::RLIMIT_NOFILE);

            limit(libc::RLIMIT_AS, mapped() + 128 * MIB as u64);
            let (detached, store) = counter.detach();
            let taken = all_space();
            counter.attach(detached, &store);
            give_back(taken);
            counter.check();
            no_limit(libc::RLIMIT_AS);
        }
    });
}

/// What the program closes is not ours any more, by the same number.
#[test]
fn what_was_kept_may_be_closed_by_the_program() {
    let test = "shortage::what_was_kept_may_be_closed_by_the_program";
    in_child(test, "nvidia", || {
        let mut counter = Counter::new();
        let (detached, store) = counter.detach();
        let kept = |number: &i32| {
            let path = std::fs::read_link(format!("/proc/self/fd/{number}"));
            path.is_ok_and(|path| path.to_string_lossy().contains("xl-gpu-reserve"))
        };
        let numbers: Vec<i32> = (0..256).filter(kept).collect();
        assert!(numbers.len() > 16, "{numbers:?}");
        for number in &numbers {
            // SAFETY: as a program does that closes everything it does not know.
            unsafe { libc::close(*number) };
        }
        let own = File::open("/dev/null").unwrap();
        counter.attach(detached, &store);
        assert!(own.metadata().is_ok());
        counter.check();
    });
}

/// Without any descriptor nothing can be loaded, nor seen of what is left; that passes.
#[test]
fn a_shortage_is_waited_out() {
    let test = "shortage::a_shortage_is_waited_out";
    in_child(test, "nvidia", || {
        let mut counter = Counter::new();
        let (mut detached, store) = counter.detach();
        for _ in 0..2 {
            limit(libc::RLIMIT_NOFILE, 3);
            detached = match detached.reload() {
                Ok(_) => panic!("a driver was loaded without a descriptor"),
                Err((detached, _)) => detached,
            };
            no_limit(libc::RLIMIT_NOFILE);
        }
        counter.attach(detached, &store);
        counter.check();
        counter.move_and_check();
    });
}

/// What is the driver's stays known, where it could not be looked at in a call that may open devices.
#[test]
fn a_look_without_descriptors_changes_nothing() {
    let test = "shortage::a_look_without_descriptors_changes_nothing";
    in_child(test, "leak_fds=3,leak_maps=1", || {
        let mut counter = Counter::new();
        let taken = all_files();
        drop(Gpu::new());
        drop(taken);
        counter.move_and_check();
    });
}
