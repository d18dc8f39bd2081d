//! A process, named so that a stranger in the same guest can tell whether it still runs.

use std::io;

/// Pid namespace, pid and start time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    namespace: String,
    pid: u32,
    start: u64,
}

impl Instance {
    /// Process `pid`, as this process's own pid namespace numbers it.
    ///
    /// # Errors
    /// `NotFound` where there is no such process, or its `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Instance> {
        let start = start_time(pid).ok_or_else(|| {
            let what = format!("/proc/{pid}/stat cannot be read");
            io::Error::new(io::ErrorKind::NotFound, what)
        })?;
        Ok(Instance {
            namespace: namespace()?,
            pid,
            start,
        })
    }

    /// The process's number in its namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// As it stands in XenStore: `<pid namespace> <pid> <start time, clock ticks since boot>`.
    pub fn to_text(&self) -> String {
        format!("{} {} {}", self.namespace, self.pid, self.start)
    }

    /// The reverse; `None` for nonsense.
    pub fn parse(text: &str) -> Option<Instance> {
        let mut words = text.split(' ');
        let instance = Instance {
            namespace: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(instance)
    }

    /// True where the process is certainly gone: of our pid namespace, and no such process runs in it.
    pub fn is_dead(&self) -> bool {
        let is_ours = namespace().is_ok_and(|ours| ours == self.namespace);
        is_ours
            && match start_time(self.pid) {
                Some(start) => start != self.start,
                // `/proc` may be hidden from us (hidepid): no proof.
                None => is_free(self.pid),
            }
    }
}

/// Whether no process has the number.
fn is_free(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let answer = pid.map(rustix::process::test_kill_process);
    answer == Some(Err(rustix::io::Errno::SRCH))
}

fn namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?
        .to_string_lossy()
        .into_owned())
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); the program's name before it may hold spaces and brackets.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
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
        let ours = Instance::of(std::process::id()).unwrap();
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
