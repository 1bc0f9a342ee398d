//! Which targets there are: one puller with its own slots for each consumer of calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::work::{Job, Puller};
use role::Ctx;
use tracing::{info, warn};

use crate::handle::Worker;

/// How often consumers are listed in case an advisory was missed.
const RELIST: Duration = Duration::from_secs(5);

/// Pulls from every target until draining, then returns; calls in hand go on.
pub(crate) async fn serve(ctx: &Ctx, worker: &Arc<Worker>, slots: usize) {
    let mut pullers: HashMap<String, Pulling> = HashMap::new();
    let mut changes = ctx.bus().subscribe(bus::subject::CALL_CONSUMERS_CHANGED).await.ok();
    while !ctx.draining().is_cancelled() {
        match ctx.bus().call_consumers().await {
            Ok(consumers) => {
                pullers.retain(|_, pulling| !pulling.ended());
                for consumer in consumers {
                    let slots = slots.min(consumer.limit);
                    let known = pullers.get(&consumer.name).is_some_and(|p| p.slots == slots);
                    if !known {
                        info!(target = consumer.target, consumer = consumer.name, slots, "taking calls");
                        pullers.insert(
                            consumer.name.clone(),
                            Pulling::start(ctx, worker, &consumer.name, slots),
                        );
                    }
                }
            }
            Err(err) => warn!(%err, "could not list the targets; trying again"),
        }
        let change = async {
            match changes.as_mut() {
                Some(changes) => drop(changes.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ctx.draining().cancelled() => {}
            () = change => {}
            () = tokio::time::sleep(RELIST) => {}
        }
    }
}

/// A puller at work; a new one for the same consumer replaces it.
struct Pulling {
    slots: usize,
    stop: tokio_util::sync::CancellationToken,
    over: tokio_util::sync::CancellationToken,
}

impl Pulling {
    fn start(ctx: &Ctx, worker: &Arc<Worker>, consumer: &str, slots: usize) -> Self {
        let puller = Puller::calls(ctx.bus(), consumer, slots);
        let stop = ctx.draining().child_token();
        let over = tokio_util::sync::CancellationToken::new();
        let (worker, ctx_jobs, until, ended) = (Arc::clone(worker), ctx.clone(), stop.clone(), over.clone());
        ctx.job(async move {
            let take = |job: Job| {
                let worker = Arc::clone(&worker);
                ctx_jobs.job(async move {
                    let gauge = metrics::gauge!(telemetry::metric::IN_FLIGHT, "role" => crate::NAME);
                    gauge.increment(1);
                    // Boxed, because a future this large is moved several times before it runs.
                    Box::pin(worker.handle(&job.delivery)).await;
                    gauge.decrement(1);
                    drop(job.permit);
                });
            };
            puller.run(&until, take).await;
            ended.cancel();
        });
        Self { slots, stop, over }
    }

    fn ended(&self) -> bool {
        self.over.is_cancelled()
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        // Calls in hand keep their slots; only pulling ends.
        self.stop.cancel();
    }
}
