//! Threads of a driver that live on when no object of it is left: its code must stay for them.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::cuda;
use super::paths::file_name;
use super::snapshot::{Snapshot, is_short};

/// How long threads that end with the driver's last objects may take for it.
const ENDING: Duration = Duration::from_secs(1);

/// The driver library of CUDA, which stays where the program uses CUDA.
const CUDA: &str = "libcuda.so";

/// Threads that do not end although no object of the library of that name is left; `None` where they cannot be seen.
pub(super) fn lasting(before: &Snapshot, stem: &str) -> Option<Vec<i32>> {
    let deadline = Instant::now() + ENDING;
    loop {
        let now = Snapshot::take();
        let others = if cuda::is_open() {
            code_of(&now, CUDA)
        } else {
            Vec::new()
        };
        let threads = now
            .is_whole
            .then(|| of_library(&now, before, stem, &others));
        if threads.as_ref().is_some_and(Vec::is_empty) || Instant::now() >= deadline {
            return threads;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where a library's code is.
fn code_of(now: &Snapshot, stem: &str) -> Vec<Range<usize>> {
    let mappings = now.mappings.iter();
    let code = mappings.filter(|it| it.executable && file_name(&it.path).starts_with(stem));
    code.map(|mapping| mapping.range.clone()).collect()
}

/// Threads that came after the driver, never called us, and have the library's code on their stacks. A stack may have been another
/// thread's before and still have that one's addresses on it: a thread that begins in code of `others` is not the library's.
fn of_library(now: &Snapshot, before: &Snapshot, stem: &str, others: &[Range<usize>]) -> Vec<i32> {
    let code = code_of(now, stem);
    let own = crate::gate::known_threads();
    let this = crate::thread::current();
    let is_known =
        |thread: i32| thread == this || before.threads.contains(&thread) || own.contains(&thread);
    let is_librarys = |thread: i32| match Stack::of(thread) {
        Ok(Some(stack)) => stack.has_any(&code) && !stack.begins_in(others),
        Ok(None) => true,
        Err(error) => is_short(&error),
    };
    let new = now.threads.iter().copied().filter(|&it| !is_known(it));
    new.filter(|&thread| is_librarys(thread)).collect()
}

/// The words of a sleeping thread's stack, from its top on: return addresses, and behind the first frame what the C library has of the
/// thread.
struct Stack {
    start: usize,
    words: Vec<usize>,
}

/// Bytes of a word.
const WORD: usize = size_of::<usize>();

impl Stack {
    const DEEPEST: usize = 64 << 10;
    /// glibc's `struct pthread` (2.36: 2304 bytes).
    const DESCRIPTOR: usize = 2304 / WORD;

    /// `None` for a thread that runs, or whose stack cannot be found.
    ///
    /// # Errors
    /// The system's: also for a thread that has ended.
    fn of(thread: i32) -> io::Result<Option<Stack>> {
        let line = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"))?;
        // proc_pid_syscall(5): "running", or number, six arguments, stack pointer, program counter.
        let pointer = line.split_whitespace().rev().nth(1);
        let pointer = pointer.and_then(|word| word.strip_prefix("0x"));
        let Some(start) = pointer.and_then(|word| usize::from_str_radix(word, 16).ok()) else {
            return Ok(None);
        };
        let bytes = read_memory(start, Stack::DEEPEST)?;
        let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().expect("a word"));
        let words = bytes.chunks_exact(WORD).map(word).collect();
        Ok(Some(Stack { start, words }))
    }

    fn has_any(&self, code: &[Range<usize>]) -> bool {
        self.words.iter().any(|word| is_in(*word, code))
    }

    /// Whether the thread's first function is in `code`. glibc keeps its address in the thread's descriptor, behind the stack. That begins
    /// with its own address (x86-64 psABI), and has it once more (`tcbhead_t`). Where none is found, the answer is no.
    fn begins_in(&self, code: &[Range<usize>]) -> bool {
        let is_descriptor = |nth: &usize| {
            let address = self.start + nth * WORD;
            self.words[*nth] == address && self.words.get(nth + 2) == Some(&address)
        };
        let descriptor = (0..self.words.len()).find(is_descriptor);
        descriptor.is_some_and(|at| {
            let words = self.words[at..].iter().take(Stack::DESCRIPTOR);
            words.copied().any(|word| is_in(word, code))
        })
    }
}

fn is_in(address: usize, code: &[Range<usize>]) -> bool {
    code.iter().any(|range| range.contains(&address))
}

/// Reads this process's memory through the kernel, which stops at the end of the mapping instead of faulting.
fn read_memory(address: usize, bytes: usize) -> io::Result<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut content = Vec::new();
    let memory = fs::File::open("/proc/self/mem")?;
    while content.len() < bytes {
        let at = address + content.len();
        let mut page = vec![0; PAGE - at % PAGE];
        match memory.read_at(&mut page, at as u64) {
            Ok(read) if read > 0 => content.extend_from_slice(&page[..read]),
            _ => break,
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::path::PathBuf;
    use std::sync::mpsc;

    use super::super::snapshot::Mapping;
    use super::*;

    /// A stack that was another thread's: its addresses do not make a thread of CUDA's one of OpenCL's.
    #[test]
    fn a_thread_that_begins_in_cudas_library_is_not_opencls() {
        const OPENCLS: usize = 0x1234_5678;
        let before = Snapshot::take();
        let (said, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let old = black_box([OPENCLS; 4]);
            said.send(crate::thread::current()).unwrap();
            let _ = ended.recv();
            black_box(&old);
        });
        let id = told.recv().unwrap();
        while !matches!(Stack::of(id), Ok(Some(_))) {
            std::thread::yield_now();
        }
        let mut now = Snapshot::take();
        now.mappings.push(Mapping {
            range: OPENCLS..OPENCLS + 1,
            executable: true,
            path: PathBuf::from("/lib/libopencl_of_a_vendor.so.1"),
        });
        let found = |others: &[Range<usize>]| {
            of_library(&now, &before, "libopencl_of_a_vendor.so", others).contains(&id)
        };
        assert!(found(&[]));
        assert!(found(&code_of(&now, "libc.so")), "it begins elsewhere");
        // The test's own code has std's first function of a thread.
        let test = std::env::current_exe().unwrap();
        assert!(!found(&code_of(
            &now,
            test.file_name().unwrap().to_str().unwrap()
        )));
        drop(end);
        thread.join().unwrap();
    }
}
