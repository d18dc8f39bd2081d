//! What NVRTC makes of CUDA C runs as it would on a GPU.

mod support;

use std::ffi::{CString, c_void};

use support::Cuda;

const PTX: &str = include_str!("ptx/kernels.ptx");

struct Kernels {
    cuda: Cuda,
    module: usize,
}

impl Kernels {
    fn load() -> Kernels {
        let cuda = Cuda::with_context("memory=64M");
        let image = CString::new(PTX).unwrap();
        let mut log = vec![0_u8; 4096];
        let options = [5_u32, 6];
        let mut values = [
            log.as_mut_ptr().cast::<c_void>(),
            std::ptr::without_provenance_mut(log.len()),
        ];
        let mut module = 0_usize;
        let code = cuda.call(
            "cuModuleLoadDataEx",
            (
                &raw mut module,
                image.as_ptr(),
                2_u32,
                options.as_ptr(),
                values.as_mut_ptr(),
            ),
        );
        assert_eq!(code, 0, "{}", String::from_utf8_lossy(&log));
        Kernels { cuda, module }
    }

    fn memory<T: Copy>(&self, values: &[T]) -> u64 {
        let mut at = 0_u64;
        self.cuda
            .ok("cuMemAlloc_v2", (&raw mut at, size_of_val(values)));
        self.cuda.ok(
            "cuMemcpyHtoD_v2",
            (at, values.as_ptr(), size_of_val(values)),
        );
        at
    }

    fn read<T: Copy + Default>(&self, at: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::default(); count];
        self.cuda.ok(
            "cuMemcpyDtoH_v2",
            (values.as_mut_ptr(), at, size_of_val(&values[..])),
        );
        values
    }

    fn function(&self, name: &str) -> usize {
        let name = CString::new(name).unwrap();
        let mut function = 0_usize;
        self.cuda.ok(
            "cuModuleGetFunction",
            (&raw mut function, self.module, name.as_ptr()),
        );
        function
    }

    /// Blocks, threads, bytes of shared memory; arguments as pointers to them.
    fn launch(
        &self,
        name: &str,
        (blocks, threads, shared): (u32, u32, u32),
        arguments: &[*const c_void],
    ) -> i32 {
        let none = std::ptr::null::<c_void>();
        self.cuda.call(
            "cuLaunchKernel",
            (
                self.function(name),
                blocks,
                1_u32,
                1_u32,
                threads,
                1_u32,
                1_u32,
                shared,
                0_usize,
                arguments.as_ptr(),
                none,
            ),
        )
    }

    fn run(&self, name: &str, shape: (u32, u32, u32), arguments: &[*const c_void]) {
        assert_eq!(self.launch(name, shape, arguments), 0, "{name}");
        self.cuda.ok("cuCtxSynchronize", ());
    }
}

fn at<T>(value: &T) -> *const c_void {
    std::ptr::from_ref(value).cast()
}

#[test]
fn adds_with_constants() {
    let kernels = Kernels::load();
    let a = kernels.memory(&[1.0_f32; 100]);
    let b: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let b = kernels.memory(&b);
    kernels.run("add", (2, 64, 0), &[at(&a), at(&b), at(&99_i32)]);
    let found: Vec<f32> = kernels.read(a, 100);
    for (i, value) in found.iter().enumerate().take(99) {
        assert_eq!(*value, 1.0 + i as f32 * [1.0, 2.0, 3.0, 4.0][i % 4]);
    }
    assert_eq!(found[99], 1.0);
}

#[test]
fn reduces_through_shared_memory() {
    let kernels = Kernels::load();
    let values: Vec<u32> = (0..10_000).collect();
    let (input, output) = (kernels.memory(&values), kernels.memory(&[0_u32]));
    kernels.run(
        "reduce",
        (3, 256, 0),
        &[at(&input), at(&output), at(&10_000_i32)],
    );
    assert_eq!(kernels.read::<u32>(output, 1)[0], values.iter().sum());
}

#[test]
fn hashes_with_shuffles_and_dynamic_shared_memory() {
    let kernels = Kernels::load();
    let values: Vec<u64> = (0..512)
        .map(|i: u64| i.wrapping_mul(0x1234_5678_9abc_def1))
        .collect();
    let (input, output) = (kernels.memory(&values), kernels.memory(&[0_u64]));
    let seed = 0xfeed_beef_1234_u64;
    kernels.run("hash", (1, 64, 16), &[at(&input), at(&output), at(&seed)]);
    let mut sum = 0_u64;
    for t in 0..64_u64 {
        let mut h = seed ^ t;
        for i in 0..4 {
            let at = 2 * (i * 64 + t as usize);
            let k = values[at] ^ h;
            h = h.wrapping_add(values[at + 1].wrapping_add((k & 0xffff_ffff) * (k >> 32)));
            h = (h ^ (h >> 47)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h ^= ((u128::from(h) * u128::from(seed)) >> 64) as u64;
        }
        sum = sum.wrapping_add(h);
    }
    assert_eq!(kernels.read::<u64>(output, 1)[0], sum);
}

#[test]
fn computes_with_reals() {
    let kernels = Kernels::load();
    let d: Vec<f64> = (0..32).map(|i| f64::from(i) * 1.25).collect();
    let f: Vec<f32> = (0..32).map(|i| i as f32 * 0.5).collect();
    let (on_d, on_f) = (kernels.memory(&d), kernels.memory(&f));
    kernels.run("reals", (1, 32, 0), &[at(&on_d), at(&on_f)]);
    let (found_d, found_f) = (kernels.read::<f64>(on_d, 32), kernels.read::<f32>(on_f, 32));
    for i in 0..32 {
        let wanted = d[i].sqrt() / 3.0 + d[i].mul_add(2.0, 1.0);
        assert_eq!(found_d[i], wanted, "{i}");
        let wanted = (f[i].sqrt() * 1.5).min(3.25).floor() + i as f32 / 4.0 + wanted as i32 as f32;
        assert_eq!(found_f[i], wanted, "{i}");
    }
}

#[test]
fn computes_with_integers() {
    let kernels = Kernels::load();
    let s: Vec<i32> = (0..32)
        .map(|i: i32| i.wrapping_mul(123_456_789) - 77)
        .collect();
    let u: Vec<u32> = (0..32)
        .map(|i: u32| i.wrapping_mul(987_654_321) + 13)
        .collect();
    let (on_s, on_u) = (kernels.memory(&s), kernels.memory(&u));
    kernels.run("integers", (1, 32, 0), &[at(&on_s), at(&on_u)]);
    let (found_s, found_u) = (kernels.read::<i32>(on_s, 32), kernels.read::<u32>(on_u, 32));
    for i in 0..32 {
        let (a, b, c) = (s[i], i as i32 - 16, u[i]);
        let quotient = if b == 0 {
            5
        } else {
            (a / b).wrapping_add(a % b)
        };
        let high = ((i64::from(a) * i64::from(b.wrapping_mul(1_000_003))) >> 32) as i32;
        let wanted = quotient
            .wrapping_add(a >> 3)
            .wrapping_add(a.max(b).wrapping_mul(a.min(-b)))
            .wrapping_add(high);
        assert_eq!(found_s[i], wanted, "{i}");
        let funnel = ((u64::from(a as u32) << 32 | u64::from(c)) << 5 >> 32) as u32;
        let bytes = u64::from(a as u32) << 32 | u64::from(c);
        let selector = 0x3210 + i as u32;
        let permuted = (0..4).fold(0, |sum, nth| {
            let byte = (bytes >> (8 * (selector >> (4 * nth) & 7))) as u8;
            sum | u32::from(byte) << (8 * nth)
        });
        let wanted = c
            .count_ones()
            .wrapping_add(c.leading_zeros())
            .wrapping_add(c.reverse_bits())
            .wrapping_add(if c == 0 { 0 } else { c.trailing_zeros() + 1 })
            .wrapping_add(c % 7)
            .wrapping_add(c / 5)
            .wrapping_add(funnel)
            .wrapping_add(permuted)
            .wrapping_add((i32::from(c as i16) * i32::from(a as i8)) as u32)
            .wrapping_add(u32::from((c >> 3) as u8));
        assert_eq!(found_u[i], wanted, "{i}");
    }
}

#[test]
fn lanes_part_and_meet() {
    let kernels = Kernels::load();
    let out = kernels.memory(&[0_u32; 70]);
    kernels.run("parted", (1, 70, 0), &[at(&out)]);
    let found: Vec<u32> = kernels.read(out, 70);
    for (i, found) in found.iter().enumerate() {
        let (mut x, mut n) = (i as u32, 0_u32);
        while x > 1 {
            x = if x & 1 == 1 { 3 * x + 1 } else { x / 2 };
            n += 1;
        }
        let rounds = n;
        n = match n & 7 {
            0 => n + 11,
            1 => n + 22,
            2 => n * 3,
            3 => n ^ 0x55,
            4 => n.wrapping_sub(9),
            _ => !n,
        };
        assert_eq!(
            *found,
            n.wrapping_add((n.wrapping_add(i as u32) & 7) * rounds),
            "{i}"
        );
    }
}

#[test]
fn lanes_and_warps_vote() {
    let kernels = Kernels::load();
    let out = kernels.memory(&[0_u32; 64]);
    kernels.run("votes", (1, 64, 0), &[at(&out)]);
    for (i, found) in kernels.read::<u32>(out, 64).into_iter().enumerate() {
        let i = i as u32;
        let any = u32::from(i >= 32);
        let wanted = 0xaaaa_aaaa_u32
            .wrapping_add(2 + 4 * any + 22 * 8 + 1024)
            .wrapping_add(i ^ 3)
            .wrapping_add(i & !15 | 7);
        assert_eq!(found, wanted, "{i}");
    }
}

#[test]
fn atomic_operations_add_up() {
    let kernels = Kernels::load();
    let (u, l, f) = (
        kernels.memory(&[0_u32; 4]),
        kernels.memory(&[1_u64]),
        kernels.memory(&[0_f32]),
    );
    kernels.run("atomics", (4, 100, 0), &[at(&u), at(&l), at(&f)]);
    assert_eq!(kernels.read::<u32>(u, 4), [99, u32::MAX, 0, 77]);
    assert_eq!(kernels.read::<u64>(l, 1), [1 + (400 << 33)]);
    assert_eq!(kernels.read::<f32>(f, 1), [200.0]);
    let (mut counter, mut size) = (0_u64, 0_usize);
    let name = c"counter".as_ptr();
    kernels.cuda.ok(
        "cuModuleGetGlobal_v2",
        (&raw mut counter, &raw mut size, kernels.module, name),
    );
    assert_eq!((size, kernels.read::<i32>(counter, 1)), (4, vec![407]));
}

#[test]
fn functions_are_called() {
    #[repr(C)]
    struct Values([u64; 4], i32);
    let kernels = Kernels::load();
    let before: Vec<u32> = (0..40).map(|i| i * i).collect();
    let out = kernels.memory(&before);
    kernels.run(
        "calls",
        (1, 40, 0),
        &[at(&Values([1, 2, 3, 400], 7)), at(&out)],
    );
    for (i, found) in kernels.read::<u32>(out, 40).into_iter().enumerate() {
        assert_eq!(found, i as u32 * 7 + 1 + before[i] * 2 + 1 + 400);
    }
}

#[test]
fn a_kernel_sees_what_the_program_writes_meanwhile() {
    let kernels = Kernels::load();
    let mut host = std::ptr::null_mut::<u32>();
    kernels
        .cuda
        .ok("cuMemHostAlloc", (&raw mut host, 4096_usize, 0_u32));
    // SAFETY: just allocated.
    unsafe { host.write(0) };
    let out = kernels.memory(&[0_u32; 32]);
    let go = host.expose_provenance() as u64;
    assert_eq!(
        kernels.launch("wait_for", (1, 32, 0), &[at(&go), at(&out)]),
        0
    );
    assert_eq!(kernels.cuda.call("cuStreamQuery", (0_usize,)), 600);
    // SAFETY: as above; the kernel only reads.
    unsafe { host.write_volatile(1) };
    kernels.cuda.ok("cuCtxSynchronize", ());
    assert_eq!(kernels.read::<u32>(out, 32), [5; 32]);
}

#[test]
fn blocks_of_a_cooperative_launch_run_together() {
    let kernels = Kernels::load();
    let arrived = kernels.memory(&[0_u32]);
    let arguments = [at(&arrived)];
    let function = kernels.function("meet");
    let code = kernels.cuda.call(
        "cuLaunchCooperativeKernel",
        (
            function,
            8_u32,
            1_u32,
            1_u32,
            64_u32,
            1_u32,
            1_u32,
            0_u32,
            0_usize,
            arguments.as_ptr(),
        ),
    );
    assert_eq!(code, 0);
    kernels.cuda.ok("cuCtxSynchronize", ());
    let too_many = kernels.cuda.call(
        "cuLaunchCooperativeKernel",
        (
            function,
            1000_u32,
            1_u32,
            1_u32,
            1024_u32,
            1_u32,
            1_u32,
            0_u32,
            0_usize,
            arguments.as_ptr(),
        ),
    );
    assert_eq!(too_many, 720);
}

#[test]
fn wrong_launches_are_refused() {
    let kernels = Kernels::load();
    let out = kernels.memory(&[0_u32; 4]);
    let arguments = [at(&out), at(&1_u32)];
    assert_eq!(kernels.launch("work", (1, 1025, 0), &arguments), 1);
    assert_eq!(kernels.launch("work", (0, 32, 0), &arguments), 1);
    assert_eq!(kernels.launch("work", (1, 32, 64 << 10), &arguments), 1);
}

#[test]
fn a_kernel_that_goes_wrong_ends_its_context() {
    let mut kernels = Kernels::load();
    let mut context = 0_usize;
    let image = CString::new(PTX).unwrap();
    // One stops; one writes where nothing is, by a byte.
    for (name, code) in [("stop", 719), ("work", 700)] {
        kernels
            .cuda
            .ok("cuCtxCreate_v2", (&raw mut context, 0_u32, 0_i32));
        kernels.cuda.ok(
            "cuModuleLoadData",
            (&raw mut kernels.module, image.as_ptr()),
        );
        let out = kernels.memory(&[0_u32; 31]);
        assert_eq!(kernels.launch(name, (1, 32, 0), &[at(&out), at(&1_u32)]), 0);
        assert_eq!(kernels.cuda.call("cuCtxSynchronize", ()), code, "{name}");
        kernels.cuda.ok("cuCtxDestroy_v2", (context,));
    }
}

#[test]
fn unknown_instructions_are_named() {
    let kernels = Kernels::load();
    let text = c".version 7.8\n.target sm_50\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<3>;\nfrobnicate.u32 %r1, %r2;\nret;\n}\n";
    let mut log = vec![0_u8; 200];
    let options = [5_u32, 6];
    let mut values = [
        log.as_mut_ptr().cast::<c_void>(),
        std::ptr::without_provenance_mut(log.len()),
    ];
    let mut module = 0_usize;
    let code = kernels.cuda.call(
        "cuModuleLoadDataEx",
        (
            &raw mut module,
            text.as_ptr(),
            2_u32,
            options.as_ptr(),
            values.as_mut_ptr(),
        ),
    );
    let log = String::from_utf8_lossy(&log).into_owned();
    assert!(
        code == 218 && log.contains("line 7") && log.contains("frobnicate.u32"),
        "{code} {log}"
    );
}
