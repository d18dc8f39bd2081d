//! Environment variables that choose what code runs, or whom the program tells its contents.
//!
//! A program that gains rights by being started (setuid, file capabilities) has the environment of a user without them. The linker finds
//! this library for such a program, too, and takes no word of its user's; nor do we.

use std::ffi::OsString;

/// The variable's value; `None` in a program that has gained rights.
pub fn var_os(name: &str) -> Option<OsString> {
    // SAFETY: getauxval(3) reads what the kernel gave the process, and has no precondition.
    let has_gained = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if has_gained {
        None
    } else {
        std::env::var_os(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const NAME: &str = "XL_GPU_TRUSTED_ENV_TEST";

    fn told(command: &mut Command) -> String {
        let role = [
            "--exact",
            "trusted_env::tests::role",
            "--ignored",
            "--nocapture",
        ];
        let output = command.args(role).env(NAME, "here").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_program_that_gains_rights_has_none() {
        let own = std::env::current_exe().unwrap();
        assert!(told(&mut Command::new(&own)).contains("says here"));
        // SAFETY: plain call.
        if unsafe { libc::geteuid() } != 0 {
            return eprintln!("left out: only root can make a program that gains rights");
        }
        let program = std::env::temp_dir().join(format!("xl-gpu-setuid-{}", std::process::id()));
        std::fs::copy(&own, &program).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
        let said = told(Command::new(&program).uid(65534).gid(65534));
        std::fs::remove_file(&program).unwrap();
        match said.contains("gained true") {
            true => assert!(said.contains("says nothing"), "{said}"),
            false => eprintln!("left out: {} gives no rights: {said}", program.display()),
        }
    }

    #[test]
    #[ignore = "the role of another process, which the other test starts"]
    fn role() {
        // SAFETY: plain call.
        let gained = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
        let value = var_os(NAME).unwrap_or_else(|| "nothing".into());
        println!("gained {gained}, says {}", value.display());
    }
}
