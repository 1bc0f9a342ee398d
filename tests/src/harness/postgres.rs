//! A PostgreSQL of our own, for as long as the test process lives. Used by the unit tests of `cost-accounting` as well.

use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// PostgreSQL refuses to run as root; this is `nobody` wherever it matters.
const NOBODY: u32 = 65_534;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It stops when this is dropped, or when its process ends in whatever way.
#[derive(Debug)]
pub struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
    guard: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts a server that listens on a socket in a folder of its own.
    ///
    /// Panics if there is no PostgreSQL: a test without its database proves nothing.
    pub fn start() -> Self {
        let bin = find();
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").expect("a folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
            .expect("open the folder");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("a folder for data");
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("close the folder");
        if is_root() {
            for path in [dir.path(), &data] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("give the folder away");
            }
        }
        let made = as_somebody(Command::new(bin.join("initdb")), dir.path())
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("run initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { dir, bin, guard: None };
        server.resume();
        server
    }

    /// The URL of a database, which is made if need be.
    pub fn database(&self, name: &str) -> String {
        let sql = format!("CREATE DATABASE {name}");
        let socket = self.dir.path().display().to_string();
        let single = as_somebody(Command::new(client()), self.dir.path())
            .args(["-h", &socket, "-U", "postgres", "-d", "postgres", "-qc", &sql])
            .output()
            .expect("run psql");
        let told = String::from_utf8_lossy(&single.stderr).into_owned();
        assert!(single.status.success() || told.contains("already exists"), "psql: {told}");
        format!("postgres://postgres@localhost/{name}?host={socket}&sslmode=disable")
    }

    /// Stops the server at once, as a failure would. What was committed stays.
    pub fn pause(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // The guard ends its server when nobody holds its input any more.
            drop(guard.stdin.take());
            guard.wait().expect("wait for the server");
        }
    }

    /// Starts the server again.
    pub fn resume(&mut self) {
        // The shell outlives a killed test process for as long as it takes to stop the server.
        let script = r#""$1" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=200 >"$2/log" 2>&1 &
            server=$!; cat >/dev/null; kill -QUIT $server; wait $server"#;
        let mut command = as_somebody(Command::new("/bin/sh"), self.dir.path());
        command.args(["-c", script, "postgres"]).arg(self.bin.join("postgres")).arg(self.dir.path());
        let guard = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.guard = Some(guard.expect("start postgres"));
        let until = Instant::now() + PATIENCE;
        while !self.log().contains("ready to accept connections") {
            assert!(Instant::now() < until, "postgres did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(self.dir.path().join("log")) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.pause();
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("a process")) == 0
}

fn as_somebody(mut command: Command, dir: &Path) -> Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir(dir);
    command
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder with `initdb` and `postgres`: on the path, or where Debian puts it.
fn find() -> PathBuf {
    if let Some(file) = on_path("initdb") {
        let file = std::fs::canonicalize(file).expect("initdb is there");
        return file.parent().expect("initdb lies in a folder").to_owned();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").is_file());
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!(
            "no PostgreSQL found (initdb is neither on PATH nor below /usr/lib/postgresql): \
             install it, for example `apt install postgresql`"
        )
    })
}

fn client() -> PathBuf {
    let beside = find().join("psql");
    if beside.is_file() { beside } else { on_path("psql").expect("psql comes with PostgreSQL") }
}
