//! CPU time and memory of other processes, read from `/proc`.

use std::fs;

use anyhow::Context as _;

/// One process whose cost is reported on a row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
}

impl Process {
    /// User and system time since the process started, its children not included. `None` once it is gone.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stat = Stat::read(self.pid)?;
        Some(stat.cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    pub(super) fn rss_mb(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        Some(parse_rss_bytes(&status)? as f64 / 1e6)
    }
}

/// The direct children of a process, by name and id.
pub(super) fn children(parent: u32) -> anyhow::Result<Vec<Process>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("list the processes in /proc")? {
        let name = entry.context("list the processes in /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|text| text.parse().ok()) else { continue };
        // A process may end between the listing and the reading.
        if let Some(stat) = Stat::read(pid).filter(|stat| stat.parent == parent) {
            children.push(Process { name: stat.command, pid });
        }
    }
    children.sort_unstable_by_key(|child| child.pid);
    Ok(children)
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    command: String,
    parent: u32,
    cpu_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The command stands in parentheses and may itself contain spaces and parentheses.
        let (left, right) = text.rsplit_once(')')?;
        let (_, command) = left.split_once('(')?;
        // proc(5) numbers the fields from 1; the first after the command is field 3, the state.
        let fields: Vec<&str> = right.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        let user: u64 = field(14)?.parse().ok()?;
        let system: u64 = field(15)?.parse().ok()?;
        Some(Self { command: command.into(), parent: field(4)?.parse().ok()?, cpu_ticks: user + system })
    }
}

/// The kernel prints kB and means 1024 bytes.
fn parse_rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const STAT: &str =
        "4242 (nats) server)) S 77 4242 4242 0 -1 4194560 9 8 7 6 120 30 500 600 20 0 9 0 1 2 3 4";

    #[test]
    fn stat_is_read_past_a_command_with_parentheses_and_without_children() {
        let expected = Stat { command: "nats) server)".into(), parent: 77, cpu_ticks: 150 };
        assert_eq!(Stat::parse(STAT), Some(expected));
    }

    #[test]
    fn damaged_stat_is_nothing() {
        for text in ["", "1 (a", "1 (a) S 1", "1 (a) S x 1 1 0 -1 0 0 0 0 0 1 1"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            parse_rss_bytes("VmHWM:\t  99 kB\nVmRSS:\t    2048 kB\nRssAnon:\t 1 kB\n"),
            Some(2 * 1024 * 1024)
        );
        assert_eq!(parse_rss_bytes("VmHWM:\t  99 kB\n"), None);
        assert_eq!(parse_rss_bytes("VmRSS:\t many kB\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let own = Process { name: "test".into(), pid: std::process::id() };
        assert!(own.rss_mb().unwrap() > 0.1);
        assert!(own.cpu_seconds().is_some());
    }

    #[test]
    fn a_child_is_found_by_its_parent_and_costs_nothing_once_gone() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let found = children(std::process::id()).unwrap();
        let cat = found.into_iter().find(|process| process.pid == child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((cat.cpu_seconds(), cat.rss_mb()), (None, None));
    }
}
