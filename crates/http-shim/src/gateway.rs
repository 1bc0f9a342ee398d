//! What all requests of this process share, and the helpers that keep it current.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bus::Subscription;
use domain::ApiError;
use domain::id::RequestId;
use domain::policy::{Identity, Refused};
use role::Ctx;
use telemetry::metric::{self, Printer};
use tracing::{debug, warn};

use crate::access;
use crate::board::{Board, Note};
use crate::intake::Lookup;
use crate::options::Options;

/// How often the broker is asked how full it is.
const STORAGE_CHECK: Duration = Duration::from_secs(2);

/// What all requests of this process share.
pub(crate) struct Gateway {
    pub(crate) ctx: Ctx,
    pub(crate) options: Options,
    /// Names this process in reply subjects.
    pub(crate) id: String,
    pub(crate) board: Board,
    pub(crate) metrics: Printer,
    /// Sequence of the newest change of the policy that somebody made through this process.
    pub(crate) policy_seen: AtomicU64,
    /// Frames for this process arrive.
    listening: AtomicBool,
    /// The broker's storage is too full to accept more.
    full: AtomicBool,
}

impl Gateway {
    /// Subscribes to this process's replies and starts the helpers. After this, requests may be published.
    pub(crate) async fn start(ctx: Ctx, options: Options, metrics: Printer) -> anyhow::Result<Arc<Self>> {
        let id = format!("g{:016x}", rand::random::<u64>());
        let replies = ctx.bus().subscribe(bus::subject::reply_all(&id)).await?;
        let board = Board::default();
        let (listening, full) = (AtomicBool::new(true), AtomicBool::new(false));
        let policy_seen = AtomicU64::new(0);
        let gateway =
            Arc::new(Self { ctx: ctx.clone(), options, id, board, metrics, policy_seen, listening, full });
        ctx.helper("replies", Arc::clone(&gateway).hand_out(replies));
        ctx.helper("reconnects", Arc::clone(&gateway).watch_link());
        ctx.helper("admission", Arc::clone(&gateway).watch_storage());
        Ok(gateway)
    }

    /// Whose question for a model it is, if whoever shows the key may ask one.
    pub(crate) fn admit(&self, get: Lookup<'_>) -> Result<Identity, ApiError> {
        self.allow("completions.write", get)
    }

    /// Whose request it is, if whoever shows the key may do this.
    pub(crate) fn allow(&self, scope: &str, get: Lookup<'_>) -> Result<Identity, ApiError> {
        let now = self.ctx.clock().now();
        match access::authenticate(&self.options.access, self.ctx.policy(), get, now)? {
            Some(key) if !key.allows(scope) => Err(Refused::Forbidden.error()),
            key => Ok(access::identity_of(key.as_deref())),
        }
    }

    /// Why this process cannot serve now.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        if self.ctx.draining().is_cancelled() {
            return Some("this process is stopping");
        }
        if !self.ctx.bus().is_up() {
            return Some("the broker cannot be reached");
        }
        (!self.listening.load(Ordering::Relaxed)).then_some("the subscription for replies is gone")
    }

    /// Whether the broker's storage is too full to accept more.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Tells everybody who waits that the process ends.
    pub(crate) fn stop_waiting(&self) {
        self.board.tell_all(|| Note::Stop);
    }

    /// A fresh id for a request that came without one.
    pub(crate) fn fresh_id(&self) -> RequestId {
        RequestId::fresh(self.ctx.clock().now().0, rand::random())
    }

    async fn hand_out(self: Arc<Self>, mut replies: Subscription) {
        while let Some(message) = replies.next().await {
            self.board.deliver(bus::subject::last_token(&message.subject), message.payload);
        }
        self.listening.store(false, Ordering::Relaxed);
        warn!("the subscription for replies ended; answers are read from the store");
    }

    /// Frames that were sent while the connection was down are gone.
    async fn watch_link(self: Arc<Self>) {
        let mut link = self.ctx.bus().link();
        let mut epoch = link.borrow_and_update().epoch;
        while link.changed().await.is_ok() {
            let now = *link.borrow_and_update();
            if now.up && now.epoch != epoch {
                epoch = now.epoch;
                self.board.tell_all(|| Note::Look);
            }
        }
    }

    async fn watch_storage(self: Arc<Self>) {
        loop {
            match self.ctx.bus().storage().await {
                Ok(storage) => self.judge(storage),
                Err(err) => debug!(%err, "could not ask the broker how full it is"),
            }
            tokio::time::sleep(STORAGE_CHECK).await;
        }
    }

    fn judge(&self, storage: bus::inspect::Storage) {
        let used = storage.used as f64 / storage.limit.max(1) as f64;
        metrics::gauge!(metric::STORAGE_USED).set(used);
        let full = used * 100.0 >= f64::from(self.options.storage_percent);
        if self.full.swap(full, Ordering::Relaxed) != full {
            let percent = self.options.storage_percent;
            match full {
                true => warn!(used, percent, "the broker's storage is nearly full: nothing new is accepted"),
                false => warn!(used, percent, "the broker's storage has room again"),
            }
        }
    }
}
