//! The program itself: what it prints, and how it ends. A socket of the test's own stands for the daemon.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("xl-gpu-cli-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Answers requests by their `op`; what has no answer is refused.
struct Daemon {
    folder: Folder,
}

impl Daemon {
    fn start(answers: Value) -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.0.join("socket")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                    let request: Value = serde_json::from_str(&line).unwrap();
                    let reply = match answers.get(request["op"].as_str().unwrap()) {
                        Some(answer) => json!({"ok": answer}),
                        None => json!({"error": "there is none"}),
                    };
                    writeln!(&stream, "{reply}").unwrap();
                    line.clear();
                }
            }
        });
        Daemon { folder }
    }

    fn xl_gpu(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.0.join("socket");
        run(&socket, &self.folder.0, arguments)
    }
}

fn run(socket: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xl-gpu"))
        .args(arguments)
        .current_dir(folder)
        .env("XL_GPU_SOCKET", socket)
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn without_daemon(arguments: &[&str]) -> Output {
    let folder = Folder::new();
    run(&folder.0.join("none"), &folder.0, arguments)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn answers() -> Value {
    let report = json!({
        "id": 7, "role": "source", "domid": 5, "name": "web", "uuid": null, "ok": true, "started": 1_796_081_400, "sessions": [],
        "gpu_bytes": {"precopy": [1024], "stop": 5}, "precopy": null, "predicted_blackout_s": null, "compared_bytes": null,
        "compare_s": null, "vm_downtime_s": null, "stop_s": null, "restore_s": null, "total_s": 2.5});
    json!({
        "status": {"version": "0.1.0", "carrier": "xen", "spool_memory": {"used": 0, "limit": 1}, "domains": [{
            "domid": 5, "name": "web", "state": "idle", "error": "", "busy": null, "progress": null, "images": [], "report": report,
            "sessions": [{"session": "ab", "pid": 9, "program": "wave", "state": "attached", "generation": 0,
                          "blocked": null, "problem": null}]}]},
        "report": report,
        "history": {"migrations": []},
        "doctor": {"domid": 5, "name": "web", "sessions": 1, "can_migrate": false, "findings": [
            {"code": "spool-full", "severity": "error", "subject": "spool", "what": "no room", "remedy": ""}]},
        "steer": {},
        "idle": {"under_way": [], "kept": ["domain 5: the GPU state of 1 sessions"]},
    })
}

/// As the manual page has them.
#[test]
fn exit_statuses() {
    let daemon = Daemon::start(answers());
    let code = |output: Output| output.status.code().unwrap();
    assert_eq!(code(daemon.xl_gpu(&["status"])), 0);
    assert_eq!(code(daemon.xl_gpu(&["hold", "web"])), 0);
    assert_eq!(code(daemon.xl_gpu(&["doctor", "web"])), 2);
    assert_eq!(code(daemon.xl_gpu(&["status", "other"])), 1);
    assert_eq!(
        code(daemon.xl_gpu(&["forget", "web", &"07".repeat(16)])),
        1,
        "refused"
    );
    assert_eq!(code(daemon.xl_gpu(&["idle"])), 0);
    assert_eq!(code(daemon.xl_gpu(&["idle", "--removal"])), 3);
    assert_eq!(code(without_daemon(&["idle"])), 1);
    assert_eq!(code(without_daemon(&["status"])), 1);
    let doctor = without_daemon(&["doctor"]);
    assert!(text(&doctor.stdout).starts_with("error:   xl-gpud: it does not answer"));
    assert_eq!(code(doctor), 2);
    assert_eq!(code(without_daemon(&["stream", "verify", "/dev/null"])), 1);
    for wrong in [
        &["frobnicate"][..],
        &[],
        &["status", "--xml"],
        &["request", "destroy"],
        &["report", "--output", "x"],
        &["report", "--bundle", "--json"],
    ] {
        assert_eq!(code(without_daemon(wrong)), 64, "{wrong:?}");
    }
    for asked in [
        &["--help"][..],
        &["help", "report"],
        &["stream", "--help"],
        &["--version"],
    ] {
        assert_eq!(code(without_daemon(asked)), 0, "{asked:?}");
    }
    let page = include_str!("../../../docs/xl-gpu.8.md");
    for status in ["| 0 |", "| 1 |", "| 2 |", "| 64 |"] {
        assert!(page.contains(status), "{status}");
    }
}

#[test]
fn the_version_says_what_was_built() {
    let shown = text(&without_daemon(&["--version"]).stdout);
    assert!(
        shown.starts_with("xl-gpu 0.") && shown.trim_end().ends_with(')'),
        "{shown}"
    );
}

#[test]
fn a_pipe_gets_no_colours_and_nothing_is_cut() {
    let daemon = Daemon::start(answers());
    for command in [
        &["status"][..],
        &["report", "web"],
        &["doctor", "web"],
        &["history"],
    ] {
        let shown = text(&daemon.xl_gpu(command).stdout);
        assert!(
            !shown.is_empty() && !shown.contains('\u{1b}'),
            "{command:?}: {shown:?}"
        );
    }
}

/// What `script` shows of it, as on a terminal.
fn on_a_terminal(daemon: &Daemon, variables: &[(&str, &str)]) -> String {
    let binary = env!("CARGO_BIN_EXE_xl-gpu");
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("stty columns 80; {binary} status"),
            "/dev/null",
        ])
        .env("XL_GPU_SOCKET", daemon.folder.0.join("socket"))
        .env_remove("NO_COLOR")
        // Where builds are run, the crate takes a dumb terminal for one with colours.
        .env_remove("CI")
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .output()
        .expect("script(1)");
    text(&output.stdout)
}

#[test]
fn a_terminal_gets_colours_unless_it_or_somebody_wants_none() {
    let daemon = Daemon::start(answers());
    let shown = on_a_terminal(&daemon, &[]);
    assert!(shown.contains("\u{1b}[1mweb (5)"), "{shown:?}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_a_terminal(&daemon, &[variable]);
        assert!(
            shown.contains("web (5)") && !shown.contains('\u{1b}'),
            "{shown:?}"
        );
    }
}

#[test]
fn json_is_json() {
    let daemon = Daemon::start(answers());
    for command in [
        &["status", "--json"][..],
        &["report", "web", "--json"],
        &["history", "--json"],
        &["doctor", "web", "--json"],
    ] {
        let shown = daemon.xl_gpu(command).stdout;
        let parsed: Value = serde_json::from_slice(&shown).unwrap();
        assert!(parsed.is_object(), "{command:?}");
    }
}

#[test]
fn a_drawing_goes_into_a_file() {
    let daemon = Daemon::start(answers());
    let output = daemon.xl_gpu(&["report", "web", "--svg", "web.svg"]);
    assert!(output.status.success() && output.stdout.is_empty());
    let drawn = std::fs::read_to_string(daemon.folder.0.join("web.svg")).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
    let output = daemon.xl_gpu(&["report", "web", "--svg", "/nowhere/web.svg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/web.svg"));
}

fn unpacked(archive: &Path) -> Vec<String> {
    let listed = Command::new("tar")
        .arg("-tzf")
        .arg(archive)
        .output()
        .unwrap();
    assert!(listed.status.success());
    let listed = text(&listed.stdout);
    let names = listed.lines().filter_map(|line| line.rsplit('/').next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_bundle_has_what_can_be_had() {
    let daemon = Daemon::start(answers());
    let output = daemon.xl_gpu(&["report", "--bundle", "--output", "b.tar.gz"]);
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(said.starts_with("b.tar.gz: "), "{said}");
    let archive = daemon.folder.0.join("b.tar.gz");
    let names = unpacked(&archive);
    for name in [
        "xl-gpu-version.txt",
        "status.json",
        "history.json",
        "doctor.json",
        "doctor-5.json",
        "report-5.json",
        "kernel.txt",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    let mode = std::fs::metadata(archive).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "its owner's only");
}

#[test]
fn a_bundle_needs_no_daemon() {
    let folder = Folder::new();
    let output = run(&folder.0.join("none"), &folder.0, &["report", "--bundle"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        said.contains("not in it: status.json (xl-gpud cannot be reached"),
        "{said}"
    );
    let archive = said.split(": ").next().unwrap();
    assert!(archive.starts_with("xl-gpu-report-"), "{said}");
    let names = unpacked(&folder.0.join(archive));
    assert!(
        names.contains(&"xl-gpu-version.txt".to_owned()),
        "{names:?}"
    );
}
