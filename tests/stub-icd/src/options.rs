//! `XL_GPU_STUB`: what the driver pretends to be and how it misbehaves. README.md has the table.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::extensions::{Extension, OPTIONAL};
use crate::lock::lock;
use crate::rules::{Delay, Failure, Return};

static IN_FORCE: Mutex<Option<Arc<Options>>> = Mutex::new(None);

/// The options in force.
pub fn in_force() -> Arc<Options> {
    lock(&IN_FORCE).get_or_insert_default().clone()
}

/// Puts other options in force. What is fixed at load (device node, identity, version) does not change any more.
pub fn set(options: Options) {
    *lock(&IN_FORCE) = Some(Arc::new(options));
}

/// Everything `XL_GPU_STUB` can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub device: Option<PathBuf>,
    pub leak_fds: usize,
    pub leak_maps: usize,
    /// GiB of address space.
    pub reserve: usize,
    pub exit_handlers: usize,
    /// KiB.
    pub forget: usize,
    pub failures: Vec<Failure>,
    pub exec_failures: Vec<Failure>,
    pub delays: Vec<Delay>,
    pub exec_delays: Vec<Delay>,
    pub returns: Vec<Return>,
    pub name: String,
    pub vendor: String,
    pub driver: String,
    pub name_after_reload: Option<String>,
    pub vendor_after_reload: Option<String>,
    pub driver_after_reload: Option<String>,
    pub loads: Option<PathBuf>,
    pub linger_thread: bool,
    pub stay_mapped: bool,
    pub lazy_flush: bool,
    /// A library, by name.
    pub opens: Option<String>,
    pub build_refuses_arg_info: bool,
    pub link_refuses_arg_info: bool,
    pub logs_add_up: bool,
    /// Bytes that each built program says it has.
    pub global_variables: usize,
    pub svm_system: bool,
    pub icd2: bool,
    /// Of [`OPTIONAL`].
    pub extensions: BTreeSet<Extension>,
    /// OpenCL version, (major, minor).
    pub spec: (u32, u32),
    pub devices: usize,
    /// Bytes of device memory.
    pub memory: u64,
    pub report: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            device: None,
            leak_fds: 0,
            leak_maps: 0,
            reserve: 0,
            exit_handlers: 0,
            forget: 0,
            failures: Vec::new(),
            exec_failures: Vec::new(),
            delays: Vec::new(),
            exec_delays: Vec::new(),
            returns: Vec::new(),
            name: "xl-gpu stub GPU".to_owned(),
            vendor: "xl-gpu".to_owned(),
            driver: "1.0".to_owned(),
            name_after_reload: None,
            vendor_after_reload: None,
            driver_after_reload: None,
            loads: None,
            linger_thread: false,
            stay_mapped: false,
            lazy_flush: false,
            opens: None,
            build_refuses_arg_info: false,
            link_refuses_arg_info: false,
            logs_add_up: false,
            global_variables: 0,
            svm_system: false,
            icd2: false,
            extensions: BTreeSet::new(),
            spec: (3, 0),
            devices: 1,
            memory: 1 << 30,
            report: None,
        }
    }
}

impl Options {
    /// Reads `key=value,key,…`.
    ///
    /// # Errors
    /// Says which item is not understood: a test with a slip in it must not pass by accident.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Options::default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (key, value) = item
                .split_once('=')
                .map_or((item, None), |(key, value)| (key, Some(value)));
            options
                .set(key, value)
                .map_err(|reason| format!("XL_GPU_STUB: {item:?}: {reason}"))?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let given = || {
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| "needs a value".to_owned())
        };
        let number = || {
            given()?
                .parse::<usize>()
                .map_err(|_| "needs a number".to_owned())
        };
        match key {
            "nvidia" => {
                (self.leak_fds, self.leak_maps, self.reserve) = (7, 3, 4);
                self.exit_handlers = 1216;
            }
            "device" => self.device = Some(given()?.into()),
            "leak_fds" => self.leak_fds = number()?,
            "leak_maps" => self.leak_maps = number()?,
            "reserve" => self.reserve = number()?,
            "exit_handlers" => self.exit_handlers = number()?,
            "forget" => self.forget = number()?,
            "fail" => self.failures.push(Failure::parse(given()?)?),
            "fail_exec" => self.exec_failures.push(Failure::parse(given()?)?),
            "slow" => self.delays.push(Delay::parse(given()?)?),
            "slow_exec" => self.exec_delays.push(Delay::parse(given()?)?),
            "return_after" => self.returns.push(Return::parse(given()?)?),
            "name" => self.name = given()?.to_owned(),
            "vendor" => self.vendor = given()?.to_owned(),
            "driver" => self.driver = given()?.to_owned(),
            "name_after_reload" => self.name_after_reload = Some(given()?.to_owned()),
            "vendor_after_reload" => self.vendor_after_reload = Some(given()?.to_owned()),
            "driver_after_reload" => self.driver_after_reload = Some(given()?.to_owned()),
            "loads" => self.loads = Some(given()?.into()),
            "linger_thread" => self.linger_thread = true,
            "stay_mapped" => self.stay_mapped = true,
            "opens" => self.opens = Some(given()?.to_owned()),
            "lazy_flush" => self.lazy_flush = true,
            "build_refuses_arg_info" => self.build_refuses_arg_info = true,
            "link_refuses_arg_info" => self.link_refuses_arg_info = true,
            "logs_add_up" => self.logs_add_up = true,
            "global_variables" => self.global_variables = number()?,
            "svm_system" => self.svm_system = true,
            "icd2" => self.icd2 = true,
            "extension" => {
                self.extensions.insert(extension(given()?)?);
            }
            "spec" => self.spec = spec(given()?)?,
            "devices" => {
                self.devices = number()
                    .and_then(|n| (1..=8).contains(&n).then_some(n).ok_or("1 to 8".into()))?
            }
            "memory" => self.memory = bytes(given()?)?,
            "report" => self.report = Some(given()?.into()),
            _ => return Err("is no option".to_owned()),
        }
        Ok(())
    }

    /// Whether an answer changes when the driver is loaded again.
    pub fn changes_after_reload(&self) -> bool {
        self.name_after_reload.is_some()
            || self.vendor_after_reload.is_some()
            || self.driver_after_reload.is_some()
    }
}

fn extension(name: &str) -> Result<Extension, String> {
    let found = OPTIONAL.iter().find(|(optional, _)| *optional == name);
    found
        .copied()
        .ok_or_else(|| format!("{name} is no extension of the stub"))
}

fn spec(text: &str) -> Result<(u32, u32), String> {
    match text {
        "1.0" => Ok((1, 0)),
        "1.1" => Ok((1, 1)),
        "1.2" => Ok((1, 2)),
        "2.0" => Ok((2, 0)),
        "2.1" => Ok((2, 1)),
        "2.2" => Ok((2, 2)),
        "3.0" => Ok((3, 0)),
        _ => Err("is no OpenCL version".to_owned()),
    }
}

/// A number of bytes with an optional K, M or G.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits
        .parse::<u64>()
        .map_err(|_| format!("{text:?} is no number of bytes"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text:?} is too much"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rules::Nth;

    #[test]
    fn reads_every_kind_of_item() {
        let read = Options::parse(
            "leak_fds=7, leak_maps=3,device=/dev/x,fail=clCreateBuffer:3:-4,fail=clFinish:2+:-5,\
             slow=clEnqueueReadBuffer:50ms,name_after_reload=Other GPU,linger_thread,stay_mapped,spec=1.2,memory=64M,\
             return_after=clSetUserEventStatus:clFlush",
        )
        .unwrap();
        assert_eq!(
            (read.leak_fds, read.leak_maps, read.spec, read.memory),
            (7, 3, (1, 2), 64 << 20)
        );
        assert_eq!(read.device.as_deref(), Some(std::path::Path::new("/dev/x")));
        assert_eq!(
            read.failures[0],
            Failure {
                function: "clCreateBuffer".into(),
                nth: Nth::Exactly(3),
                code: -4
            }
        );
        assert_eq!(read.failures[1].nth, Nth::From(2));
        assert_eq!(read.delays[0].time, Duration::from_millis(50));
        assert_eq!(read.name_after_reload.as_deref(), Some("Other GPU"));
        let after = Return {
            function: "clSetUserEventStatus".into(),
            other: "clFlush".into(),
        };
        assert_eq!(read.returns, [after]);
        assert!(read.linger_thread && read.stay_mapped && read.changes_after_reload());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for wrong in [
            "leak",
            "leak_fds",
            "leak_fds=x",
            "fail=clFoo:1:-4",
            "fail=clFinish:1:4",
            "slow=clFinish:5",
            "return_after=clFinish",
            "return_after=clFinish:clFoo",
            "spec=4.0",
        ] {
            assert!(
                Options::parse(wrong).unwrap_err().contains("XL_GPU_STUB"),
                "{wrong}"
            );
        }
    }
}
