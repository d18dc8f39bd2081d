//! The GPUs that the driver had, and those that are here.
//!
//! While its state is off the GPU no call of CUDA's can say which GPUs there are. The kernel's driver says it in `/proc`.

use std::ffi::CStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use channel::image::Api;
use runtime::delta::device::Result;
use runtime::locks::{self, lock};
use runtime::mover::MoveError;

use crate::abi::*;
use crate::beside::home::call;

/// Environment variable: a folder in place of `/proc/driver/nvidia`, for tests.
pub const PROC_VARIABLE: &str = "XL_GPU_NVIDIA_PROC";

/// Name of the one platform that CUDA has.
pub const PLATFORM: &str = "NVIDIA CUDA";

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub uuid: CUuuid,
    /// As in "NVIDIA H200".
    pub model: String,
}

/// Whether the program has initialised CUDA. The driver is asked: not while its state is off the GPU.
pub(super) fn are_in_use() -> bool {
    let mut count = 0;
    call!(cuDeviceGetCount(&raw mut count)).is_ok()
}

/// Those that the driver has now.
///
/// # Errors
/// The driver's.
fn of_driver() -> Result<Vec<Gpu>> {
    let mut count = 0;
    call!(cuDeviceGetCount(&raw mut count))?;
    let one = |ordinal| {
        let (mut device, mut uuid, mut name) = (0, CUuuid::default(), [0_u8; 256]);
        call!(cuDeviceGet(&raw mut device, ordinal))?;
        call!(cuDeviceGetUuid_v2(&raw mut uuid, device))?;
        call!(cuDeviceGetName(name.as_mut_ptr().cast(), 255, device))?;
        let model = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        Ok(Gpu {
            uuid,
            model: model.to_string_lossy().trim().to_owned(),
        })
    };
    (0..count).map(one).collect()
}

static MODELS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The models of those that the program has, as of when the driver could last be asked.
pub(super) fn models() -> Vec<String> {
    let mut models = lock(&MODELS);
    if models.is_empty() && !runtime::gate::is_closed() && are_in_use() {
        let gpus = of_driver().unwrap_or_default();
        *models = gpus.into_iter().map(|gpu| gpu.model).collect();
    }
    models.clone()
}

/// The lock, for a fork.
pub(super) fn hold() -> Option<impl Sized> {
    locks::try_lock(&MODELS)
}

/// Those that are here, as the kernel's driver says; `None` where it says nothing.
fn here() -> Option<Vec<Gpu>> {
    let folder = runtime::trusted_env::var_os(PROC_VARIABLE).filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("/proc/driver/nvidia"), PathBuf::from);
    let entries = fs::read_dir(folder.join("gpus")).ok()?;
    let gpus = entries.flatten().filter_map(|entry| one(&entry.path()));
    let gpus: Vec<Gpu> = gpus.collect();
    Some(gpus)
}

fn one(folder: &Path) -> Option<Gpu> {
    let information = folder.join("information");
    let text = fs::read_to_string(&information).ok()?;
    if let Some(gpu) = parse(&text) {
        return Some(gpu);
    }
    // A GPU that nobody has used yet has no UUID: it gets one when its node is opened.
    let minor = field(&text, "Device Minor")?;
    let _used = File::options()
        .read(true)
        .write(true)
        .open(format!("/dev/nvidia{minor}"))
        .inspect_err(|error| log::warn!("/dev/nvidia{minor} cannot be opened: {error}"))
        .ok()?;
    parse(&fs::read_to_string(&information).ok()?)
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| field.trim() == name);
    found.map(|(_, value)| value.trim())
}

/// The file `information` of a GPU.
fn parse(text: &str) -> Option<Gpu> {
    Some(Gpu {
        uuid: parse_uuid(field(text, "GPU UUID")?)?,
        model: field(text, "Model")?.to_owned(),
    })
}

/// As in `GPU-1b2c3d4e-…`; `None` where digits are not known.
fn parse_uuid(text: &str) -> Option<CUuuid> {
    let digits: String = text
        .strip_prefix("GPU-")?
        .chars()
        .filter(|c| *c != '-')
        .collect();
    let mut uuid = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (at, byte) in uuid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(CUuuid(uuid))
}

impl std::fmt::Display for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut digits = String::new();
        for (at, byte) in self.uuid.0.iter().enumerate() {
            let dash = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            let _ = write!(digits, "{dash}{byte:02x}");
        }
        write!(f, "{} (GPU-{digits})", self.model)
    }
}

/// GPUs have taken others' places: what the driver says of them may be of before.
static HAVE_CHANGED: AtomicBool = AtomicBool::new(false);

/// The process is on GPUs that were named in pairs.
pub(super) fn have_changed() {
    HAVE_CHANGED.store(true, Ordering::Relaxed);
}

/// Those that the driver had when its state was taken off them.
#[derive(Debug, Default)]
pub(super) struct Had {
    by_driver: Vec<Gpu>,
    /// As the kernel's driver said. The list may be longer (`CUDA_VISIBLE_DEVICES`), and it is not known whether the driver tells the
    /// new UUID of a GPU that has taken another's place.
    by_kernel: Option<Vec<Gpu>>,
}

impl Had {
    /// Those of now.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn now() -> Result<Had> {
        Ok(Had {
            by_driver: of_driver()?,
            by_kernel: here(),
        })
    }

    /// The answers to which GPU takes the place of which, to be tried in turn.
    ///
    /// # Errors
    /// `NoDevice` where a GPU has no counterpart of its model.
    pub(super) fn pairs_now(
        &self,
    ) -> std::result::Result<Vec<Vec<CUcheckpointGpuPair>>, MoveError> {
        let here = match (here(), &self.by_kernel) {
            (Some(here), _) => here,
            // The kernel's driver is gone, and with it the GPUs. A restore that fails may be the last.
            (None, Some(_)) => Vec::new(),
            (None, None) => return Ok(vec![Vec::new()]),
        };
        let first = pairs(&self.by_driver, &here);
        let second = self.by_kernel.as_ref().map(|had| pairs(had, &here));
        match (first, second) {
            (Ok(first), Some(Ok(second))) if first != second => {
                let kernel_knows = HAVE_CHANGED.load(Ordering::Relaxed);
                Ok(match kernel_knows {
                    true => vec![second, first],
                    false => vec![first, second],
                })
            }
            (Ok(pairs), _) | (Err(_), Some(Ok(pairs))) => Ok(vec![pairs]),
            (Err(error), _) => Err(error),
        }
    }
}

/// Which GPU takes the place of which: for all of `had`, or none where all of them are here.
///
/// # Errors
/// `NoDevice` where one has no counterpart of its model.
fn pairs(had: &[Gpu], here: &[Gpu]) -> std::result::Result<Vec<CUcheckpointGpuPair>, MoveError> {
    let is_here = |gpu: &Gpu| here.iter().any(|other| other.uuid == gpu.uuid);
    if had.iter().all(is_here) {
        return Ok(Vec::new());
    }
    let mut free: Vec<&Gpu> = here
        .iter()
        .filter(|gpu| !had.iter().any(|other| other.uuid == gpu.uuid))
        .collect();
    let pair = |old: &Gpu| {
        let new = if is_here(old) {
            old.uuid
        } else {
            let same = free.iter().position(|new| new.model == old.model);
            free.swap_remove(same.ok_or_else(|| no_device(old, here))?)
                .uuid
        };
        Ok(CUcheckpointGpuPair {
            old_uuid: old.uuid,
            new_uuid: new,
        })
    };
    had.iter().map(pair).collect()
}

fn no_device(missing: &Gpu, here: &[Gpu]) -> MoveError {
    let names: Vec<&str> = here.iter().map(|gpu| gpu.model.as_str()).collect();
    let here = if names.is_empty() {
        "no GPU".to_owned()
    } else {
        names.join(", ")
    };
    MoveError::NoDevice {
        api: Api::CUDA,
        name: missing.to_string(),
        platform: format!("{PLATFORM}; here is {here}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(number: u8, model: &str) -> Gpu {
        Gpu {
            uuid: CUuuid([number; 16]),
            model: model.to_owned(),
        }
    }

    fn numbers(had: &[Gpu], here: &[Gpu]) -> Vec<(u8, u8)> {
        let pairs = pairs(had, here).unwrap();
        let pair = |pair: &CUcheckpointGpuPair| (pair.old_uuid.0[0], pair.new_uuid.0[0]);
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn reads_what_the_kernels_driver_says() {
        let text = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 64\nGPU UUID: \t GPU-01020304-0506-0708-090a-0b0c0d0e0f10\n\
                    Device Minor: \t 0\n";
        let read = parse(text).unwrap();
        assert_eq!(read.model, "NVIDIA H200");
        assert_eq!(read.uuid.0, std::array::from_fn(|at| at as u8 + 1));
        assert_eq!(
            read.to_string(),
            "NVIDIA H200 (GPU-01020304-0506-0708-090a-0b0c0d0e0f10)"
        );
        assert_eq!(field(text, "Device Minor"), Some("0"));
        let unused = text.replace("01020304-0506", "????????-????");
        assert_eq!(parse(&unused), None);
    }

    #[test]
    fn every_gpu_is_named_where_one_differs() {
        let had = [gpu(1, "H200"), gpu(2, "H200"), gpu(3, "L4")];
        assert_eq!(numbers(&had, &had), []);
        let more = [gpu(2, "H200"), gpu(9, "L4"), gpu(3, "L4"), gpu(1, "H200")];
        assert_eq!(numbers(&had, &more), []);
        let here = [gpu(2, "H200"), gpu(7, "L4"), gpu(8, "H200")];
        assert_eq!(numbers(&had, &here), [(1, 8), (2, 2), (3, 7)]);
    }

    #[test]
    fn a_gpu_without_a_counterpart_is_named_beside_what_is_here() {
        let had = [gpu(1, "NVIDIA H200")];
        for (here, said) in [
            (vec![gpu(2, "NVIDIA A100")], "here is NVIDIA A100"),
            (Vec::new(), "here is no GPU"),
        ] {
            let why = pairs(&had, &here).unwrap_err().to_string();
            assert!(why.contains("NVIDIA H200") && why.contains(said), "{why}");
        }
    }
}
