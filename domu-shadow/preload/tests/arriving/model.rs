//! A program that touches everything in any order while contents arrive.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::moving::{alone, there_and_nearly_back};
use crate::common::*;
use crate::{Dice, bring};

const WORDS: usize = 3000;

/// What the program does, with what it must find.
struct Model {
    gpu: Gpu,
    count: Handle,
    add: Handle,
    buffers: Vec<(Handle, Vec<u32>)>,
}

// SAFETY: OpenCL's objects may be used from any thread.
unsafe impl Send for Model {}

impl Model {
    fn new() -> Model {
        let gpu = Gpu::new();
        let flags = [0, CL_MEM_ALLOC_HOST_PTR, 0, 0];
        let buffers = flags.iter().zip(0..).map(|(flags, n)| {
            let buffer = gpu.buffer(CL_MEM_READ_WRITE | flags, WORDS * 4);
            let words: Vec<u32> = (0..WORDS as u32).map(|at| at * (n + 3)).collect();
            gpu.write(buffer, 0, &words);
            (buffer, words)
        });
        let buffers = buffers.collect();
        let (count, add) = (gpu.kernel(COUNT, "count"), gpu.kernel(ADD, "twice"));
        Model {
            gpu,
            count,
            add,
            buffers,
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        let which = dice.below(self.buffers.len());
        let at = dice.below(WORDS);
        let len = 1 + dice.below(WORDS - at);
        let value = dice.below(1000) as u32;
        let (q, none) = (self.gpu.queue, null_mut());
        let buffer = self.buffers[which].0;
        match dice.below(8) {
            0 => assert_eq!(
                self.gpu.read::<u32>(buffer, at * 4, len),
                self.buffers[which].1[at..at + len]
            ),
            1 => {
                self.gpu.write(buffer, at * 4, &vec![value; len]);
                self.buffers[which].1[at..at + len].fill(value);
            }
            2 => {
                let pattern = (&raw const value).cast();
                ok!(clEnqueueFillBuffer(
                    q,
                    buffer,
                    pattern,
                    4,
                    at * 4,
                    len * 4,
                    0,
                    null(),
                    none
                ));
                self.buffers[which].1[at..at + len].fill(value);
            }
            3 => {
                let other = (which + 1) % self.buffers.len();
                let to = self.buffers[other].0;
                ok!(clEnqueueCopyBuffer(
                    q,
                    buffer,
                    to,
                    at * 4,
                    at * 4,
                    len * 4,
                    0,
                    null(),
                    none
                ));
                let words = self.buffers[which].1[at..at + len].to_vec();
                self.buffers[other].1[at..at + len].copy_from_slice(&words);
            }
            4 => {
                set(self.count, 0, &buffer);
                self.gpu.run(self.count, len);
                self.buffers[which].1[..len]
                    .iter_mut()
                    .for_each(|word| *word = word.wrapping_add(1));
            }
            5 => {
                set(self.add, 0, &buffer);
                ok!(clSetKernelArg(self.add, 1, 4 * 1024, null()));
                let (items, local) = (1024, 256);
                ok!(clEnqueueNDRangeKernel(
                    q,
                    self.add,
                    1,
                    null(),
                    &raw const items,
                    &raw const local,
                    0,
                    null(),
                    none
                ));
                self.buffers[which].1[..1024]
                    .iter_mut()
                    .for_each(|word| *word = word.wrapping_mul(2));
            }
            6 => {
                let flags = CL_MAP_READ | CL_MAP_WRITE;
                let mapped = make!(clEnqueueMapBuffer(
                    q,
                    buffer,
                    CL_TRUE,
                    flags,
                    at * 4,
                    len * 4,
                    0,
                    null(),
                    none
                ));
                // SAFETY: `len` words are mapped for reading and writing until the unmap below.
                let words = unsafe { std::slice::from_raw_parts_mut(mapped.cast::<u32>(), len) };
                assert_eq!(words, &self.buffers[which].1[at..at + len]);
                words[0] = value;
                self.buffers[which].1[at] = value;
                ok!(clEnqueueUnmapMemObject(q, buffer, mapped, 0, null(), none));
            }
            _ => {
                let objects = [buffer];
                let flags = CL_MIGRATE_MEM_OBJECT_HOST;
                ok!(clEnqueueMigrateMemObjects(
                    q,
                    1,
                    objects.as_ptr(),
                    flags,
                    0,
                    null(),
                    none
                ));
            }
        }
    }

    fn check(&self) {
        for (buffer, words) in &self.buffers {
            assert_eq!(&self.gpu.read::<u32>(*buffer, 0, WORDS), words);
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        for (buffer, _) in &self.buffers {
            ok!(clReleaseMemObject(*buffer));
        }
        ok!(clReleaseKernel(self.count));
        ok!(clReleaseKernel(self.add));
    }
}

/// A program that touches everything in any order while contents arrive in pieces, break off and are asked for again
/// finds what a program finds that was never moved.
#[test]
fn a_running_program_finds_the_right_bytes() {
    let _alone = alone();
    let mut model = Model::new();
    for seed in 1..40 {
        let mut dice = Dice(seed);
        for _ in 0..dice.below(6) {
            model.step(&mut dice);
        }
        let (mut arriving, store) = there_and_nearly_back(seed as u32 % 2);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (running, dice) = (&mut model, &mut dice);
            let program = scope.spawn(|| {
                let running = running;
                for _ in 0..20 {
                    running.step(dice);
                }
                over.store(true, Ordering::SeqCst);
            });
            bring(&mut arriving, &store, &mut Dice(!seed), || {
                over.load(Ordering::SeqCst)
            });
            program.join().expect("the program is well");
        });
        store.give_back(arriving);
        model.check();
    }
}
