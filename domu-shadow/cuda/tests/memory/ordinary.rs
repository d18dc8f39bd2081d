//! Memory of `cuMemAlloc`, of pools, and of hosts.

use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::{host, ordinary, pointers, pools};
use xl_gpu_cuda::core::capturing::{self, Stream};
use xl_gpu_cuda::core::memory::{self, MemoryError};

use super::program::{
    MIB, alloc, attributes, checkpoint, free, free_bytes, go, ok, over_stub, pattern, primary,
    range, read, take, write,
};

/// Some that move and two that do not.
const SIZES: [usize; 6] = [3 * MIB, 64 << 10, 5_000_000, MIB + 4096, 100, 2 * MIB];

#[test]
fn addresses_contents_and_answers_stay() {
    over_stub("ordinary::addresses_contents_and_answers_stay", "", || {
        primary(0);
        let before = free_bytes();
        let at = SIZES.map(alloc);
        let wrote: Vec<_> = (0..)
            .zip(SIZES)
            .map(|(seed, size)| pattern(size, seed))
            .collect();
        for (at, wrote) in at.iter().zip(&wrote) {
            ok(write(*at, wrote));
        }
        assert_eq!(memory::blocks().len(), 4);
        assert_eq!(memory::left().device, (64 << 10) + 100);
        let said: Vec<_> = at
            .iter()
            .map(|at| (range(at + 60), attributes(at + 60)))
            .collect();
        for _ in 0..3 {
            go();
            for (at, wrote) in at.iter().zip(&wrote) {
                assert!(read(*at, wrote.len()) == *wrote, "contents at {at:#x}");
            }
            let says: Vec<_> = at
                .iter()
                .map(|at| (range(at + 60), attributes(at + 60)))
                .collect();
            assert_eq!(said, says);
        }
        // Errors stay, too.
        for at in at {
            assert_eq!(free(at + 256), CUDA_ERROR_INVALID_VALUE);
            ok(free(at));
            assert_eq!(free(at), CUDA_ERROR_INVALID_VALUE);
        }
        ok(free(0));
        assert_eq!(free_bytes(), before);
        assert!(memory::blocks().is_empty());
        assert_eq!(memory::left().device, 0);
    });
}

#[test]
fn a_free_waits_for_a_transfer() {
    over_stub("ordinary::a_free_waits_for_a_transfer", "", || {
        primary(0);
        let at = alloc(4 * MIB);
        let block = memory::blocks().pop().unwrap();
        let pinned = block.pin().unwrap();
        assert_eq!(pinned.address(), at);
        assert_eq!(memory::detach(), Err(MemoryError::InUse));
        let (send, freed) = channel();
        let thread = std::thread::spawn(move || {
            primary(0);
            ok(free(at));
            send.send(()).unwrap();
        });
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(freed.try_recv(), Err(TryRecvError::Empty));
        assert!(block.pin().is_none(), "the program is first");
        assert!(block.pin_for_contents().is_some(), "but for what it had");
        ok(write(pinned.address(), &pattern(4 * MIB, 1)));
        drop(pinned);
        freed.recv().unwrap();
        thread.join().unwrap();
        assert!(block.pin().is_none());
    });
}

#[test]
fn a_forked_child_waits_for_nobody() {
    over_stub("ordinary::a_forked_child_waits_for_nobody", "", || {
        primary(0);
        let at = alloc(4 * MIB);
        let pinned = memory::blocks().pop().unwrap().pin().unwrap();
        // SAFETY: this process has no other thread that does anything; the child frees memory and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            free(at);
            // SAFETY: ends the child.
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        // SAFETY: this function's variable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        drop(pinned);
        ok(free(at));
    });
}

#[test]
fn a_way_back_that_fails_goes_on_where_it_stopped() {
    let name = "ordinary::a_way_back_that_fails_goes_on_where_it_stopped";
    // The first four of each are for the program's allocations.
    let options = "fail=cuMemCreate:6:OUT_OF_MEMORY,fail=cuMemMap:6:OUT_OF_MEMORY,\
                   fail=cuMemSetAccess:7:UNKNOWN,fail=cuMemUnmap:6:UNKNOWN";
    over_stub(name, options, || {
        primary(0);
        let at = [4, 6, 2, 8].map(|size| alloc(size * MIB));
        at.iter()
            .for_each(|at| ok(write(*at, &pattern(2 * MIB, 9))));
        let away = take().unwrap();
        checkpoint();
        let failed = memory::attach();
        assert!(
            matches!(failed, Err(MemoryError::Driver { .. })),
            "{failed:?}"
        );
        while memory::attach().is_err() {}
        away.give();
        at.iter()
            .for_each(|at| assert!(read(*at, 2 * MIB) == pattern(2 * MIB, 9)));
        // On the way out, too.
        assert!(memory::detach().is_err());
        assert_eq!(memory::attach(), Ok(()));
        at.iter()
            .for_each(|at| ok(write(*at, &pattern(2 * MIB, 7))));
        go();
        at.iter()
            .for_each(|at| assert!(read(*at, 2 * MIB) == pattern(2 * MIB, 7)));
    });
}

#[test]
fn pitched_memory_moves_and_a_copys_synchronising_stays() {
    let name = "ordinary::pitched_memory_moves_and_a_copys_synchronising_stays";
    over_stub(name, "", || {
        primary(0);
        let (mut at, mut pitch) = (0, 0);
        // SAFETY: this function's variables.
        ok(unsafe { ordinary::cuMemAllocPitch_v2(&raw mut at, &raw mut pitch, 1000, 3000, 4) });
        let block = memory::blocks().pop().unwrap();
        assert_eq!(block.size(), (pitch * 3000) as u64);
        let on = 1_u32;
        let attribute = CU_POINTER_ATTRIBUTE_SYNC_MEMOPS;
        // SAFETY: this function's variable.
        ok(unsafe { pointers::cuPointerSetAttribute((&raw const on).cast(), attribute, at + 9) });
        let said = attributes(at);
        go();
        assert_eq!(said, attributes(at));
        ok(free(at));
    });
}

#[test]
fn either_kind_is_freed_by_either_function() {
    over_stub(
        "ordinary::either_kind_is_freed_by_either_function",
        "",
        || {
            primary(0);
            let before = free_bytes();
            let stream = std::ptr::null_mut();
            let ordinary = [alloc(2 * MIB), alloc(2 * MIB)];
            let pooled = || {
                let mut at = 0;
                // SAFETY: this function's variable.
                ok(unsafe { pools::cuMemAllocAsync(&raw mut at, 3 * MIB, stream) });
                at
            };
            let pooled = [pooled(), pooled()];
            assert_eq!(memory::left().device, 6 << 20);
            ok(write(pooled[0], &pattern(3 * MIB, 4)));
            go();
            assert!(read(pooled[0], 3 * MIB) == pattern(3 * MIB, 4));
            // SAFETY: no pointers.
            ok(unsafe { pools::cuMemFreeAsync(ordinary[0], stream) });
            ok(free(pooled[0]));
            // SAFETY: no pointers.
            ok(unsafe { pools::cuMemFreeAsync(pooled[1], stream) });
            ok(free(ordinary[1]));
            assert_eq!(memory::left().device, 0);
            assert!(memory::blocks().is_empty());
            assert_eq!(free_bytes(), before);
        },
    );
}

#[test]
fn pools_are_asked_for_what_they_do_not_need() {
    let log = concat!(env!("CARGO_TARGET_TMPDIR"), "/pools.log");
    let name = "ordinary::pools_are_asked_for_what_they_do_not_need";
    over_stub(name, &format!("log={log}"), || {
        let trims = || {
            let calls = std::fs::read_to_string(log).unwrap();
            calls
                .lines()
                .filter(|call| call.contains("cuMemPoolTrimTo\t0"))
                .count()
        };
        std::fs::write(log, "").unwrap();
        primary(0);
        go();
        assert_eq!(trims(), 0, "a program without pools");
        let (mut at, stream) = (0, std::ptr::null_mut());
        // SAFETY: this function's variable.
        ok(unsafe { pools::cuMemAllocAsync(&raw mut at, 4 * MIB, stream) });
        ok(write(at, &pattern(MIB, 5)));
        go();
        assert_eq!(trims(), 1, "the device's own");
        assert!(read(at, MIB) == pattern(MIB, 5));
    });
}

#[test]
fn what_is_freed_during_a_capture_goes_after_it() {
    over_stub(
        "ordinary::what_is_freed_during_a_capture_goes_after_it",
        "",
        || {
            primary(0);
            let before = free_bytes();
            let (one, other) = (alloc(4 * MIB), alloc(2 * MIB));
            go();
            let stream = Stream::of(std::ptr::null_mut(), false);
            capturing::begin(stream);
            ok(free(one));
            assert_eq!(memory::blocks().len(), 1);
            assert_eq!(free_bytes(), before - 6 * MIB);
            capturing::end(stream);
            ok(free(other));
            assert_eq!(free_bytes(), before);
        },
    );
}

#[test]
fn pinned_host_memory_is_counted() {
    over_stub("ordinary::pinned_host_memory_is_counted", "", || {
        primary(0);
        let (mut one, mut other) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut bytes = vec![0_u8; MIB];
        let registered = bytes.as_mut_ptr().cast();
        // SAFETY: this function's variables, and memory that outlives its registration.
        unsafe {
            ok(host::cuMemHostAlloc(&raw mut one, MIB, 0));
            ok(host::cuMemAllocHost_v2(&raw mut other, 2 * MIB));
            ok(host::cuMemHostRegister_v2(registered, MIB, 0));
            assert_eq!(memory::left().host, 4 << 20);
            ok(host::cuMemFreeHost(one));
            assert_eq!(host::cuMemFreeHost(one), CUDA_ERROR_INVALID_VALUE);
            ok(host::cuMemHostUnregister(registered));
            assert_eq!(memory::left().host, 2 << 20);
            ok(host::cuMemFreeHost(other));
        }
        assert_eq!(memory::left().host, 0);
    });
}
