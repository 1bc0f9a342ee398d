//! Decides what happens next to every request: the next call, a wait, or the end.
//!
//! Routers keep nothing between messages: the envelope carries the history, and the decision is a pure function of it.

mod accept;
mod act;
mod cached;
mod configs;
mod conversation;
mod facts;
mod fallback;
mod health;
mod identify;
mod limited;
mod limits;
mod quota;
mod sweep;
mod target;

use std::sync::Arc;
use std::time::Duration;

use bus::identity::Access;
use bus::work::{Delivery, Job, Puller};
use domain::Lane;
use domain::model::Price;
use domain::next::OnLost;
use role::Ctx;

use crate::act::Router;

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Process settings of a router.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages in hand at once.
    pub in_flight: usize,
    /// What to do about an attempt whose worker vanished.
    pub on_lost: OnLost,
    /// Hosts that callers may name although they are not public.
    pub trusted_hosts: Vec<String>,
    /// Time for requests that somebody waits for.
    pub interactive: Duration,
    /// Time for requests that nobody waits for.
    pub asynchronous: Duration,
    /// Most time that a request may ask for.
    pub maximum: Duration,
    /// How access is controlled.
    pub access: Access,
    /// Shortest cooldown that a config's breaker may have.
    pub shortest_cooldown: Duration,
    /// What providers say is left of their limits is heeded.
    pub provider_limits: bool,
    /// What models are taken to cost whose price is not known. None: a budget in money refuses them.
    pub ceiling_price: Option<Price>,
    /// Answers say what they cost, where no API key says whether they do.
    pub show_cost: bool,
    /// How the cache is asked.
    pub cache: CacheOptions,
    /// How often overdue calls are looked for.
    pub sweep: Duration,
}

/// How the cache is asked.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// How long a request waits for the cache's word.
    pub patience: Duration,
    /// Cosine similarity from which texts may mean the same, where the config does not say.
    pub threshold: f64,
}

/// Runs until it has drained.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    let router = Arc::new(Router::new(ctx.clone(), options.clone()));
    router.health.start().await;
    router.listen_for_landings().await?;
    for (lane, share, batch) in SHARES {
        let puller = Puller::requests(ctx.bus(), *lane, (options.in_flight * share / 100).max(1), *batch);
        start(&ctx, &router, puller, Input::Request);
    }
    let puller = Puller::fallbacks(ctx.bus(), options.in_flight, 64);
    start(&ctx, &router, puller, Input::Fallback);
    ctx.helper("sweep", sweep::run(Arc::clone(&router)));
    ctx.helper("limits of routers that are gone", limits::run_reclaim(Arc::clone(&router.limits)));
    ctx.draining().cancelled().await;
    ctx.finish().await;
    router.limits.close().await;
    Ok(())
}

/// Each lane's share of the messages in hand, in percent, and how many are pulled at once: however long one lane's
/// backlog is, the others go on.
const SHARES: &[(Lane, usize, usize)] =
    &[(Lane::Interactive, 50, 64), (Lane::Normal, 35, 64), (Lane::Bulk, 15, 16)];

#[derive(Clone, Copy)]
enum Input {
    Request,
    Fallback,
}

fn start(ctx: &Ctx, router: &Arc<Router>, puller: Puller, input: Input) {
    let (router, ctx_jobs, stop) = (Arc::clone(router), ctx.clone(), ctx.draining().clone());
    ctx.job(async move {
        let take = |job: Job| {
            let router = Arc::clone(&router);
            ctx_jobs.job(async move {
                // Boxed, because a future this large is moved several times before it runs.
                let handling = Box::pin(handle(&router, &job.delivery, input));
                let every = router.ctx.bus().options().progress;
                job.delivery.while_running(every, handling).await;
                drop(job.permit);
            });
        };
        puller.run(&stop, take).await;
    });
}

async fn handle(router: &Router, delivery: &Delivery, input: Input) {
    match input {
        Input::Request => router.accept(delivery).await,
        Input::Fallback => router.fall_back(delivery).await,
    }
}
