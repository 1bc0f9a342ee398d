//! Which target of a group a new attempt goes to, where nothing was tried in the group yet.

use std::borrow::Cow;
use std::cmp::Ordering;

use sha2::{Digest, Sha256};

use super::{Reason, View, models};
use crate::Timestamp;
use crate::config::{Condition, Group, Node, Sticky, Strategy, Target};
use crate::facts::RequestFacts;
use crate::health::Availability;
use crate::quota::Need;

/// The target of a group for a request, and why. Err: the group has none for it.
pub(super) fn child<'a>(
    group: &'a Group,
    facts: &RequestFacts<'_>,
    view: &View<'_>,
    why: &mut Vec<Reason<'a>>,
) -> Result<&'a Node, NoChild> {
    let chosen = match &group.strategy {
        Strategy::Conditional { conditions, default } => {
            return conditional(group, conditions, *default, facts, why);
        }
        Strategy::Single | Strategy::Fallback { .. } => {
            closed(group, group.targets.iter().collect(), facts, view, why).first().copied()
        }
        Strategy::LoadBalance { sticky } => {
            let positive = group.targets.iter().filter(|n| n.weight() > 0.0).collect();
            let nodes = closed(group, positive, facts, view, why);
            match sticky.as_ref().and_then(|sticky| identity(sticky, facts, view)) {
                Some(identity) => {
                    let best = nodes.into_iter().max_by(|a, b| {
                        let (a, b) = (rendezvous(&identity, a), rendezvous(&identity, b));
                        a.total_cmp(&b)
                    });
                    best.inspect(|node| why.push(Reason::Sticky { target: node.path() }))
                }
                None => by_weight(&nodes, unit(view.seed, &group.path), why),
            }
        }
        Strategy::LeastLatency | Strategy::LeastBusy | Strategy::LeastCost => {
            let nodes = closed(group, group.targets.iter().collect(), facts, view, why);
            least(&group.strategy, nodes, facts, view, why)
        }
    };
    chosen.ok_or(NoChild::Nothing)
}

/// Why a group has no target for a request.
pub(super) enum NoChild {
    /// No condition holds.
    NoMatch,
    /// There is nothing to choose from.
    Nothing,
}

fn conditional<'a>(
    group: &'a Group,
    conditions: &'a [Condition],
    default: Option<usize>,
    facts: &RequestFacts<'_>,
    why: &mut Vec<Reason<'a>>,
) -> Result<&'a Node, NoChild> {
    let held = conditions.iter().enumerate().find(|(_, c)| c.query.matches(facts));
    let (index, reason) = match (held, default) {
        (Some((index, c)), _) => {
            (Some(c.then), Reason::Condition { group: &group.path, index, query: &c.query })
        }
        (None, Some(default)) => (Some(default), Reason::Default { group: &group.path }),
        (None, None) => (None, Reason::NoMatch { group: &group.path }),
    };
    why.push(reason);
    index.and_then(|i| group.targets.get(i)).ok_or(NoChild::NoMatch)
}

/// Why a node is passed over; the lesser is the better to call all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Over {
    /// The provider's limits leave no room before then.
    Full(Timestamp),
    /// Its breaker is open.
    Open,
}

impl Over {
    pub(super) fn reason<'a>(self, target: &str) -> Reason<'a> {
        let target = target.to_owned();
        match self {
            Self::Full(until) => Reason::NoRoom { target, until },
            Self::Open => Reason::BreakerOpen { target },
        }
    }
}

/// The nodes that are not to be passed over. If all would be: those where there is room first; all of them if every
/// breaker is open.
fn closed<'a>(
    group: &'a Group,
    nodes: Vec<&'a Node>,
    facts: &RequestFacts<'_>,
    view: &View<'_>,
    why: &mut Vec<Reason<'a>>,
) -> Vec<&'a Node> {
    // A single target stays the one while its provider has no room: the call waits for it, or the provider decides.
    let counts = |over: &Over| *over == Over::Open || group.strategy != Strategy::Single;
    let judged: Vec<(&Node, Option<Over>)> =
        nodes.iter().map(|n| (*n, over(n, facts, view).filter(counts))).collect();
    let least = judged.iter().map(|(_, over)| *over).min().flatten();
    if least == Some(Over::Open) {
        why.push(Reason::BreakerBypassed { group: &group.path });
        return nodes;
    }
    let (rest, passed): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(_, over)| *over == least);
    why.extend(passed.into_iter().filter_map(|(n, over)| Some(over?.reason(n.path()))));
    rest.into_iter().map(|(node, _)| node).collect()
}

/// Whether a node is to be passed over, and why: a target whose breaker is open or whose provider has no room, a group
/// of which nothing else is left.
pub(super) fn over(node: &Node, facts: &RequestFacts<'_>, view: &View<'_>) -> Option<Over> {
    match node {
        Node::Target(target) if is_at(target, view, Availability::Open) => Some(Over::Open),
        Node::Target(target) => full_until(target, facts, view).map(Over::Full),
        Node::Group(group) => {
            let children = group.targets.iter().map(|n| over(n, facts, view));
            children.min().unwrap_or(Some(Over::Open))
        }
    }
}

/// From when on a target's provider has room for the request. None: now. Where a model is to be chosen, the room is
/// that of the chosen ones.
pub(super) fn full_until(target: &Target, facts: &RequestFacts<'_>, view: &View<'_>) -> Option<Timestamp> {
    let until = match target.choose {
        None => view.health.full_until(target, &Need::of(target, facts)),
        Some(_) => None,
    };
    until.filter(|until| *until > view.now)
}

/// Whether a target's breaker is in that state. A target without a breaker is always closed; where a model is to be
/// chosen, the breakers are those of the chosen ones' providers.
pub(super) fn is_at(target: &Target, view: &View<'_>, availability: Availability) -> bool {
    target.breaker.is_some()
        && target.choose.is_none()
        && view.health.standing(target).availability == availability
}

fn by_weight<'a>(nodes: &[&'a Node], point: f64, why: &mut Vec<Reason<'a>>) -> Option<&'a Node> {
    let sum: f64 = nodes.iter().map(|n| n.weight()).sum();
    let mut point = point * sum;
    let hit = nodes.iter().find(|node| {
        let inside = point < node.weight();
        point -= node.weight();
        inside
    });
    let chosen = hit.or(nodes.last()).copied()?;
    why.push(Reason::Weight { target: chosen.path(), share: chosen.weight() / sum });
    Some(chosen)
}

/// What requests that are alike have in common, for as long as they stay together. None: nothing makes this one like
/// any other.
///
/// The API key and the given fields as `field:value`, joined by `|`, as in Portkey. The time is cut into pieces of
/// `ttl`, at other moments for every identity, so that not all of them move at once.
fn identity(sticky: &Sticky, facts: &RequestFacts<'_>, view: &View<'_>) -> Option<String> {
    let mut parts: Vec<String> = facts.key_id.map(str::to_owned).into_iter().collect();
    for field in &sticky.hash_fields {
        let value = field.read(facts).map(Cow::into_owned);
        let text = match value {
            None | Some(serde_json::Value::Null) => continue,
            Some(serde_json::Value::String(text)) if text.is_empty() => continue,
            Some(serde_json::Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        parts.push(format!("{field}:{text}"));
    }
    if parts.is_empty() {
        return None;
    }
    let alike = parts.join("|");
    let ttl = crate::time::millis(sticky.ttl).max(1);
    let offset = number(&alike, "epoch") % ttl;
    let epoch = view.now.0.saturating_add(offset) / ttl;
    Some(format!("{alike}|{epoch}"))
}

/// The score of a node for an identity; the highest wins.
///
/// Weighted rendezvous hashing, `-weight / ln(hash)` with a hash from 0 to 1: each node wins its share of identities,
/// a changed weight moves only those that the change concerns, and who loses its node goes to its next best.
/// Source: Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005 (the logarithmic method).
fn rendezvous(identity: &str, node: &Node) -> f64 {
    // A name keeps its requests when targets are put in another order.
    let hash = number(identity, node.name().unwrap_or(node.path()));
    let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -node.weight() / unit.ln()
}

/// The first eight bytes of SHA-256 over two texts.
fn number(identity: &str, place: &str) -> u64 {
    let digest = Sha256::new().chain_update(identity).chain_update([0]).chain_update(place).finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn least<'a>(
    strategy: &Strategy,
    nodes: Vec<&'a Node>,
    facts: &RequestFacts<'_>,
    view: &View<'_>,
    why: &mut Vec<Reason<'a>>,
) -> Option<&'a Node> {
    let what = match strategy {
        Strategy::LeastLatency => "latency",
        Strategy::LeastBusy => "busy",
        _ => "cost",
    };
    let valued = nodes.into_iter().map(|node| (node, value(node, strategy, facts, view)));
    let chance = |node: &Node| unit(view.seed, node.path());
    let best = valued.min_by(|(a, left), (b, right)| {
        unknown_last(*left, *right).then_with(|| chance(a).total_cmp(&chance(b)))
    });
    best.map(|(node, value)| {
        why.push(Reason::Least { target: node.path(), what, value });
        node
    })
}

/// By value; what is unknown comes last.
pub(super) fn unknown_last(left: Option<f64>, right: Option<f64>) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        (left, right) => right.is_some().cmp(&left.is_some()),
    }
}

/// What a strategy compares: for a group, its best target's.
fn value(node: &Node, strategy: &Strategy, facts: &RequestFacts<'_>, view: &View<'_>) -> Option<f64> {
    let target = match node {
        Node::Target(target) => target,
        Node::Group(group) => {
            let values = group.targets.iter().filter_map(|n| value(n, strategy, facts, view));
            return values.min_by(f64::total_cmp);
        }
    };
    let chosen = target.choose.as_ref().map(|wanted| models::first(target, wanted, facts, view));
    let target = match &chosen {
        None => target,
        Some(chosen) => chosen.as_ref()?,
    };
    match strategy {
        Strategy::LeastLatency => view.health.standing(target).latency_ms,
        Strategy::LeastBusy => view.health.standing(target).in_flight.map(f64::from),
        _ => models::cost(target, facts, view),
    }
}

/// A number from 0 to 1, the same for the same seed and place.
pub(super) fn unit(seed: u64, place: &str) -> f64 {
    let mut hash = seed ^ 0x9e37_79b9_7f4a_7c15;
    for byte in place.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // SplitMix64's finalizer spreads neighbouring seeds.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
