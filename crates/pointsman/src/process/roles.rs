//! The roles of this process: started together, drained in the order of a request's way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::Bus;
use bus::identity::Access;
use bus::policy::PolicyView;
use bus::seal::Keyring;
use domain::Registry;
use role::Ctx;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use zeroize::Zeroizing;

use crate::cli::Role;
use crate::settings::Settings;

/// What roles are started with.
pub(crate) struct Serving {
    pub(crate) bus: Bus,
    pub(crate) settings: Settings,
    pub(crate) keys: Keyring,
    pub(crate) access: Access,
    /// The environment of the process.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) metrics: telemetry::metric::Printer,
}

/// Running roles.
pub(crate) struct Roles {
    /// Base URL of this process's HTTP listener.
    pub(crate) url: String,
    /// Drained first: requests in its hands need the others.
    gateway: CancellationToken,
    gateway_over: CancellationToken,
    workers: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    followers: [JoinHandle<()>; 2],
}

/// What all roles of a process know alike.
#[derive(Clone)]
struct Known {
    bus: Bus,
    registry: watch::Receiver<Arc<Registry>>,
    policy: PolicyView,
}

impl Roles {
    /// Starts the roles; the socket serves the HTTP API, or health and metrics where there is none.
    #[expect(clippy::disallowed_methods, reason = "follows what is known on behalf of all roles")]
    pub(crate) async fn start(
        wanted: &[Role],
        serving: Serving,
        socket: TcpListener,
    ) -> anyhow::Result<Self> {
        let url = format!("http://{}", socket.local_addr()?);
        let (first, _) = serving.bus.registry().await?;
        let (sender, registry) = watch::channel(Arc::new(first));
        let (gateway, workers, stop) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let policy = PolicyView::default();
        serving.bus.load_policy(&policy).await?;
        let followers = [
            tokio::spawn(serving.bus.clone().follow_registry(sender, stop.clone())),
            tokio::spawn(serving.bus.clone().follow_policy(policy.clone(), stop.clone())),
        ];
        let known = Known { bus: serving.bus.clone(), registry, policy };
        let mut roles = Self {
            url,
            gateway,
            gateway_over: CancellationToken::new(),
            workers,
            stop,
            tasks: JoinSet::new(),
            followers,
        };
        let mut socket = Some(socket);
        for role in wanted {
            roles.start_one(*role, &serving, &known, &mut socket);
        }
        if let Some(socket) = socket {
            let ctx = roles.ctx("admin", &known, &roles.workers);
            roles.gateway_over.cancel();
            roles.tasks.spawn(role::run(ctx, move |ctx| http_shim::run_admin(ctx, socket, serving.metrics)));
        }
        Ok(roles)
    }

    fn ctx(&self, name: &'static str, known: &Known, drain: &CancellationToken) -> Ctx {
        let Known { bus, registry, policy } = known.clone();
        Ctx::new(name, bus, registry, policy, drain.clone(), self.stop.clone())
    }

    fn start_one(&mut self, role: Role, serving: &Serving, known: &Known, socket: &mut Option<TcpListener>) {
        match role {
            Role::HttpShim => {
                let Some(socket) = socket.take() else { return };
                let ctx = self.ctx(http_shim::NAME, known, &self.gateway);
                let (options, metrics, over) =
                    (http_options(serving), serving.metrics.clone(), self.gateway_over.clone());
                self.tasks.spawn(async move {
                    let ended = role::run(ctx, |ctx| http_shim::run(ctx, socket, options, metrics)).await;
                    over.cancel();
                    ended
                });
            }
            Role::AdminApi => {
                let ctx = self.ctx(admin_api::NAME, known, &self.workers);
                let options = admin_options(serving);
                self.tasks.spawn(role::run(ctx, |ctx| admin_api::run(ctx, options)));
            }
            Role::CostAccounting => {
                let ctx = self.ctx(cost_accounting::NAME, known, &self.workers);
                let options = ledger_options(serving);
                self.tasks.spawn(role::run(ctx, |ctx| cost_accounting::run(ctx, options)));
            }
            Role::SemanticCache => {
                let ctx = self.ctx(semantic_cache::NAME, known, &self.workers);
                let settings = &serving.settings;
                let options = settings.cache.options(&settings.data_dir, &serving.env);
                self.tasks.spawn(role::run(ctx, |ctx| semantic_cache::run(ctx, options)));
            }
            Role::Alerts => {
                let ctx = self.ctx(alerts::NAME, known, &self.workers);
                let options = alerts_options(serving);
                self.tasks.spawn(role::run(ctx, |ctx| alerts::run(ctx, options)));
            }
            Role::Router => {
                let ctx = self.ctx(router::NAME, known, &self.workers);
                let options = router_options(serving);
                self.tasks.spawn(role::run(ctx, |ctx| router::run(ctx, options)));
            }
            Role::ProviderWorker => {
                let ctx = self.ctx(provider_worker::NAME, known, &self.workers);
                let options = worker_options(serving);
                self.tasks.spawn(role::run(ctx, |ctx| provider_worker::run(ctx, options)));
            }
        }
    }

    /// Waits until the listener says that it is ready.
    pub(crate) async fn wait_ready(&self, patience: Duration) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build().context("set up an HTTP client")?;
        let url = format!("{}/ready", self.url);
        let until = tokio::time::Instant::now() + patience;
        loop {
            let answer = client.get(&url).timeout(Duration::from_secs(2)).send().await;
            let reason = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(err) => err.to_string(),
            };
            if tokio::time::Instant::now() > until {
                bail!("not ready after {patience:?}: {reason}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a role to fail, or to end before it was told to.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) => anyhow::anyhow!("a role ended by itself"),
            Some(Ok(Err(err))) => err,
            Some(Err(err)) => anyhow::anyhow!("a role panicked: {err}"),
            None => std::future::pending().await,
        }
    }

    /// Lets work finish for at most `deadline`, then stops what is left.
    pub(crate) async fn drain(&mut self, deadline: Duration) {
        let drained = async {
            self.gateway.cancel();
            self.gateway_over.cancelled().await;
            self.workers.cancel();
            while self.tasks.join_next().await.is_some() {}
        };
        if tokio::time::timeout(deadline, drained).await.is_err() {
            warn!(?deadline, "not drained in time; stopping what is still running");
            self.stop_now().await;
        }
        self.stop.cancel();
        for follower in &mut self.followers {
            let _ = follower.await;
        }
    }

    /// Stops everything at once; unfinished work goes back to the broker.
    pub(crate) async fn stop_now(&mut self) {
        self.gateway.cancel();
        self.workers.cancel();
        self.stop.cancel();
        let ending = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), ending).await.is_err() {
            warn!("some work did not stop");
        }
    }
}

fn http_options(serving: &Serving) -> http_shim::Options {
    let settings = &serving.settings;
    http_shim::Options {
        access: serving.access.clone(),
        body_limit: settings.http.body_limit.bytes(),
        on_disconnect: if settings.http.on_disconnect.is_cancel() {
            http_shim::OnDisconnect::Cancel
        } else {
            http_shim::OnDisconnect::Finish
        },
        interactive: settings.deadlines.interactive,
        asynchronous: settings.deadlines.asynchronous,
        maximum: settings.deadlines.maximum,
        trusted_hosts: settings.http.trusted_custom_hosts.clone(),
        shortest_cooldown: settings.health.shortest_cooldown,
        storage_percent: settings.limits.storage_percent,
        drain_grace: Duration::from_secs(1),
    }
}

fn admin_options(serving: &Serving) -> admin_api::Options {
    let settings = &serving.settings;
    admin_api::Options {
        access: serving.access.clone(),
        trusted_hosts: settings.http.trusted_custom_hosts.clone(),
        allowed_env: settings.secrets.environment.clone(),
        secret_dir: settings.secrets.dir(),
    }
}

fn ledger_options(serving: &Serving) -> cost_accounting::Options {
    let settings = &serving.settings;
    cost_accounting::Options {
        database: settings.ledger.database(&settings.data_dir),
        batch: settings.ledger.batch,
    }
}

fn alerts_options(serving: &Serving) -> alerts::Options {
    let settings = &serving.settings.alerts;
    let checked = settings.checked();
    alerts::Options {
        every: settings.every,
        patience: settings.give_up_after,
        rules: checked.rules,
        channels: checked.channels,
    }
}

fn worker_options(serving: &Serving) -> provider_worker::Options {
    let secrets = &serving.settings.secrets;
    let allowed = serving.env.iter().filter(|(name, _)| secrets.allows(name));
    provider_worker::Options {
        slots: serving.settings.work.worker_slots,
        keys: serving.keys.clone(),
        environment: allowed.map(|(name, value)| (name.clone(), Zeroizing::new(value.clone()))).collect(),
        secrets_dir: secrets.dir(),
        trusted_hosts: serving.settings.http.trusted_custom_hosts.clone(),
    }
}

fn router_options(serving: &Serving) -> router::Options {
    let settings = &serving.settings;
    router::Options {
        access: serving.access.clone(),
        in_flight: settings.work.router_in_flight,
        on_lost: settings.work.on_lost,
        trusted_hosts: settings.http.trusted_custom_hosts.clone(),
        interactive: settings.deadlines.interactive,
        asynchronous: settings.deadlines.asynchronous,
        maximum: settings.deadlines.maximum,
        shortest_cooldown: settings.health.shortest_cooldown,
        provider_limits: settings.health.provider_limits,
        // Settings that do not hold a whole price are refused when they are read.
        ceiling_price: settings.limits.ceiling_price.as_ref().and_then(|r| providers::models::price(r).ok()),
        show_cost: settings.http.show_cost,
        cache: router::CacheOptions {
            patience: settings.cache.lookup_timeout,
            threshold: settings.cache.threshold,
        },
        sweep: settings.work.sweep,
    }
}
