//! What our nats-server is told.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::broker::locate::version_of;
use crate::broker::version::Version;
use crate::datadir::DataDir;
use crate::settings::SyncInterval;

/// How our nats-server is started.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// The program.
    pub binary: PathBuf,
    /// Where its data, log and notes live.
    pub dir: PathBuf,
    /// Its port; 0: the one it had before if that is free, else any.
    pub port: u16,
    /// Bytes that streams may take on disk.
    pub max_store: u64,
    /// How often it flushes to disk.
    pub sync_interval: SyncInterval,
}

const TEMPLATE: &str = include_str!("../../../../nats/server.conf.tmpl");

/// Streams say themselves how many consumers they may have, but not all are ours; older servers have no such limit.
const LIMITS: &str = "limits { default_max_consumers: 10000 }";
const LIMITS_SINCE: Version = Version { major: 2, minor: 15, patch: 0 };

/// Files in the broker's directory. The server writes its data beside them, to `jetstream`.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
}

impl Files {
    /// Takes the directory: else a second supervisor would end the first one's server as left behind.
    pub(super) fn open(dir: &Path) -> anyhow::Result<(DataDir, Self)> {
        let lock = DataDir::open(dir)?;
        // An absolute path tells our server from others in the list of processes.
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        Ok((lock, Self { dir }))
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("nats-server.conf")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.dir.join("nats-server.pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("nats-server.log")
    }

    /// What it says before it has a log.
    pub(super) fn output(&self) -> PathBuf {
        self.dir.join("nats-server.out")
    }

    fn port(&self) -> PathBuf {
        self.dir.join("port")
    }

    /// The server names it after itself and its pid.
    pub(super) fn ports(&self, binary: &Path, pid: u32) -> PathBuf {
        let name = binary.file_name().unwrap_or_default().to_string_lossy();
        self.dir.join(format!("{name}_{pid}.ports"))
    }

    /// A server that was killed leaves its note behind, and pids come again.
    pub(super) fn forget_ports(&self) -> anyhow::Result<()> {
        let entries = std::fs::read_dir(&self.dir).with_context(|| format!("list {}", self.dir.display()))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "ports") {
                std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    pub(super) fn remembered_port(&self) -> Option<u16> {
        std::fs::read_to_string(self.port()).ok()?.trim().parse().ok()
    }

    pub(super) fn remember_port(&self, port: u16) -> anyhow::Result<()> {
        let path = self.port();
        std::fs::write(&path, format!("{port}\n")).with_context(|| format!("write {}", path.display()))
    }

    /// Writes what the server is told; port 0 lets it choose.
    pub(super) fn write_config(&self, options: &BrokerOptions, port: u16) -> anyhow::Result<()> {
        let version = version_of(&options.binary)?
            .with_context(|| format!("there is no nats-server at {}", options.binary.display()))?;
        let path = self.config();
        std::fs::write(&path, render(&self.dir, options, port, version))
            .with_context(|| format!("write {}", path.display()))
    }
}

fn render(dir: &Path, options: &BrokerOptions, port: u16, version: Version) -> String {
    let sync_interval = match &options.sync_interval {
        SyncInterval::Always => "always".to_owned(),
        // The server does not know days.
        SyncInterval::Every(interval) => format!("\"{}ms\"", interval.as_millis()),
    };
    let port = if port == 0 { "-1".to_owned() } else { port.to_string() };
    let dir = dir.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    TEMPLATE
        .replace("{port}", &port)
        .replace("{max_store}", &options.max_store.to_string())
        .replace("{sync_interval}", &sync_interval)
        .replace("{limits}", if version >= LIMITS_SINCE { LIMITS } else { "" })
        .replace("{dir}", &dir)
}

/// Whether a server could listen there now.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_left_open_in_the_template() {
        let options = BrokerOptions {
            binary: PathBuf::from("nats-server"),
            dir: PathBuf::new(),
            port: 0,
            max_store: 1 << 30,
            sync_interval: SyncInterval::Every(Duration::from_secs(120)),
        };
        let version = |minor| Version { major: 2, minor, patch: 0 };
        let new = render(Path::new("/a \"b\""), &options, 0, version(15));
        assert!(new.contains("port: -1\n") && new.contains("store_dir: \"/a \\\"b\\\"\"\n"), "{new}");
        assert!(
            new.contains("max_file_store: 1073741824\n") && new.contains("sync_interval: \"120000ms\"\n"),
            "{new}"
        );
        assert!(new.contains("default_max_consumers: 10000"), "{new}");
        let old = render(
            Path::new("/a"),
            &BrokerOptions { sync_interval: SyncInterval::Always, ..options },
            1,
            version(14),
        );
        assert!(old.contains("port: 1\n") && old.contains("sync_interval: always\n"), "{old}");
        assert!(!old.contains("default_max_consumers"), "{old}");
        for text in [new, old] {
            let open: Vec<&str> =
                ["{port}", "{dir}", "{limits}"].into_iter().filter(|hole| text.contains(hole)).collect();
            assert!(open.is_empty(), "{open:?} in {text}");
        }
    }
}
