//! Real clients written in Python: installed once per machine into the cache folder, run as processes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// How long a script may take; it is stopped then.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the scripts lie, and what they need.
fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A Python that can import the clients.
#[derive(Clone, Debug)]
pub struct Python {
    interpreter: PathBuf,
    /// Where packages lie if the interpreter does not find them by itself.
    packages: Option<PathBuf>,
}

impl Python {
    /// Finds the Python of this machine and installs the clients if that has not been done.
    ///
    /// Several tests and test processes may come at once: one installs, the others wait for it.
    pub async fn ready() -> Self {
        let ready = tokio::task::spawn_blocking(|| install(&clients().join("requirements.txt")));
        match ready.await.expect("the installation does not panic") {
            Ok(python) => python,
            Err(problem) => {
                eprintln!("\n*** REAL CLIENTS NOT TESTED: {problem}\n");
                panic!("{problem}");
            }
        }
    }

    /// Runs a script of `tests/clients` to its end. Fails with everything it printed if it fails or hangs.
    pub async fn run(&self, script: &str, environment: &[(&str, String)]) {
        let mut command = tokio::process::Command::new(&self.interpreter);
        command.arg("-B").arg(clients().join(script)).stdin(Stdio::null()).kill_on_drop(true);
        // Proxies of the machine are not for the loopback, and nobody waits for a prompt.
        command.env("NO_PROXY", "*").env("no_proxy", "*").env("PYTHONUNBUFFERED", "1");
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{script} did not end within {PATIENCE:?}"));
        let output = output.unwrap_or_else(|err| panic!("start {}: {err}", self.interpreter.display()));
        assert!(output.status.success(), "{script} failed with {}:\n{}", output.status, printed(&output));
    }
}

/// Installs what `requirements` lists, once.
fn install(requirements: &Path) -> Result<Python, String> {
    let identity = run(
        "python3",
        ["-c", "import sys, sysconfig; print(sys.version, sysconfig.get_platform(), sys.prefix)"],
    )
    .map_err(|why| {
        format!("python3 with pip is needed ({why}); install it, for example `apt install python3-pip`")
    })?;
    let text =
        std::fs::read(requirements).map_err(|err| format!("read {}: {err}", requirements.display()))?;
    let digest = Sha256::digest([&text, identity.as_bytes()].concat());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = cache();
    std::fs::create_dir_all(&cache).map_err(|err| format!("create {}: {err}", cache.display()))?;
    let place = cache.join(format!("python-{name}"));
    let _alone = lock(&cache.join(format!("python-{name}.lock")))?;
    // Written last, so a folder without it is one that was never finished.
    let done = place.join("installed");
    if let Ok(how) = std::fs::read_to_string(&done) {
        return Ok(python(&place, how == "target"));
    }
    let _ = std::fs::remove_dir_all(&place);
    let how = match into_venv(&place, requirements) {
        Ok(()) => "venv",
        Err(first) => {
            let _ = std::fs::remove_dir_all(&place);
            into_target(&place, requirements).map_err(|second| {
                format!("pip could not install the clients.\nIn a venv: {first}\nInto a folder: {second}")
            })?;
            "target"
        }
    };
    std::fs::write(&done, how).map_err(|err| format!("write {}: {err}", done.display()))?;
    Ok(python(&place, how == "target"))
}

fn python(place: &Path, target: bool) -> Python {
    if target {
        return Python { interpreter: "python3".into(), packages: Some(place.to_owned()) };
    }
    Python { interpreter: place.join("bin/python3"), packages: None }
}

fn into_venv(place: &Path, requirements: &Path) -> Result<(), String> {
    run("python3", ["-m".as_ref(), "venv".as_ref(), place.as_os_str()])?;
    let pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r"].map(OsStr::new);
    run(place.join("bin/python3"), pip.into_iter().chain([requirements.as_os_str()])).map(drop)
}

/// For a Python without the `venv` module: distributions ship it apart.
fn into_target(place: &Path, requirements: &Path) -> Result<(), String> {
    let pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "--target"].map(OsStr::new);
    let rest = [place.as_os_str(), "-r".as_ref(), requirements.as_os_str()];
    run("python3", pip.into_iter().chain(rest)).map(drop)
}

fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // A user's own habits must not lead elsewhere.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let output = command.output().map_err(|err| format!("start {}: {err}", program.display()))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let line = format!("{} {}", program.display(), arguments.join(" "));
        return Err(format!("`{line}` failed with {}:\n{}", output.status, printed(&output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until no other process installs; the lock ends with the file.
fn lock(path: &Path) -> Result<File, String> {
    let lock = || {
        let file = File::create(path)?;
        file.lock()?;
        Ok::<File, std::io::Error>(file)
    };
    lock().map_err(|err| format!("lock {}: {err}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "a test finds its tools by the environment")]
fn cache() -> PathBuf {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    pointsman::broker::cache_dir(&env)
}
