//! `/etc/xen/xl-gpu.conf`: what an administrator may set. The manual page is `docs/xl-gpu.conf.5.md`.
//!
//! Like `xl.conf`, the file is a list of `name = value` lines; its syntax is TOML. Every setting has a default,
//! and a name nobody knows is an error: a misspelt limit must not silently mean none.

mod values;

use serde::Deserialize;
use spool::SpoolConfig;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Where the daemon looks unless it is told otherwise.
pub const DEFAULT_PATH: &str = "/etc/xen/xl-gpu.conf";

/// All settings.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory of dom0 that images may take before they go to disk, in bytes, for all guests together.
    #[serde(deserialize_with = "values::size")]
    pub spool_memory: u64,
    /// Folder for images that do not fit into memory.
    #[serde(deserialize_with = "values::folder")]
    pub spool_dir: PathBuf,
    /// Memory and disk that the images of one guest may take, in bytes.
    #[serde(deserialize_with = "values::size")]
    pub spool_guest_quota: u64,
    /// Largest buffer, in bytes.
    #[serde(deserialize_with = "values::size")]
    pub max_object: u64,
    /// Pages of all guests' channels together that dom0 maps at a time.
    #[serde(deserialize_with = "values::pages")]
    pub channel_pages: u32,
    /// Most pre-copy rounds.
    #[serde(deserialize_with = "values::rounds")]
    pub precopy_rounds: u32,
    /// Longest pre-copy.
    #[serde(deserialize_with = "values::duration")]
    pub precopy_time: Duration,
    /// Most bytes that pre-copy rounds may send.
    #[serde(deserialize_with = "values::size")]
    pub precopy_bytes: u64,
    /// Programs are stopped once their GPU calls will probably be blocked for no longer than this.
    #[serde(deserialize_with = "values::duration")]
    pub blackout_budget: Duration,
    /// How long a session may take to share its pages.
    #[serde(deserialize_with = "values::duration")]
    pub timeout_open: Duration,
    /// How long a program's queues may take to become idle at a stop.
    #[serde(deserialize_with = "values::duration")]
    pub timeout_drain: Duration,
    /// How long sessions that are being attached are waited for before something else begins.
    #[serde(deserialize_with = "values::duration")]
    pub timeout_busy: Duration,
    /// Whether PCI devices of domains with GPU sessions are detached for a migration or save, and attached again.
    pub pci_detach: bool,
    /// How long a guest may take to give up a PCI device or to take one, and each of the two commands below.
    #[serde(deserialize_with = "values::duration")]
    pub pci_timeout: Duration,
    /// Whether RAM is pre-copied while they are still assigned.
    pub ram_precopy: bool,
    /// Threads for that, at most.
    #[serde(deserialize_with = "values::threads")]
    pub ram_threads: u32,
    /// Passes over RAM before the devices are detached, at most.
    #[serde(deserialize_with = "values::passes")]
    pub ram_passes: u32,
    /// No more passes when one has sent no more bytes than this.
    #[serde(deserialize_with = "values::size")]
    pub ram_stop_below: u64,
    /// By domain name: devices that a domain gets which has none when its sessions are to be attached.
    #[serde(deserialize_with = "values::devices")]
    pub pci_attach: BTreeMap<String, Vec<String>>,
    /// Command, with its arguments, to run before devices are detached.
    #[serde(deserialize_with = "values::command")]
    pub pci_before_detach: Vec<String>,
    /// Command, with its arguments, to run after devices have been attached.
    #[serde(deserialize_with = "values::command")]
    pub pci_after_attach: Vec<String>,
    /// Whether a save that runs without the plugin is ended where the domain has GPU sessions.
    pub end_saves_without_plugin: bool,
    /// Where Prometheus is answered, if at all.
    #[serde(deserialize_with = "values::listen_at")]
    pub metrics: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            spool_memory: 1 << 30,
            spool_dir: PathBuf::from("/var/lib/xl-gpu/spool"),
            spool_guest_quota: 256 << 30,
            max_object: 1 << 40,
            channel_pages: 1 << 16,
            precopy_rounds: 30,
            precopy_time: Duration::from_secs(600),
            precopy_bytes: 1 << 40,
            blackout_budget: Duration::from_millis(300),
            timeout_open: Duration::from_secs(10),
            timeout_drain: Duration::from_secs(30),
            timeout_busy: Duration::from_secs(30),
            pci_detach: true,
            pci_timeout: Duration::from_secs(30),
            ram_precopy: true,
            ram_threads: 4,
            ram_passes: 5,
            ram_stop_below: 16 << 20,
            pci_attach: BTreeMap::new(),
            pci_before_detach: Vec::new(),
            pci_after_attach: Vec::new(),
            end_saves_without_plugin: true,
            metrics: None,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("{path}, line {line}: {message}")]
    Invalid {
        path: PathBuf,
        line: usize,
        message: String,
    },
}

impl Config {
    /// Reads `path`.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        Config::parse(path, &text)
    }

    /// Reads [`DEFAULT_PATH`]; a file that is not there means the defaults.
    pub fn load_default() -> Result<Config, ConfigError> {
        match Config::load(Path::new(DEFAULT_PATH)) {
            Err(ConfigError::Read { error, .. }) if error.kind() == ErrorKind::NotFound => {
                Ok(Config::default())
            }
            result => result,
        }
    }

    /// Parses `text`; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            ConfigError::Invalid {
                path: path.to_owned(),
                line,
                message: error.message().to_owned(),
            }
        })
    }

    /// The spool's part.
    pub fn spool(&self) -> SpoolConfig {
        SpoolConfig {
            memory_bytes: self.spool_memory,
            dir: self.spool_dir.clone(),
            guest_bytes: self.spool_guest_quota,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("xl-gpu.conf"), text)
    }

    #[test]
    fn everything_has_a_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(parse("# spool_memory = 1\n\n").unwrap(), Config::default());
    }

    #[test]
    fn every_setting_is_read() {
        let config = parse(
            r#"
            spool_memory = "2G"         # a comment
            spool_dir = "/srv/spool"
            spool_guest_quota = "1T"
            max_object = 65536
            channel_pages = 262144
            precopy_rounds = 7
            precopy_time = "90s"
            precopy_bytes = "64G"
            blackout_budget = "1s"
            timeout_open = "1500ms"
            timeout_drain = "90s"
            timeout_busy = "2min"
            pci_detach = false
            pci_timeout = "5s"
            ram_precopy = false
            ram_threads = 64
            ram_passes = 1
            ram_stop_below = "1M"
            pci_attach = { vm = ["0000:3b:00.0", "0000:3c:00.1"] }
            pci_before_detach = ["/bin/true", "x"]
            pci_after_attach = ["/bin/false"]
            end_saves_without_plugin = false
            metrics = "[::1]:9417"
            "#,
        );
        let expected = Config {
            spool_memory: 2 << 30,
            spool_dir: "/srv/spool".into(),
            spool_guest_quota: 1 << 40,
            max_object: 65536,
            channel_pages: 262_144,
            precopy_rounds: 7,
            precopy_time: Duration::from_secs(90),
            precopy_bytes: 64 << 30,
            blackout_budget: Duration::from_secs(1),
            timeout_open: Duration::from_millis(1500),
            timeout_drain: Duration::from_secs(90),
            timeout_busy: Duration::from_secs(120),
            pci_detach: false,
            pci_timeout: Duration::from_secs(5),
            ram_precopy: false,
            ram_threads: 64,
            ram_passes: 1,
            ram_stop_below: 1 << 20,
            pci_attach: BTreeMap::from([(
                "vm".to_owned(),
                vec!["0000:3b:00.0".to_owned(), "0000:3c:00.1".to_owned()],
            )]),
            pci_before_detach: vec!["/bin/true".into(), "x".into()],
            pci_after_attach: vec!["/bin/false".into()],
            end_saves_without_plugin: false,
            metrics: Some("[::1]:9417".parse().unwrap()),
        };
        assert_eq!(config.unwrap(), expected);
        let SpoolConfig {
            memory_bytes,
            dir,
            guest_bytes,
        } = expected.spool();
        assert_eq!((memory_bytes, guest_bytes), (2 << 30, 1 << 40));
        assert_eq!(dir, Path::new("/srv/spool"));
    }

    #[test]
    fn a_bare_port_is_this_hosts_own() {
        let metrics = |text: &str| parse(text).unwrap().metrics;
        let here = Some("127.0.0.1:9417".parse().unwrap());
        assert_eq!(metrics("metrics = 9417"), here);
        assert_eq!(metrics("metrics = \"127.0.0.1:9417\""), here);
        assert_eq!(metrics("metrics = \"\""), None);
    }

    #[test]
    fn errors_name_file_line_and_what_was_expected() {
        for (text, line, part) in [
            (
                "precopy_rounds = 3\nspool_memroy = 1\n",
                2,
                "unknown field `spool_memroy`",
            ),
            ("\n\nspool_memory = \"2X\"", 3, "K, M, G, T"),
            ("spool_memory = -1", 1, "K, M, G, T"),
            ("spool_memory = \"9999999T\"", 1, "K, M, G, T"),
            ("spool_memory = \"\"", 1, "K, M, G, T"),
            ("spool_memory = true", 1, "K, M, G, T"),
            ("timeout_open = 30", 1, "\"30s\""),
            ("timeout_open = \"0s\"", 1, "\"30s\""),
            ("precopy_rounds = 1001", 1, "from 0 to 1000"),
            ("channel_pages = 4", 1, "from 5 to 262144"),
            ("ram_threads = 0", 1, "from 1 to 64"),
            ("ram_passes = 101", 1, "from 1 to 100"),
            ("spool_dir = \"spool\"", 1, "absolute path"),
            ("# fine\nspool_dir = /srv/spool\n", 2, ""),
            ("precopy_rounds = 3\nprecopy_rounds = 4\n", 2, "duplicate"),
            (
                "\npci_attach = { vm = [\"3b:00.0\"] }",
                2,
                "`3b:00.0`: expected a PCI",
            ),
            ("pci_attach = [\"0000:3b:00.0\"]", 1, "expected a map"),
            ("pci_before_detach = [\"true\"]", 1, "absolute path"),
            ("pci_after_attach = \"/bin/true\"", 1, "a sequence"),
            ("pci_detach = \"yes\"", 1, "a boolean"),
            ("metrics = 0", 1, "an address such as"),
            ("metrics = 65536", 1, "an address such as"),
            ("metrics = \"localhost\"", 1, "an address such as"),
            ("metrics = \"127.0.0.1\"", 1, "an address such as"),
            ("metrics = true", 1, "an address such as"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("xl-gpu.conf, line {line}: ")),
                "{text:?}: {error}"
            );
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_named_file_has_to_be_there() {
        let error = Config::load(Path::new("/nonexistent/xl-gpu.conf")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/xl-gpu.conf"),
            "{error}"
        );
    }

    #[test]
    fn the_manual_page_lists_each_setting_with_its_default() {
        let page = include_str!("../../../docs/xl-gpu.conf.5.md");
        let example: String = page
            .lines()
            .skip_while(|line| *line != "```toml")
            .skip(1)
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(parse(&example).unwrap(), Config::default());
        let names = |text: &str| text.lines().filter(|line| line.contains(" = ")).count();
        assert_eq!(names(&example), 23, "all of them");
    }
}
