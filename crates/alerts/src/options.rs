//! What the role is told.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::alert::Rule;

use crate::channel::Channel;

/// What the role is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often rules are judged.
    pub every: Duration,
    /// How long a notice is offered to a channel that does not take it.
    pub patience: Duration,
    /// What is watched.
    pub rules: Vec<Rule>,
    /// Who is told, by name.
    pub channels: BTreeMap<String, Channel>,
}
