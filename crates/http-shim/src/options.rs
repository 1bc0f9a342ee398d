//! What a gateway process is told by its settings.

use std::time::Duration;

use bus::identity::Access;

/// What becomes of a request whose caller went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is cancelled, the provider call included.
    #[default]
    Cancel,
    /// It goes on; its result can be read by id.
    Finish,
}

/// What a gateway process is told by its settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// How access is controlled.
    pub access: Access,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// What becomes of a request whose caller went away.
    pub on_disconnect: OnDisconnect,
    /// Time a request may take that somebody waits for, unless it says otherwise.
    pub interactive: Duration,
    /// Time a request may take that nobody waits for, unless it says otherwise.
    pub asynchronous: Duration,
    /// Longest time a request may ask for.
    pub maximum: Duration,
    /// Hosts that a caller may name although they are not public.
    pub trusted_hosts: Vec<String>,
    /// Shortest cooldown that a config's breaker may have.
    pub shortest_cooldown: Duration,
    /// Share of the broker's storage, in percent, above which nothing new is accepted.
    pub storage_percent: u8,
    /// How long new connections are still accepted after the order to stop, so that balancers can notice.
    pub drain_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: Access::default(),
            body_limit: 64 * 1024 * 1024,
            on_disconnect: OnDisconnect::default(),
            interactive: Duration::from_secs(600),
            asynchronous: Duration::from_secs(24 * 3600),
            maximum: Duration::from_secs(7 * 24 * 3600),
            shortest_cooldown: domain::breaker::SHORTEST_COOLDOWN,
            trusted_hosts: domain::host::DEFAULT_TRUSTED.iter().map(|host| (*host).to_owned()).collect(),
            storage_percent: 70,
            drain_grace: Duration::from_secs(1),
        }
    }
}
