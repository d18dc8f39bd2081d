//! Saves as processes: a program that is linked with a libxenguest, named and started as libxl's helper is.

use host::save::{Missing, Plugin, Save, running};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A number that no other domain here has.
const DOMID: u32 = 4_000_000_000;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("xl-gpu-saves-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn compile(&self, name: &str, code: &str, arguments: &[&str]) {
        let source = self.0.join(format!("{name}.c"));
        std::fs::write(&source, code).unwrap();
        let cc = Command::new("cc")
            .current_dir(&self.0)
            .args(["-o", name])
            .arg(&source)
            .args(arguments)
            .status();
        assert!(cc.unwrap().success());
    }

    fn helper(&self, preload: &str) -> Child {
        Command::new(self.0.join("helper"))
            .arg0("/usr/lib/xen-4.17/bin/libxl-save-helper")
            .args(["--save-domain", "9", "-1", &DOMID.to_string(), "1"])
            .env("LD_PRELOAD", preload)
            .spawn()
            .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The save of this process, once it has its libraries.
fn found(child: &Child) -> Save {
    loop {
        let saves = running(Path::new("/proc"));
        let save = saves.into_iter().find(|save| {
            save.pid as u32 == child.id() && save.domid == DOMID && save.plugin != Plugin::Loading
        });
        match save {
            Some(save) => return save,
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_save_without_the_plugin_is_found_and_ended() {
    let folder = Folder::new();
    let shared = ["-shared", "-fPIC"];
    folder.compile("libxenguest.so.4.17", "int xc_domain_save;", &shared);
    folder.compile("libxl_gpu_plugin.so", "int plugin;", &shared);
    folder.compile(
        "helper",
        "#include <unistd.h>\nextern int xc_domain_save; int main(void) { pause(); return xc_domain_save; }",
        &["-l:libxenguest.so.4.17", "-L.", "-Wl,-rpath,$ORIGIN"],
    );

    let plugin = folder.0.join("libxl_gpu_plugin.so");
    let mut with = folder.helper(plugin.to_str().unwrap());
    let mut without = folder.helper("");
    assert_eq!(found(&with).plugin, Plugin::Works);
    let bare = found(&without);
    assert_eq!(bare.plugin, Plugin::Missing(Missing::NotLoaded));

    bare.end().unwrap();
    assert_eq!(without.wait().unwrap().signal(), Some(libc::SIGTERM));
    bare.end().unwrap(); // it has ended already
    // A process that is not what it was taken for is left alone.
    let mistaken = Save {
        pid: with.id() as i32,
        ..bare
    };
    mistaken.end().unwrap();
    assert_eq!(with.try_wait().unwrap(), None);
    with.kill().unwrap();
    with.wait().unwrap();
}
