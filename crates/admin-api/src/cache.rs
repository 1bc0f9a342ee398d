//! Questions about the cache: what is asked is understood here, without asking; what its nodes say gets its form here,
//! too. A question is always about one workspace, but for how the nodes do.

mod entries;
mod invalidate;
mod selection;
mod stats;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bus::Bus;
use bus::cache::{Ask, CacheError, Shown};
use domain::cache::Selection;
use domain::{RequestId, Timestamp, Workspace};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::invalidate::{Invalidate, index as invalidate, take_out};
use crate::answer::Answer;
use crate::call::{Call, Page};
use crate::refusal::Refusal;

/// How long a node may take: less than whoever asks over HTTP waits.
const PATIENCE: Duration = Duration::from_secs(8);

/// A question to the nodes of the cache.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// How they do. Without a workspace also how many entries each workspace has.
    Stats(Option<Workspace>),
    /// Entries, on which page.
    Entries(Workspace, Option<Selection>, Page),
    /// One entry.
    Entry(Workspace, RequestId),
}

/// Asks how the nodes do.
pub(crate) fn stats(call: &Call<'_>) -> Result<Answer, Refusal> {
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    Ok(Answer::Cache(Box::new(Asked::Stats((!everywhere).then(|| call.workspace.clone())))))
}

/// Asks for a page of entries.
pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let selection = selection::of_query(call)?;
    let selection = (!selection.is_empty()).then_some(selection);
    Ok(Answer::Cache(Box::new(Asked::Entries(call.workspace.clone(), selection, call.query.page()?))))
}

/// Asks for one entry.
pub(crate) fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
    let text = call.params.first().copied().unwrap_or_default();
    let id = selection::id(&call.workspace, text).ok_or_else(|| entries::unknown(text))?;
    Ok(Answer::Cache(Box::new(Asked::Entry(call.workspace.clone(), id))))
}

/// Asks the nodes.
pub(crate) async fn answer(bus: &Bus, asked: &Asked, now: Timestamp) -> Result<Value, Refusal> {
    match asked {
        Asked::Stats(workspace) => {
            let nodes = bus.cache_nodes().await;
            if nodes.is_empty() {
                return Err(unanswered(&CacheError::Nobody));
            }
            let waiting = stats::waiting(bus, &nodes).await;
            Ok(stats::shown(&nodes, &waiting, workspace.as_ref(), now))
        }
        Asked::Entries(workspace, selection, page) => {
            entries::list(bus, workspace, selection.as_ref(), *page).await
        }
        Asked::Entry(workspace, id) => {
            let ask = Ask::Show { workspace: workspace.clone(), id: id.clone() };
            match ask_node::<Shown>(bus, &ask, PATIENCE).await {
                Ok(shown) => Ok(entries::whole(&shown)),
                Err(CacheError::Refused(reason)) => Err(entries::missing(bus, workspace, id, reason).await),
                Err(err) => Err(unanswered(&err)),
            }
        }
    }
}

/// Asks one node, for at most so long.
async fn ask_node<T: DeserializeOwned>(bus: &Bus, ask: &Ask, patience: Duration) -> Result<T, CacheError> {
    tokio::time::timeout(patience, bus.ask_cache(ask)).await.unwrap_or(Err(CacheError::Late))
}

fn unanswered(err: &CacheError) -> Refusal {
    tracing::warn!(%err, "the cache could not be asked");
    Refusal::unavailable(err.to_string())
}
