//! How the nodes of the cache do.

use std::collections::BTreeMap;

use bus::cache::NodeStats;
use bus::state::ReadError;
use bus::{Bus, subject};
use domain::event::Kind;
use domain::time::millis;
use domain::{Timestamp, Workspace};
use serde_json::{Map, Value, json};

use crate::answer::date;

/// By position up to which a node has followed: since when the oldest event after it waits, if one does. A position
/// that could not be asked about is not there.
pub(super) type Waiting = BTreeMap<u64, Option<Timestamp>>;

/// Looks how far nodes are behind what there is for them to follow.
pub(super) async fn waiting(bus: &Bus, nodes: &[NodeStats]) -> Waiting {
    let mut waiting = Waiting::new();
    for node in nodes {
        if waiting.contains_key(&node.through) {
            continue;
        }
        match oldest_after(bus, node.through).await {
            Ok(oldest) => drop(waiting.insert(node.through, oldest)),
            Err(err) => tracing::warn!(%err, node = node.node, "it is not known how far a node is behind"),
        }
    }
    waiting
}

async fn oldest_after(bus: &Bus, through: u64) -> Result<Option<Timestamp>, ReadError> {
    let mut oldest = None;
    for kind in [Kind::CacheStored, Kind::CacheInvalidated] {
        let next = bus.next_lying(subject::EVENT_STREAM, &subject::events_of(kind), through + 1).await?;
        oldest = oldest.into_iter().chain(next.map(|event| event.stored_at)).min();
    }
    Ok(oldest)
}

/// The nodes and all of them together. A workspace is shown how the nodes do and how much of it they hold, but not
/// what others have in them, nor how they use them.
pub(super) fn shown(
    nodes: &[NodeStats],
    waiting: &Waiting,
    workspace: Option<&Workspace>,
    now: Timestamp,
) -> Value {
    let lag = |node: &NodeStats| {
        let oldest = waiting.get(&node.through)?;
        Some(oldest.map_or(0, |at| millis(now.since(at))))
    };
    let data: Vec<Value> = nodes.iter().map(|node| one(node, lag(node), workspace)).collect();
    json!({
        "object": "cache_stats", "workspace_id": workspace, "nodes": data,
        "total": total(nodes, workspace),
    })
}

fn one(node: &NodeStats, lag_ms: Option<u64>, workspace: Option<&Workspace>) -> Value {
    let mut one = json!({
        "node": node.node, "started_at": date(node.started_at), "embedder": node.embedder, "model": node.model,
        "through": node.through, "lag_ms": lag_ms, "rebuilt": node.rebuilt,
    });
    let counts = match workspace {
        Some(workspace) => held(node, workspace),
        None => counts(node),
    };
    if let Some(one) = one.as_object_mut() {
        one.extend(counts);
    }
    one
}

fn held(node: &NodeStats, workspace: &Workspace) -> Map<String, Value> {
    let entries = node.workspaces.get(workspace).copied().unwrap_or(0);
    [("entries".to_owned(), json!(entries))].into_iter().collect()
}

fn counts(node: &NodeStats) -> Map<String, Value> {
    let counts = [
        ("entries", json!(node.entries)),
        ("vectors", json!(node.vectors)),
        ("workspaces", json!(node.workspaces)),
        ("bytes", json!(node.bytes)),
        ("disk_bytes", json!(node.disk_bytes)),
        ("lookups", json!(node.lookups)),
        ("hits", json!(node.hits)),
        ("semantic_hits", json!(node.semantic_hits)),
        ("hit_rate", percentage(node.hits + node.semantic_hits, node.lookups)),
        ("guarded", json!(node.guarded)),
        ("unembedded", json!(node.unembedded)),
        ("stored", json!(node.stored)),
        ("evicted", json!(node.evicted)),
        ("expired", json!(node.expired)),
        ("invalidated", json!(node.invalidated)),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// All nodes together. Look-ups are shared among them and add up; every node holds the same entries, so that of
/// entries the fullest node's are shown.
fn total(nodes: &[NodeStats], workspace: Option<&Workspace>) -> Value {
    let most = |count: fn(&NodeStats) -> u64| nodes.iter().map(count).max().unwrap_or(0);
    let sum = |count: fn(&NodeStats) -> u64| nodes.iter().map(count).sum::<u64>();
    if let Some(workspace) = workspace {
        let entries = nodes.iter().filter_map(|node| node.workspaces.get(workspace)).max();
        return json!({ "nodes": nodes.len(), "entries": entries.copied().unwrap_or(0) });
    }
    let (lookups, hits, alike) = (sum(|n| n.lookups), sum(|n| n.hits), sum(|n| n.semantic_hits));
    json!({
        "nodes": nodes.len(), "entries": most(|n| n.entries), "vectors": most(|n| n.vectors),
        "bytes": most(|n| n.bytes), "disk_bytes": sum(|n| n.disk_bytes), "lookups": lookups, "hits": hits,
        "semantic_hits": alike, "hit_rate": percentage(hits + alike, lookups),
        "guarded": sum(|n| n.guarded), "unembedded": sum(|n| n.unembedded),
    })
}

/// With two digits after the point, rounded down; null where nothing was asked.
fn percentage(part: u64, whole: u64) -> Value {
    match (u128::from(part) * 10_000).checked_div(u128::from(whole)) {
        Some(hundredths) => json!(hundredths as f64 / 100.0),
        None => Value::Null,
    }
}
