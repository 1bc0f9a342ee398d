//! The library that runs embedding models, libonnxruntime: found on this machine, or fetched once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use crate::broker::cache_dir;
use crate::fetch::Pinned;

const VERSION: &str = "1.31.1";

/// The setting that names the library.
const SETTING: &str = "cache.embedder.library";

/// The environment variable that names the library for other programs as well.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Hashes of the wheels for Linux (x86-64, ARM) and macOS (ARM). They are those for CPython 3.11: the library in them
/// does not depend on Python, so one version of it serves all.
const REQUIREMENT: &str = "onnxruntime==1.31.1 \
    --hash=sha256:5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f \
    --hash=sha256:da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3 \
    --hash=sha256:60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7\n";

/// A machine that there is a wheel for.
struct Machine {
    /// Arguments of pip that choose the wheel, whatever this python3 is.
    choice: &'static [&'static str],
    /// The library's name in the wheel and in the cache.
    file: &'static str,
    /// The name that installations give it.
    plain: &'static str,
}

const LINUX: &str = "libonnxruntime.so.1.31.1";

const MACHINES: &[(&str, &str, Machine)] = &[
    (
        "linux",
        "x86_64",
        Machine {
            choice: &["--python-version=3.11", "--platform=manylinux_2_28_x86_64"],
            file: LINUX,
            plain: "libonnxruntime.so",
        },
    ),
    (
        "linux",
        "aarch64",
        Machine {
            choice: &["--python-version=3.11", "--platform=manylinux_2_28_aarch64"],
            file: LINUX,
            plain: "libonnxruntime.so",
        },
    ),
    (
        "macos",
        "aarch64",
        Machine {
            choice: &["--python-version=3.11", "--platform=macosx_14_0_arm64"],
            file: "libonnxruntime.1.31.1.dylib",
            plain: "libonnxruntime.dylib",
        },
    ),
];

/// The library to load: the configured one, else the one that `ORT_DYLIB_PATH` names, else one beside this program,
/// else a fetched one. Takes as long as a download takes. Whether it can be loaded is not looked at.
pub fn locate(configured: Option<&Path>, env: &BTreeMap<String, String>) -> anyhow::Result<PathBuf> {
    let variable = env.get(VARIABLE).filter(|value| !value.is_empty()).map(Path::new);
    let program = std::env::current_exe().ok();
    if let Some(found) = find(configured, variable, program.as_deref().and_then(Path::parent))? {
        return Ok(found);
    }
    let libc = if cfg!(target_env = "musl") { "musl" } else { "" };
    let pinned = pinned(std::env::consts::OS, std::env::consts::ARCH, libc)?;
    // The wheel was checked when it was fetched, and loading the library tells its version.
    pinned.fetched(&cache_dir(env), Path::is_file)
}

/// The library on this machine, if one was named or lies in `folder`.
fn find(
    configured: Option<&Path>,
    variable: Option<&Path>,
    folder: Option<&Path>,
) -> anyhow::Result<Option<PathBuf>> {
    for (named, by) in [(configured, SETTING), (variable, VARIABLE)] {
        if let Some(path) = named {
            ensure!(path.is_file(), "there is no libonnxruntime at {}: correct {by}", path.display());
            return Ok(Some(path.to_owned()));
        }
    }
    let names = MACHINES.iter().flat_map(|(_, _, machine)| [machine.plain, machine.file]);
    let beside = folder.and_then(|folder| names.map(|name| folder.join(name)).find(|path| path.is_file()));
    Ok(beside)
}

/// What to fetch for a machine; `libc` is empty where it is the usual one.
fn pinned(os: &str, arch: &str, libc: &str) -> anyhow::Result<Pinned> {
    let instead = format!(
        "download ONNX Runtime 1.24 or newer (https://github.com/microsoft/onnxruntime/releases) and name its \
         library in {SETTING} or {VARIABLE}, or set an embeddings endpoint"
    );
    if libc == "musl" {
        bail!(
            "a program built for musl cannot load libonnxruntime: use a build for glibc, or set an embeddings \
             endpoint"
        );
    }
    let machine = MACHINES.iter().find(|(its_os, its_arch, _)| (*its_os, *its_arch) == (os, arch));
    let Some((_, _, machine)) = machine else {
        bail!("there is no libonnxruntime {VERSION} to fetch for {os} on {arch}; {instead}");
    };
    Ok(Pinned {
        name: "onnxruntime",
        version: VERSION,
        requirement: REQUIREMENT,
        choice: machine.choice,
        inside: format!("onnxruntime/capi/{}", machine.file),
        file: machine.file,
        instead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_was_named_has_to_exist_and_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let found = |configured: Option<&str>, variable: Option<&str>| {
            let (configured, variable) = (configured.map(path), variable.map(path));
            find(configured.as_deref(), variable.as_deref(), Some(dir.path())).map_err(|err| err.to_string())
        };
        assert_eq!(found(None, None), Ok(None));
        let missing = |by| format!("there is no libonnxruntime at {}: correct {by}", path("a").display());
        assert_eq!(found(Some("a"), None), Err(missing("cache.embedder.library")));
        assert_eq!(found(None, Some("a")), Err(missing("ORT_DYLIB_PATH")));
        for name in ["a", "b", "libonnxruntime.so"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(found(Some("a"), Some("b")), Ok(Some(path("a"))));
        assert_eq!(found(None, Some("b")), Ok(Some(path("b"))));
        assert_eq!(found(None, None), Ok(Some(path("libonnxruntime.so"))));
    }

    #[test]
    fn one_version_is_pinned_for_every_machine_that_has_one() {
        assert!(REQUIREMENT.starts_with(&format!("onnxruntime=={VERSION} --hash=sha256:")));
        assert_eq!(REQUIREMENT.matches("--hash=sha256:").count(), MACHINES.len());
        for (os, arch, machine) in MACHINES {
            let pinned = pinned(os, arch, "").unwrap();
            assert!(pinned.file.contains(VERSION) && pinned.inside.ends_with(machine.file));
        }
        let error = |os, arch, libc| pinned(os, arch, libc).err().unwrap().to_string();
        let intel_mac = error("macos", "x86_64", "");
        assert!(
            intel_mac
                .starts_with("there is no libonnxruntime 1.31.1 to fetch for macos on x86_64; download ONNX"),
            "{intel_mac}"
        );
        assert!(error("linux", "x86_64", "musl").contains("built for musl"));
    }

    #[test]
    fn the_library_is_fetched_once() {
        let cache = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("XDG_CACHE_HOME".to_owned(), cache.path().display().to_string())]);
        let first = locate(None, &env).unwrap();
        let bytes = std::fs::read(&first).unwrap();
        assert!(bytes.len() > 20_000_000 && first.starts_with(cache.path()), "{}", first.display());
        let changed = || std::fs::metadata(&first).unwrap().modified().unwrap();
        let before = changed();
        assert_eq!((locate(None, &env).unwrap(), changed()), (first.clone(), before));
    }
}
