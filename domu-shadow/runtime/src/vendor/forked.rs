//! What a child of `fork(2)` has of CUDA's driver.
//!
//! The driver does not work in a child of a program that has initialised it, but the child has its descriptors until it ends or executes
//! another program: the GPU could not be taken away as long as it lives. So the null device takes their place. The numbers stay
//! taken: what the driver's library may still close in the child must not be a file of the child's own.
//!
//! Mappings stay, as the child may read memory that is pinned for a device. One that has some is named as a holder
//! ([`super::foreign`]). So is one of a program with NVML, which may go on with the descriptors that it has.
//!
//! `unsafe`: replaces descriptors.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;

use super::cuda;

/// Part of the paths of NVML's library.
const NVML: &[u8] = b"/libnvidia-ml.so";

/// To be called in the child, by the one thread that is there.
pub fn let_go_in_child() {
    cuda::forget_looking_in_child();
    if !cuda::is_through_front() || maps_nvml() {
        return;
    }
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else {
        return;
    };
    for entry in fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
    {
        let number = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let path = fs::read_link(entry.path());
        if let (Some(number), Ok(path)) = (number, path)
            && cuda::is_node(&path)
        {
            // SAFETY: nothing in this process can use what was there; the driver's library is of no use in it.
            unsafe { libc::dup3(null.as_raw_fd(), number, libc::O_CLOEXEC) };
        }
    }
}

/// Whether NVML is mapped, or that cannot be told. Not by the linker, which another thread may have left in the middle of something.
fn maps_nvml() -> bool {
    let Ok(mut maps) = File::open("/proc/self/maps") else {
        return true;
    };
    let (mut buffer, mut kept) = ([0; 1 << 14], 0);
    loop {
        match maps.read(&mut buffer[kept..]) {
            Ok(0) => return false,
            Ok(read) => {
                let all = kept + read;
                if buffer[..all].windows(NVML.len()).any(|it| it == NVML) {
                    return true;
                }
                // The name may lie across two pieces.
                kept = all.min(NVML.len() - 1);
                buffer.copy_within(all - kept..all, 0);
            }
            Err(_) => return true,
        }
    }
}
