//! What decisions about a config's requests have to know of them.

use std::collections::BTreeSet;

use super::condition::Root;
use super::{Node, Strategy};

/// What decisions look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Needs {
    pub(super) body: bool,
    pub(super) metadata: bool,
    pub(super) headers: Vec<String>,
}

pub(super) fn of(root: &Node) -> Needs {
    let (mut needs, mut headers) = (Needs::default(), BTreeSet::new());
    add(root, &mut needs, &mut headers);
    needs.headers = headers.into_iter().collect();
    needs
}

fn add(node: &Node, needs: &mut Needs, headers: &mut BTreeSet<String>) {
    let group = match node {
        // Estimates of cost go by the longest answer that the body allows.
        Node::Target(target) => return needs.body |= target.choose.is_some(),
        Node::Group(group) => group,
    };
    needs.body |= group.strategy == Strategy::LeastCost;
    let fields = match &group.strategy {
        Strategy::Conditional { conditions, .. } => {
            conditions.iter().flat_map(|c| c.query.fields()).collect()
        }
        Strategy::LoadBalance { sticky: Some(sticky) } => sticky.hash_fields.iter().collect(),
        _ => Vec::new(),
    };
    for field in fields {
        match field.root() {
            Root::Params(_) => needs.body = true,
            Root::Metadata(_) => needs.metadata = true,
            Root::Header(name) => {
                headers.insert(name.clone());
            }
            _ => {}
        }
    }
    group.targets.iter().for_each(|child| add(child, needs, headers));
}
