//! Real clients written in Python.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::installed::{self, clients, run};

/// A Python that can import what was installed for it.
#[derive(Clone, Debug)]
pub struct Python {
    pub(super) interpreter: PathBuf,
    /// Where packages lie if the interpreter does not find them by itself.
    packages: Option<PathBuf>,
}

impl Python {
    /// Finds the Python of this machine and installs the clients if that has not been done.
    pub async fn ready() -> Self {
        installed::ready(|| install(&clients().join("requirements.txt"))).await
    }

    /// Runs a script of `tests/clients` to its end. Fails with everything it printed if it fails or hangs.
    pub async fn run(&self, script: &str, environment: &[(&str, String)]) {
        let mut environment = environment.to_vec();
        environment.push(("PYTHONUNBUFFERED", "1".to_owned()));
        environment.push(("PYTHONDONTWRITEBYTECODE", "1".to_owned()));
        environment.extend(self.path());
        installed::script(&self.interpreter, &clients().join(script), &environment).await;
    }

    /// The environment variable that leads to the packages.
    fn path(&self) -> Option<(&'static str, String)> {
        self.packages.as_ref().map(|packages| ("PYTHONPATH", packages.display().to_string()))
    }

    /// Where a package was installed.
    pub(super) fn place_of(&self, package: &str) -> Result<PathBuf, String> {
        let code = "import sys; sys.path[:0] = sys.argv[2:]; import importlib.util as u; \
                    print(u.find_spec(sys.argv[1]).submodule_search_locations[0])";
        let packages = self.packages.iter().map(|path| path.as_os_str());
        let arguments = [OsStr::new("-c"), code.as_ref(), package.as_ref()].into_iter().chain(packages);
        run(&self.interpreter, arguments, None).map(|place| PathBuf::from(place.trim()))
    }
}

/// Installs what `requirements` lists, once.
pub(super) fn install(requirements: &Path) -> Result<Python, String> {
    let code = "import sys, sysconfig; print(sys.version, sysconfig.get_platform(), sys.prefix)";
    let identity = run("python3", ["-c", code], None).map_err(|why| {
        format!("python3 with pip is needed ({why}); install it, for example `apt install python3-pip`")
    })?;
    let identity = [installed::read(requirements)?, identity.into_bytes()].concat();
    let (place, how) = installed::once("python", &identity, |place| into(place, requirements))?;
    Ok(installed_in(place, &how))
}

/// Installs what `requirements` lists into a folder of the caller's, and runs a script with it to its end.
pub(super) fn run_with(
    place: PathBuf,
    requirements: &Path,
    script: &Path,
    argument: &Path,
) -> Result<String, String> {
    let how = into(&place, requirements)?;
    let python = installed_in(place, &how);
    let path = python.path().map(|(name, value)| format!("{name}={value}"));
    let arguments = path.iter().map(OsStr::new).chain([python.interpreter.as_os_str()]);
    run("env", arguments.chain([script.as_os_str(), argument.as_os_str()]), None)
}

fn installed_in(place: PathBuf, how: &str) -> Python {
    if how == "target" {
        return Python { interpreter: "python3".into(), packages: Some(place) };
    }
    Python { interpreter: place.join("bin/python3"), packages: None }
}

/// Requirements list everything with hashes, so pip resolves nothing.
fn into(place: &Path, requirements: &Path) -> Result<String, String> {
    let Err(first) = into_venv(place, requirements) else { return Ok("venv".to_owned()) };
    let _ = std::fs::remove_dir_all(place);
    into_target(place, requirements).map(|()| "target".to_owned()).map_err(|second| {
        format!("pip could not install the clients.\nIn a venv: {first}\nInto a folder: {second}")
    })
}

fn into_venv(place: &Path, requirements: &Path) -> Result<(), String> {
    run("python3", ["-m".as_ref(), "venv".as_ref(), place.as_os_str()], None)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r"].map(OsStr::new);
    run(place.join("bin/python3"), pip.into_iter().chain([requirements.as_os_str()]), None).map(drop)
}

/// For a Python without the `venv` module: distributions ship it apart.
fn into_target(place: &Path, requirements: &Path) -> Result<(), String> {
    let pip =
        ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"].map(OsStr::new);
    let rest = [place.as_os_str(), "-r".as_ref(), requirements.as_os_str()];
    run("python3", pip.into_iter().chain(rest), None).map(drop)
}
