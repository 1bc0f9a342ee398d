//! `pointsman` processes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Raw};
use serde_json::Value;

/// Signals that tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Dies at once.
    Kill,
    /// Drains and exits.
    Term,
    /// Freezes.
    Stop,
    /// Wakes up.
    Continue,
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: Signal) {
    let raw = match signal {
        Signal::Kill => Raw::KILL,
        Signal::Term => Raw::TERM,
        Signal::Stop => Raw::STOP,
        Signal::Continue => Raw::CONT,
    };
    if let Some(pid) = Pid::from_raw(i32::try_from(pid).expect("a pid fits")) {
        // The process may be gone already.
        let _ = rustix::process::kill_process(pid, raw);
    }
}

/// A `pointsman` process that has said that it is ready.
pub struct Pointsman {
    child: Child,
    ready: Value,
    log: PathBuf,
}

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Start {
    binary: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    log: PathBuf,
}

impl Start {
    /// A start of the binary under test (`env!("CARGO_BIN_EXE_pointsman-under-test")`); its log goes into `dir`.
    pub fn new(binary: &str, dir: &Path, arguments: &[&str]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = arguments.first().copied().unwrap_or("pointsman");
        Self {
            binary: binary.into(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment: BTreeMap::new(),
            log: dir.join(format!("{number}-{name}.log")),
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With a setting, as `--set key=value`.
    #[must_use]
    pub fn set(self, key: &str, value: &str) -> Self {
        self.arg("--set").arg(format!("{key}={value}"))
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn command(&self) -> Command {
        let log = std::fs::File::create(&self.log).expect("create the log");
        let mut command = Command::new(&self.binary);
        command
            .args(&self.arguments)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// Starts it and waits for the ready line (`--json` is added).
    #[track_caller]
    pub fn ready(self) -> Pointsman {
        let start = self.arg("--json");
        let mut child = start.command().spawn().expect("start pointsman");
        let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("read the ready line");
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            panic!("no ready line but `{line}` from {:?}; log:\n{}", start.arguments, read(&start.log));
        };
        // Whatever else is printed must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Pointsman { child, ready, log: start.log }
    }

    /// Runs it to its end.
    pub fn finish(self) -> Finished {
        let mut child = self.command().spawn().expect("start pointsman");
        let mut stdout = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("read standard output");
        let status = child.wait().expect("wait for pointsman");
        Finished { status, stdout, stderr: read(&self.log) }
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Finished {
    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|err| panic!("{err}: `{}`\n{}", self.stdout, self.stderr))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

impl Pointsman {
    fn url(&self, what: &str) -> String {
        let text = self.ready[what].as_str();
        text.unwrap_or_else(|| panic!("the ready line has no `{what}`: {}", self.ready)).to_owned()
    }

    /// Base URL of the HTTP API, without `/v1`.
    pub fn http(&self) -> String {
        self.url("http")
    }

    /// The broker.
    pub fn nats(&self) -> String {
        self.url("nats")
    }

    /// Base URL of the mock provider, with `/v1`.
    pub fn mock(&self) -> String {
        self.url("mock")
    }

    /// The ready line.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Kills it at once.
    pub fn kill(mut self) {
        self.signal(Signal::Kill);
        let _ = self.child.wait();
    }

    /// Asks it to drain and waits until it has ended.
    #[track_caller]
    pub fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait(patience)
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for pointsman") {
                return status;
            }
            assert!(Instant::now() < until, "did not end within {patience:?}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Pointsman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {} (pid {})", self.log.display(), self.pid());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        if self.child.try_wait().ok().flatten().is_none() {
            // A supervised broker must not outlive the test, so it is asked first; a second signal ends a drain
            // that waits for a provider that hangs.
            self.signal(Signal::Continue);
            for patience in [5, 15] {
                if self.child.try_wait().ok().flatten().is_some() {
                    break;
                }
                self.signal(Signal::Term);
                let until = Instant::now() + Duration::from_secs(patience);
                while Instant::now() < until && self.child.try_wait().ok().flatten().is_none() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
