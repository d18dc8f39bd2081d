//! A bug report: `xl-gpu report --bundle`. Each piece is had or its absence told; none is worth failing for.

use crate::client::Client;
use anyhow::{Context, bail, ensure};
use host::examination::HostDiagnosis;
use protocol::control::Control;
use protocol::status::Status;
use serde_json::Value;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The daemon's settings, where nothing else was said when it was started.
const CONFIGURATION: &str = "/etc/xen/xl-gpu.conf";
/// Lines of the daemon's log.
const LOG_LINES: &str = "20000";

/// Packs it into `output`, or into a file in this folder, with what was found of this `host`; what there is to say about that.
pub fn write(
    socket: &Path,
    host: &HostDiagnosis,
    output: Option<PathBuf>,
) -> anyhow::Result<String> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let name = format!(
        "xl-gpu-report-{}",
        now.replace([':', 'Z'], "").replace('T', "-")
    );
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    let scratch = Scratch::new(&name)?;
    let bundle = Bundle::collect(socket, host, &scratch.folder)?;
    // For its owner only: it names domains and programs.
    let mut file = OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600);
    let file = file.open(&output);
    let file = file.with_context(|| format!("cannot write {}", output.display()))?;
    pack(&scratch, file).with_context(|| format!("cannot write {}", output.display()))?;
    let mut said = format!("{}: {}\n", output.display(), bundle.had.join(", "));
    for missing in &bundle.missing {
        said += &format!("not in it: {missing}\n");
    }
    said += "It names domains and programs of guests. Look into it before you send it.\n";
    Ok(said)
}

/// A folder that goes with this value.
struct Scratch {
    parent: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Scratch {
    fn new(name: &str) -> anyhow::Result<Self> {
        let parent = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let folder = parent.join(name);
        // Nobody else's: the first one fails where there is something already.
        for folder in [&parent, &folder] {
            let made = DirBuilder::new().mode(0o700).create(folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Scratch {
            parent,
            folder,
            name: name.to_owned(),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.parent);
    }
}

fn pack(scratch: &Scratch, file: File) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    let tar = tar.arg("-C").arg(&scratch.parent).arg("-cz");
    let status = tar.arg(&scratch.name).stdout(file).status();
    ensure!(status.context("no tar")?.success(), "tar has failed");
    Ok(())
}

/// What has been collected.
#[derive(Debug, Default)]
struct Bundle {
    had: Vec<String>,
    missing: Vec<String>,
}

impl Bundle {
    fn collect(socket: &Path, host: &HostDiagnosis, folder: &Path) -> anyhow::Result<Self> {
        let mut bundle = Bundle::default();
        let mut put = |name: &str, content: anyhow::Result<Vec<u8>>| -> anyhow::Result<()> {
            match content {
                Ok(content) => {
                    let path = folder.join(name);
                    let written = std::fs::write(&path, content);
                    written.with_context(|| format!("cannot write {}", path.display()))?;
                    bundle.had.push(name.to_owned());
                }
                Err(e) => bundle.missing.push(format!("{name} ({e:#})")),
            }
            Ok(())
        };
        put(
            "xl-gpu-version.txt",
            Ok(format!("{}\n", version::VERSION).into()),
        )?;
        put(
            "xl-gpu.conf",
            std::fs::read(CONFIGURATION).context(CONFIGURATION),
        )?;
        put(
            "os-release.txt",
            std::fs::read("/etc/os-release").context("/etc/os-release"),
        )?;
        put("kernel.txt", said(&["uname", "-a"]))?;
        put("xl-info.txt", said(&["xl", "info"]))?;
        put(
            "packages.txt",
            said(&[
                "dpkg-query",
                "-W",
                "xl-gpu*",
                "xen-*",
                "libxen*",
                "libvirt-daemon*",
            ]),
        )?;
        put(
            "xl-gpud.log",
            said(&[
                "journalctl",
                "-u",
                "xl-gpud",
                "-n",
                LOG_LINES,
                "--no-pager",
                "-o",
                "short-iso-precise",
            ]),
        )?;
        put("doctor.json", pretty(host))?;
        let status = ask::<Status>(socket, &Control::Status);
        let domains = status
            .as_ref()
            .map(|s| s.domains.iter().map(|d| d.domid).collect());
        let domains: Vec<u32> = domains.unwrap_or_default();
        put("status.json", status.and_then(|status| pretty(&status)))?;
        put(
            "history.json",
            asked(socket, &Control::History { domain: None }),
        )?;
        for domid in domains {
            let doctor = Control::Doctor {
                domain: domid.to_string(),
                save_helper: std::env::var("LIBXL_SAVE_HELPER").ok(),
            };
            put(&format!("doctor-{domid}.json"), asked(socket, &doctor))?;
            // A domain that was never moved has none.
            if let Ok(report) = asked(socket, &Control::Report { domid }) {
                put(&format!("report-{domid}.json"), Ok(report))?;
            }
        }
        Ok(bundle)
    }
}

fn ask<T: serde::de::DeserializeOwned>(socket: &Path, control: &Control) -> anyhow::Result<T> {
    Client::connect(socket)?.ask(control)
}

fn asked(socket: &Path, control: &Control) -> anyhow::Result<Vec<u8>> {
    pretty(&ask::<Value>(socket, control)?)
}

fn pretty(value: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(value)?)
}

/// What a command says. Where it has failed, that is said with it.
fn said(command: &[&str]) -> anyhow::Result<Vec<u8>> {
    let [program, arguments @ ..] = command else {
        bail!("no command");
    };
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.to_string())?;
    ensure!(
        output.status.success() || !output.stdout.is_empty(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
