//! Answers the admin API: configs with their versions, virtual keys, API keys, workspaces, policies with what they have
//! counted, the audit log, what the ledger says, and what the cache holds.
//!
//! A question becomes a plan against the stored policy, which is pure; the plan is stored in one act with its audit
//! entry. Any number of processes may run the role: the broker tells who was first.

mod accounts;
mod analytics;
mod answer;
mod api_keys;
mod audit_log;
mod body;
mod cache;
mod call;
mod configs;
mod door;
mod openapi;
mod options;
mod policies;
mod refusal;
mod routes;
mod targets;
#[cfg(test)]
mod tests;
mod usage;
mod workspaces;

use std::sync::Arc;

use role::Ctx;

use crate::door::Door;
pub use crate::options::Options;

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Runs until shutdown. Fails only if it cannot start.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    let mut service = ctx.bus().serve_admin(env!("CARGO_PKG_VERSION")).await?;
    let door = Arc::new(Door { ctx: ctx.clone(), options });
    loop {
        let question = tokio::select! {
            () = ctx.draining().cancelled() => break,
            question = service.next() => question,
        };
        let Some(question) = question else { break };
        ctx.job(Arc::clone(&door).answer(question));
    }
    service.stop().await;
    // What had arrived is answered: its caller would wait in vain.
    while let Some(question) = service.next().await {
        ctx.job(Arc::clone(&door).answer(question));
    }
    ctx.finish().await;
    Ok(())
}
