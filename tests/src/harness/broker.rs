//! A nats-server of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Signal, signal};

/// A nats-server on a free port with its own store. It can be killed and started again on the same port.
pub struct Broker {
    child: Child,
    binary: PathBuf,
    dir: PathBuf,
    port: u16,
    options: String,
}

/// Where nats-server is: on PATH if recent enough, else fetched into the cache.
pub fn nats_server() -> PathBuf {
    let env = std::env::vars().collect();
    pointsman::broker::locate(None, &pointsman::broker::cache_dir(&env)).expect("find or fetch nats-server")
}

impl Broker {
    /// Starts one; `dir` holds its configuration, store and log.
    pub fn start(dir: PathBuf) -> Self {
        Self::start_with(dir, "")
    }

    /// Starts one with further lines inside its `jetstream` block, as in `max_file_store: 20MB`.
    pub fn start_with(dir: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&dir).expect("create the broker's directory");
        let port = free_port();
        let binary = nats_server();
        let child = spawn(&binary, &dir, port, options);
        let broker = Self { child, binary, dir, port, options: options.to_owned() };
        broker.wait();
        broker
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::Kill);
        let _ = self.child.wait();
    }

    /// Starts it again on the same port and store.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.binary, &self.dir, self.port, &self.options);
        self.wait();
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "nats-server does not answer; see {}", self.dir.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.signal(Signal::Continue);
        self.kill();
    }
}

fn spawn(binary: &Path, dir: &Path, port: u16, options: &str) -> Child {
    let text = format!(
        "server_name: test\nhost: 127.0.0.1\nport: {port}\nmax_payload: 1MB\n\
         jetstream {{ store_dir: \"{}/js\", max_mem: 64MB, {} }}\n",
        dir.display(),
        if options.is_empty() { "max_file: 4GB" } else { options },
    );
    let config = dir.join("nats.conf");
    std::fs::write(&config, text).expect("write the broker's configuration");
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(&config)
        .arg("-l")
        .arg(dir.join("nats.log"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("start nats-server")
}

/// A port that was free a moment ago: a broker that is to be restarted needs a fixed one. It lies below those that
/// outgoing connections get (from 32768 on Linux), so that none of them takes it while the broker is down.
pub fn free_port() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    ports.take(1000).find(free).expect("one of a thousand ports is free")
}
