//! Exports: lines of the ledger, read page by page as fast as the caller takes them.

use std::io;

use bus::Bus;
use bus::ledger::LedgerError;
use bytes::Bytes;
use domain::ApiError;
use domain::spend::{Entries, EntriesQuery};
use export::{Encoder, Order};
use futures::StreamExt as _;
use futures::stream;
use tracing::warn;

use crate::body::Body;

/// Lines of one page.
const PAGE: u32 = 1000;

/// An export under way.
struct Export {
    bus: Bus,
    query: EntriesQuery,
    page: Option<Entries>,
    encoder: Encoder,
}

/// The body of an export. The first page is read before, so that a ledger that is away is told as a status; if it goes
/// away later, the connection is broken off, since a file that ends early would look whole.
pub(crate) async fn body(bus: Bus, order: &str) -> Result<Body, ApiError> {
    let broken = |message: String| ApiError::new(500, "internal_error", message);
    let order: Order =
        serde_json::from_str(order).map_err(|err| broken(format!("the order cannot be read: {err}")))?;
    let encoder = Encoder::new(order.format).map_err(|err| broken(err.to_string()))?;
    let query = EntriesQuery { limit: PAGE, ..order.query };
    let first = bus.ledger_entries(query.clone()).await.map_err(unavailable)?;
    let export = Export { bus, query, page: Some(first), encoder };
    let pieces = stream::unfold(Some(export), |state| async {
        let export = state?;
        match export.next().await {
            Ok((bytes, rest)) => Some((Ok(Bytes::from(bytes)), rest)),
            Err(err) => {
                warn!(err, "an export was broken off");
                Some((Err(io::Error::other(err)), None))
            }
        }
    });
    Ok(Body::Fallible(pieces.boxed()))
}

impl Export {
    /// The next bytes, and what is left to do.
    async fn next(mut self) -> Result<(Vec<u8>, Option<Self>), String> {
        let page = match self.page.take() {
            Some(page) => page,
            None => self.bus.ledger_entries(self.query.clone()).await.map_err(|err| err.to_string())?,
        };
        let more = page.next.is_some();
        self.query.after = page.next;
        let mut bytes = self.encoder.page(page.entries).map_err(|err| err.to_string())?;
        if more {
            return Ok((bytes, Some(self)));
        }
        bytes.extend(self.encoder.end().map_err(|err| err.to_string())?);
        Ok((bytes, None))
    }
}

fn unavailable(err: LedgerError) -> ApiError {
    ApiError::new(503, "unavailable", err.to_string()).with_retry_after(1)
}
