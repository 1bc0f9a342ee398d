//! The processes of the scenario: a broker, a provider, a shim, two routers and two workers.

use std::path::PathBuf;
use std::time::Duration;

use domain::Timestamp;

use super::now;
use crate::harness::broker::free_port;
use crate::harness::process::Start;
use crate::harness::{Broker, Mock, Pointsman, Signal};

/// How long a draining process may take.
const DRAIN: Duration = Duration::from_secs(40);

/// A process that can be hit. The number tells processes of one role apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The nats-server.
    Broker,
    /// The HTTP shim.
    Shim,
    /// One of the routers.
    Router(usize),
    /// One of the provider workers.
    Worker(usize),
    /// One of the processes that answer the admin API.
    Admin(usize),
    /// The process that keeps the ledger.
    Ledger,
}

/// What was done to a process, and when.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The process.
    pub part: Part,
    /// It lived on and was only paused.
    pub paused: bool,
    /// When it was hit.
    pub from: Timestamp,
    /// When it (or the one in its place) worked again.
    pub to: Option<Timestamp>,
}

/// The processes, and what was done to them.
pub struct Cluster {
    // Dropped in this order: roles before the broker, so that their draining has somebody to talk to.
    shim: Option<Pointsman>,
    routers: Vec<Option<Pointsman>>,
    workers: Vec<Option<Pointsman>>,
    admins: Vec<Option<Pointsman>>,
    ledger: Option<Pointsman>,
    /// The nats-server.
    pub broker: Broker,
    _provider: Pointsman,
    mock: Mock,
    starter: Starter,
    faults: Vec<Fault>,
}

/// How roles are started.
#[derive(Clone)]
struct Starter {
    binary: String,
    dir: PathBuf,
    nats: String,
    provider: String,
    shim_port: u16,
}

impl Starter {
    fn part(&self, part: Part) -> Option<Pointsman> {
        let start = match part {
            Part::Broker => return None,
            Part::Shim => {
                let listen = format!("127.0.0.1:{}", self.shim_port);
                self.role("http-shim").arg("--listen").arg(listen).arg("--reuse-port")
            }
            Part::Router(_) => self.role("router"),
            Part::Worker(_) => self.role("provider-worker"),
            Part::Admin(_) => self.role("admin-api"),
            Part::Ledger => self.role("cost-accounting"),
        };
        Some(start.ready())
    }

    fn role(&self, role: &str) -> Start {
        let data = self.dir.join("data").display().to_string();
        Start::new(&self.binary, &self.dir, &["run", role, "--nats", &self.nats, "--data-dir", &data])
            .set("work.ack_wait", "2s")
            .set("work.progress", "500ms")
            .set("work.sweep", "1s")
            .set("providers.double.base_url", &format!("\"{}\"", self.provider))
            .set("log.level", "\"info,router=debug,provider_worker=debug\"")
    }
}

impl Cluster {
    /// Starts everything. `binary` is the `pointsman` command, `dir` holds data and logs.
    pub fn start(binary: &str, dir: PathBuf) -> Self {
        Self::start_with(
            binary,
            dir,
            &[Part::Shim, Part::Router(0), Part::Router(1), Part::Worker(0), Part::Worker(1), Part::Ledger],
        )
    }

    /// Starts broker, provider and these roles.
    pub fn start_with(binary: &str, dir: PathBuf, parts: &[Part]) -> Self {
        let broker = Broker::start(dir.join("broker"));
        let provider = Start::new(binary, &dir, &["mock", "--listen", "127.0.0.1:0"]).ready();
        let mock = Mock::at(&provider.mock());
        let starter = Starter {
            binary: binary.to_owned(),
            nats: broker.url(),
            provider: provider.mock(),
            shim_port: free_port(),
            dir,
        };
        let mut cluster = Self {
            shim: None,
            routers: vec![None, None],
            workers: vec![None, None],
            admins: vec![None, None],
            ledger: None,
            broker,
            _provider: provider,
            mock,
            starter,
            faults: Vec::new(),
        };
        for part in parts {
            *cluster.slot(*part) = cluster.starter.part(*part);
        }
        cluster
    }

    fn slot(&mut self, part: Part) -> &mut Option<Pointsman> {
        match part {
            Part::Shim => &mut self.shim,
            Part::Router(n) => &mut self.routers[n],
            Part::Worker(n) => &mut self.workers[n],
            Part::Admin(n) => &mut self.admins[n],
            Part::Ledger => &mut self.ledger,
            Part::Broker => panic!("the broker is no role"),
        }
    }

    /// Base URL of the HTTP API; stays the same when the shim is started again.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.starter.shim_port)
    }

    /// Address of the broker; stays the same when it is started again.
    pub fn nats(&self) -> String {
        self.broker.url()
    }

    /// The provider, which is never hit.
    pub fn mock(&self) -> &Mock {
        &self.mock
    }

    /// What was done so far.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.clone()
    }

    /// The process of a role.
    pub fn role(&self, part: Part) -> Option<&Pointsman> {
        match part {
            Part::Shim => self.shim.as_ref(),
            Part::Router(n) => self.routers[n].as_ref(),
            Part::Worker(n) => self.workers[n].as_ref(),
            Part::Admin(n) => self.admins[n].as_ref(),
            Part::Ledger => self.ledger.as_ref(),
            Part::Broker => None,
        }
    }

    /// Kills a process at once.
    pub fn kill(&mut self, part: Part) {
        self.faults.push(Fault { part, paused: false, from: now(), to: None });
        match part {
            Part::Broker => self.broker.kill(),
            _ => {
                if let Some(process) = self.slot(part).take() {
                    process.kill();
                }
            }
        }
    }

    /// Starts a process again that was killed.
    pub fn restart(&mut self, part: Part) {
        match part {
            Part::Broker => self.broker.restart(),
            _ => *self.slot(part) = self.starter.part(part),
        }
        self.over(part);
    }

    /// Freezes a process.
    pub fn pause(&mut self, part: Part) {
        self.faults.push(Fault { part, paused: true, from: now(), to: None });
        self.send(part, Signal::Stop);
    }

    /// Wakes a frozen process up.
    pub fn resume(&mut self, part: Part) {
        self.send(part, Signal::Continue);
        self.over(part);
    }

    /// Replaces a process as an operator would: the new one first, then the old one is asked to drain.
    /// Returns how the old one ended.
    pub fn roll(&mut self, part: Part) -> std::process::ExitStatus {
        let fresh = self.starter.part(part);
        let old = std::mem::replace(self.slot(part), fresh);
        old.expect("a role that runs").stop(DRAIN)
    }

    /// Waits until a role that was asked to stop has ended.
    pub fn wait(&mut self, part: Part, patience: Duration) -> std::process::ExitStatus {
        self.slot(part).as_mut().expect("a role that was started").wait(patience)
    }

    fn send(&mut self, part: Part, signal: Signal) {
        match part {
            Part::Broker => self.broker.signal(signal),
            _ => self.slot(part).as_ref().expect("a role that runs").signal(signal),
        }
    }

    fn over(&mut self, part: Part) {
        if let Some(fault) = self.faults.iter_mut().rfind(|fault| fault.part == part) {
            fault.to = Some(now());
        }
    }
}
