//! What real clients share: they are installed once per machine into the cache folder and run as processes.

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
pub(super) fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Waits for an installation on a thread of its own. Fails loudly: a test without its client proves nothing.
pub(super) async fn ready<T: Send + 'static>(install: fn() -> Result<T, String>) -> T {
    let installed = tokio::task::spawn_blocking(install).await.expect("the installation does not panic");
    installed.unwrap_or_else(|problem| {
        eprintln!("\n*** REAL CLIENTS NOT TESTED: {problem}\n");
        panic!("{problem}");
    })
}

/// Installs something into a folder that is named by `kind` and by everything that `identity` says of it. Returns the
/// folder and what `install` told of it.
///
/// Several tests and test processes may come at once: one installs, the others wait for it.
pub(super) fn once(
    kind: &str,
    identity: &[u8],
    install: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<(PathBuf, String), String> {
    let name: String = Sha256::digest(identity).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let cache = cache();
    std::fs::create_dir_all(&cache).map_err(|err| format!("create {}: {err}", cache.display()))?;
    let place = cache.join(format!("{kind}-{name}"));
    let _alone = lock(&cache.join(format!("{kind}-{name}.lock")))?;
    // Written last, so a folder without it is one that was never finished.
    let done = place.join("installed");
    if let Ok(told) = std::fs::read_to_string(&done) {
        return Ok((place, told));
    }
    let _ = std::fs::remove_dir_all(&place);
    let told = install(&place)?;
    std::fs::write(&done, &told).map_err(|err| format!("write {}: {err}", done.display()))?;
    Ok((place, told))
}

/// Runs a script of a client to its end. Fails with everything it printed if it fails or hangs.
pub(super) async fn script(interpreter: &Path, script: &Path, environment: &[(&str, String)]) {
    let mut command = tokio::process::Command::new(interpreter);
    // Proxies of the machine are not for the loopback, and nobody waits for a prompt.
    command.arg(script).stdin(Stdio::null()).kill_on_drop(true).env("NO_PROXY", "*").env("no_proxy", "*");
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let script = script.display();
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{script} did not end within {PATIENCE:?}"));
    let output = output.unwrap_or_else(|err| panic!("start {}: {err}", interpreter.display()));
    assert!(output.status.success(), "{script} failed with {}:\n{}", output.status, printed(&output));
}

/// Runs a tool to its end in a folder; returns what it printed.
pub(super) fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
    folder: Option<&Path>,
) -> Result<String, String> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
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

/// The text of a file that says what to install.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|err| format!("read {}: {err}", path.display()))
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
