//! Counts what a broker has written to JetStream.

use anyhow::Context as _;
use async_nats::jetstream;
use futures::TryStreamExt as _;

/// A connection to the broker under the gateway.
pub(super) struct Writes {
    jetstream: jetstream::Context,
}

impl Writes {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = async_nats::connect(url)
            .await
            .with_context(|| format!("connect to the broker at {url} to count its writes"))?;
        Ok(Self { jetstream: jetstream::new(client) })
    }

    /// Messages stored since each stream exists, over all streams, whatever has been deleted since.
    ///
    /// Key-value buckets, object stores and copies in sourcing streams are streams and count, too.
    pub(super) async fn total(&self) -> anyhow::Result<u64> {
        self.jetstream
            .streams()
            .try_fold(0, async |total, stream| Ok(total + stream.state.last_sequence))
            .await
            .context("list the broker's streams")
    }
}
