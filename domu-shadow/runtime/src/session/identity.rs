//! Who this process is, for dom0 and for other sessions of the same guest.

use channel::image::SessionId;
use std::io::{self, Read};

/// Names that stay the same over every move.
pub(super) struct Identity {
    pub session: SessionId,
    pub pid: u32,
    pub program: String,
    /// Tells this process from a later one with its pid, and from one of another pid namespace.
    pub instance: Instance,
}

/// A process, named so that a stranger in the same guest can tell whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    namespace: String,
    pid: u32,
    start: u64,
}

impl Identity {
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let pid = std::process::id();
        let program = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        let start =
            start_time(pid).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))?;
        let instance = Instance {
            namespace: namespace()?,
            pid,
            start,
        };
        Ok(Identity {
            session: SessionId(random),
            pid,
            program: program.trim_end().to_owned(),
            instance,
        })
    }
}

impl Instance {
    /// As it stands in XenStore: `<pid namespace> <pid> <start time, clock ticks since boot>`.
    pub(super) fn to_text(&self) -> String {
        format!("{} {} {}", self.namespace, self.pid, self.start)
    }

    pub(super) fn parse(text: &str) -> Option<Instance> {
        let mut words = text.split(' ');
        let instance = Instance {
            namespace: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(instance)
    }

    /// True where the process is certainly gone: of our pid namespace, and no such process runs in it.
    pub(super) fn is_dead(&self) -> bool {
        namespace().is_ok_and(|ours| ours == self.namespace)
            && start_time(self.pid) != Some(self.start)
    }
}

fn namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?
        .to_string_lossy()
        .into_owned())
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); the program's name before it may hold spaces and brackets.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_not_dead_and_a_finished_one_is() {
        let ours = Identity::new().unwrap().instance;
        assert_eq!(Instance::parse(&ours.to_text()), Some(ours.clone()));
        assert!(!ours.is_dead());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let theirs = Instance {
            pid: child.id(),
            start: start_time(child.id()).unwrap(),
            ..ours.clone()
        };
        assert!(!theirs.is_dead());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(theirs.is_dead());
        let elsewhere = Instance {
            namespace: "pid:[1]".into(),
            ..theirs
        };
        assert!(
            !elsewhere.is_dead(),
            "nothing is known of another namespace"
        );
    }

    #[test]
    fn nonsense_is_no_instance() {
        for text in ["", "a", "a b c", "a 1", "a 1 2 3", "a -1 2"] {
            assert_eq!(Instance::parse(text), None, "{text:?}");
        }
    }
}
