//! A daemon that is killed loses nothing that was acknowledged.

use crate::host::{Folder, Talk, eventually};
use crate::program::{Program, objects};
use channel::image::{Api, ObjectId};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command};

struct Running(Child);

impl Running {
    fn start(folder: &Path, spool_memory: u64) -> Running {
        let config = folder.join("xl-gpu.conf");
        let spool = folder.join("disk");
        std::fs::create_dir_all(&spool).unwrap();
        let text = format!("spool_memory = {spool_memory}\nspool_dir = {spool:?}\n");
        std::fs::write(&config, text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_xl-gpud"))
            .env_remove("XL_GPU_SOCKET")
            .arg("--run-dir")
            .arg(folder)
            .arg("--config")
            .arg(config)
            .arg("--loopback")
            .arg(folder.join("programs"))
            .spawn()
            .unwrap();
        Running(child)
    }

    /// As the kernel's OOM killer would.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The daemon's answer, or why there is none.
fn ask(folder: &Path, request: Value) -> Result<Value, String> {
    let connected = Talk::connect(&folder.join("gpud.sock"));
    connected.map_err(|e| e.to_string())?.ask(request)
}

fn request(folder: &Path, what: &str) -> Result<Value, String> {
    ask(
        folder,
        json!({"op": "request", "domid": 0, "request": what}),
    )
}

fn status(folder: &Path) -> Option<Value> {
    let shown = ask(folder, json!({"op": "status"})).ok()?;
    // No domain is shown before its first session is announced.
    shown["domains"].get(0).cloned()
}

fn await_session(folder: &Path, state: &str) {
    eventually("the session is announced", || {
        status(folder).is_some_and(|s| s["sessions"][0]["state"] == state)
    });
}

#[test]
fn killed_between_detach_and_attach() {
    // In memory, on disk, and both.
    for memory in [1 << 30, 0, 1 << 20] {
        let folder = Folder::new();
        let programs = folder.0.join("programs");
        let first = Running::start(&folder.0, memory);
        eventually("the socket is there", || programs.exists());
        // Of two APIs, with the same numbers.
        let mut contents = objects(1, 6);
        let cuda = |object| ObjectId::new(Api::CUDA, object).into();
        contents.extend(objects(2, 2).into_iter().map(|(o, bytes)| (cuda(o), bytes)));
        let program = Program::start(&programs, 1, contents.clone());
        await_session(&folder.0, "attached");
        request(&folder.0, "detach").unwrap();
        assert_eq!(program.bytes(), None);
        first.kill();

        let second = Running::start(&folder.0, memory);
        await_session(&folder.0, "detached");
        let shown = status(&folder.0).unwrap();
        assert_eq!(shown["images"].as_array().unwrap().len(), 1, "{shown}");
        assert_eq!(shown["state"], "detached");
        request(&folder.0, "attach").unwrap();
        assert_eq!(program.bytes().as_ref(), Some(&contents));

        // And once more, so that nothing of the first round is in the way.
        request(&folder.0, "detach").unwrap();
        second.kill();
        let third = Running::start(&folder.0, memory);
        await_session(&folder.0, "detached");
        request(&folder.0, "attach").unwrap();
        assert_eq!(program.bytes().as_ref(), Some(&contents));
        let left = |dir: &str| std::fs::read_dir(folder.0.join(dir)).unwrap().count();
        // A thread of its own gives the space back.
        eventually("nothing stays behind", || {
            (left("spool"), left("disk")) == (0, 0)
        });
        third.kill();
    }
}

/// Its program runs already: whoever has the image goes on, also where it was kept for an `attach`.
#[test]
fn killed_while_contents_arrive() {
    let folder = Folder::new();
    let programs = folder.0.join("programs");
    let first = Running::start(&folder.0, 1 << 20);
    eventually("the socket is there", || programs.exists());
    let program = Program::start(&programs, 1, objects(1, 6));
    await_session(&folder.0, "attached");
    request(&folder.0, "detach").unwrap();
    program.state().hold_arrival = true;
    std::thread::scope(|scope| {
        let attach = scope.spawn(|| request(&folder.0, "attach"));
        await_session(&folder.0, "arriving");
        first.kill();
        attach.join().unwrap().unwrap_err();
    });
    assert_eq!(program.bytes(), None);

    let second = Running::start(&folder.0, 1 << 20);
    await_session(&folder.0, "arriving");
    program.state().hold_arrival = false;
    await_session(&folder.0, "attached");
    assert_eq!(program.bytes(), Some(objects(1, 6)));
    assert_eq!(program.state().opened, 1);
    eventually("the image is dropped", || {
        status(&folder.0).is_some_and(|s| s["images"].as_array().unwrap().is_empty())
    });
    second.kill();
}

#[test]
fn as_many_files_may_be_open_as_the_kernel_allows() {
    let folder = Folder::new();
    let child = Command::new("sh")
        .args(["-c", "ulimit -S -n 64; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_xl-gpud"))
        .env_remove("XL_GPU_SOCKET")
        .arg("--run-dir")
        .arg(&folder.0)
        .arg("--loopback")
        .arg(folder.0.join("programs"))
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let daemon = Running(child);
    eventually("the daemon answers", || {
        ask(&folder.0, json!({"op": "status"})).is_ok()
    });
    let limits = std::fs::read_to_string(limits).unwrap();
    let files = limits.lines().find(|l| l.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(words[3], words[4], "{words:?}");
    daemon.kill();
}

/// What a daemon of format 1.0 left on record, contents in memory and the manifest on disk, is adopted and served.
#[test]
fn an_image_of_format_1_0_is_served() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_images/spool-1.0");
    let folder = Folder::new();
    let programs = folder.0.join("programs");
    let first = Running::start(&folder.0, 64 << 10);
    eventually("the socket is there", || programs.exists());
    let program = Program::start(&programs, 1, [(1, vec![0; 5000])].into());
    await_session(&folder.0, "attached");
    request(&folder.0, "detach").unwrap();
    first.kill();

    // The same image, with other contents.
    for dir in ["spool", "disk"] {
        for file in std::fs::read_dir(old.join(dir)).unwrap() {
            let file = file.unwrap();
            let replaced = folder.0.join(dir).join(file.file_name());
            assert!(replaced.exists(), "{replaced:?}");
            std::fs::copy(file.path(), replaced).unwrap();
        }
    }
    let second = Running::start(&folder.0, 64 << 10);
    await_session(&folder.0, "detached");
    request(&folder.0, "attach").unwrap();
    let written = (0..5000u64).map(|n| (n * n / 7 + n / 256 + 1) as u8);
    assert_eq!(program.bytes(), Some([(1, written.collect())].into()));
    second.kill();
}
