//! `XL_GPU_STUB_CUDA`: what the driver pretends to be and how it misbehaves. README.md has the table.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::rules::{Delay, Failure, Nth};

/// Environment variable of the options.
pub const VARIABLE: &str = "XL_GPU_STUB_CUDA";

/// Most devices that can be asked for.
pub const MOST_DEVICES: usize = 8;

/// The options, or what is wrong with them.
pub fn options() -> &'static Result<Options, String> {
    static OPTIONS: OnceLock<Result<Options, String>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let options = Options::parse(&text);
        if let Err(reason) = &options {
            eprintln!("stub libcuda: {reason}");
        }
        options
    })
}

/// The options, or the defaults where they are wrong (`cuInit` fails then).
pub fn in_force() -> &'static Options {
    static DEFAULTS: OnceLock<Options> = OnceLock::new();
    options()
        .as_ref()
        .unwrap_or_else(|_| DEFAULTS.get_or_init(Options::default))
}

/// Everything that `XL_GPU_STUB_CUDA` can say.
#[derive(Clone, Debug)]
pub struct Options {
    pub devices: usize,
    /// Bytes of memory of each device.
    pub memory: u64,
    pub name: String,
    /// 1000 × major + 10 × minor.
    pub version: i32,
    /// Folder of the device nodes.
    pub nodes: Option<PathBuf>,
    /// File of the UUIDs.
    pub uuids: Option<PathBuf>,
    pub failures: Vec<Failure>,
    pub delays: Vec<Delay>,
    pub leak_fds: usize,
    pub leak_maps: usize,
    pub no_checkpoint: bool,
    pub zero: bool,
    pub future: bool,
    pub log: Option<PathBuf>,
    pub restore_fails: Option<Nth>,
    pub fails_for_good: bool,
    pub mps: bool,
    pub integrated: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            devices: 1,
            memory: 256 << 20,
            name: "xl-gpu stub CUDA GPU".to_owned(),
            version: 13000,
            nodes: None,
            uuids: None,
            failures: Vec::new(),
            delays: Vec::new(),
            leak_fds: 0,
            leak_maps: 0,
            no_checkpoint: false,
            zero: false,
            future: false,
            log: None,
            restore_fails: None,
            fails_for_good: false,
            mps: false,
            integrated: false,
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
        let items = text.split(',').map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            let (key, value) = item
                .split_once('=')
                .map_or((item, None), |(key, value)| (key, Some(value)));
            options
                .set(key, value)
                .map_err(|reason| format!("{VARIABLE}: {item:?}: {reason}"))?;
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
            "devices" => {
                self.devices = number()?;
                if !(0..=MOST_DEVICES).contains(&self.devices) {
                    return Err(format!("0 to {MOST_DEVICES}"));
                }
            }
            "memory" => self.memory = bytes(given()?)?,
            "name" => self.name = given()?.to_owned(),
            "version" => {
                self.version = number()?
                    .try_into()
                    .map_err(|_| "is no version".to_owned())?;
            }
            "nodes" => self.nodes = Some(given()?.into()),
            "uuids" => self.uuids = Some(given()?.into()),
            "fail" => self.failures.push(Failure::parse(given()?)?),
            "slow" => self.delays.push(Delay::parse(given()?)?),
            "leak_fds" => self.leak_fds = number()?,
            "leak_maps" => self.leak_maps = number()?,
            "no_checkpoint" => self.no_checkpoint = true,
            "zero" => self.zero = true,
            "future" => self.future = true,
            "log" => self.log = Some(given()?.into()),
            "restore_fails" => self.restore_fails = Some(Nth::parse(given()?)?),
            "fails_for_good" => self.fails_for_good = true,
            "mps" => self.mps = true,
            "integrated" => self.integrated = true,
            _ => return Err("is no option".to_owned()),
        }
        Ok(())
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.chars().last() {
        Some('K') => (&text[..text.len() - 1], 1 << 10),
        Some('M') => (&text[..text.len() - 1], 1 << 20),
        Some('G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .map(|number| number * unit)
        .map_err(|_| format!("{text:?} is no size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_item() {
        let text = "devices=2,memory=64M,fail=cuMemAlloc_v2:3+:OUT_OF_MEMORY,slow=*:1ms,nodes=/tmp/x,future";
        let options = Options::parse(text).unwrap();
        assert_eq!((options.devices, options.memory), (2, 64 << 20));
        assert!(options.future && options.nodes.is_some());
        assert_eq!((options.failures.len(), options.delays.len()), (1, 1));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for wrong in [
            "device",
            "memory=much",
            "fail=cuInit",
            "slow=cuInit:3",
            "fail=x:1:2",
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong}");
        }
    }
}
