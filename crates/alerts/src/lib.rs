//! Watches events, circuits and queues, and tells people when something is wrong and when it is over.
//!
//! One process at a time judges, under a lease; its memory is one record on the broker, written by compare-and-set.
//! Every process with the role delivers notices. Side reader: it may lag, or stop, without slowing a request.

mod channel;
mod deliver;
mod evaluate;
mod options;
mod send;

use std::sync::Arc;

use role::Ctx;

pub use lettre::message::Mailbox;

pub use crate::channel::{BadSecret, Channel, Email, PAGERDUTY, SigningKey, Tls};
pub use crate::options::Options;

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Runs until shutdown. Fails only if it cannot start.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let post = deliver::Post::new(ctx.clone(), Arc::clone(&options))?;
    ctx.helper("judge alerts", evaluate::run(ctx.clone(), options));
    post.run().await;
    ctx.finish().await;
    Ok(())
}
