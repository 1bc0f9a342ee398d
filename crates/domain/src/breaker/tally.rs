//! Everything that is known about one target: its circuits, its speed, its last error.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Circuit, Observation, Policy, State};
use crate::health::{
    Availability, CircuitHealth, Cooling, LastError, Record, Reset, SharedCircuit, TargetHealth,
};
use crate::{Fault, Timestamp};

/// After this long a latency counts half as much as a new one.
pub const LATENCY_HALF_LIFE: Duration = Duration::from_secs(30);

/// Longest wait that a provider may ask of everybody.
const LONGEST_COOLING: Duration = Duration::from_secs(3600);

/// Policies that are kept per target; a new one takes the place of the one that was unused for longest.
const MOST_CIRCUITS: usize = 64;

/// A mean in which older values weigh less: Σ xᵢ·2^(−ageᵢ/h) ÷ Σ 2^(−ageᵢ/h) with the half-life h. Values of the same
/// time may come in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decayed {
    sum: f64,
    weight: f64,
    at: Timestamp,
}

impl Decayed {
    /// Adds `count` values with this mean.
    pub fn add(&mut self, mean: f64, count: u32, at: Timestamp, half_life: Duration) {
        let fade = |age: Duration| (-age.as_secs_f64() / half_life.as_secs_f64()).exp2();
        let (old, new) = (fade(at.since(self.at)), fade(self.at.since(at)));
        let added = f64::from(count) * new;
        self.sum = self.sum * old + mean * added;
        self.weight = self.weight * old + added;
        self.at = self.at.max(at);
    }

    /// The mean. None: there is no value, or all are too old to matter.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 1e-9).then(|| self.sum / self.weight)
    }
}

/// Everything that is known about one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    circuits: BTreeMap<Policy, Circuit>,
    cooling: Option<Cooling>,
    reset: Option<Reset>,
    latency: Decayed,
    last_error: Option<LastError>,
    last_success: Timestamp,
    /// Failures of the target since it last succeeded.
    failing: u32,
}

impl Tally {
    /// Takes observations in. Those that ended at the same time may come in any order.
    pub fn observe(&mut self, observations: &[Observation]) {
        let mut sorted: Vec<&Observation> = observations.iter().filter(|seen| self.concerns(seen)).collect();
        sorted.sort_by_key(|seen| seen.at);
        for instant in sorted.chunk_by(|a, b| a.at == b.at) {
            for policy in instant.iter().filter_map(|seen| seen.policy.as_ref()) {
                self.know(policy, instant[0].at);
            }
            for (policy, circuit) in &mut self.circuits {
                circuit.observe(policy, instant);
            }
            instant.iter().for_each(|seen| self.note(seen));
        }
    }

    /// What began before a reset says nothing any more.
    fn concerns(&self, seen: &Observation) -> bool {
        self.reset.as_ref().is_none_or(|reset| seen.started_at >= reset.at)
    }

    fn know(&mut self, policy: &Policy, at: Timestamp) {
        if !self.circuits.contains_key(policy) && self.circuits.len() >= MOST_CIRCUITS {
            let unused = self.circuits.iter().min_by_key(|(_, c)| (c.opened.is_some(), c.seen_at));
            if let Some(unused) = unused.map(|(policy, _)| policy.clone()) {
                self.circuits.remove(&unused);
            }
        }
        let circuit = self.circuits.entry(policy.clone()).or_default();
        circuit.seen_at = circuit.seen_at.max(at);
    }

    fn note(&mut self, seen: &Observation) {
        if let Some(ms) = seen.latency_ms {
            self.latency.add(ms, seen.count, seen.at, LATENCY_HALF_LIFE);
        }
        if let (Some(Fault::RateLimit), Some(ms)) = (seen.fault, seen.retry_after_ms) {
            let until = seen.at.plus(Duration::from_millis(ms).min(LONGEST_COOLING));
            let asked = Cooling { at: seen.at, until };
            self.cooling = self.cooling.max(Some(asked));
        }
        match seen.fault {
            None => {
                self.last_success = self.last_success.max(seen.at);
                self.failing = 0;
            }
            Some(fault) => {
                let error = LastError { at: seen.at, fault, status: seen.status };
                self.last_error = self.last_error.max(Some(error));
                if fault.is_providers() || fault == Fault::Auth {
                    self.failing = self.failing.saturating_add(seen.count);
                }
            }
        }
    }

    /// Whether a target may be called under a policy.
    pub fn state(&self, policy: &Policy, now: Timestamp) -> State {
        let state = self.circuits.get(policy).map_or(State::Closed, |circuit| circuit.state(now));
        match self.cooling {
            Some(cooling) if now < cooling.until => match state {
                State::Open { until } => State::Open { until: until.max(cooling.until) },
                _ => State::Open { until: cooling.until },
            },
            _ => state,
        }
    }

    /// Mean time to the first byte, in milliseconds.
    pub fn latency_ms(&self) -> Option<f64> {
        self.latency.mean()
    }

    /// When something was last heard of the target.
    pub fn heard_at(&self) -> Timestamp {
        self.last_error.map_or(self.last_success, |error| error.at.max(self.last_success))
    }

    /// Circuits that a refused credential opened are closed: there is another credential now. Returns whether any was.
    pub fn credential_changed(&mut self, now: Timestamp) -> bool {
        let refused = |circuit: &&mut Circuit| circuit.opened.is_some_and(|o| o.fault == Fault::Auth);
        let mut changed = false;
        for circuit in self.circuits.values_mut().filter(refused) {
            circuit.close(now);
            changed = true;
        }
        changed
    }

    /// Whether requests are kept away from the target, or were until lately.
    pub fn matters(&self, now: Timestamp) -> bool {
        self.circuits.values().any(|c| c.opened.is_some()) || self.cooling.is_some_and(|c| now < c.until)
    }

    /// What others have to know.
    pub fn record(&self) -> Record {
        let changed = self.circuits.iter().filter(|(_, circuit)| circuit.changed_at > Timestamp(0));
        let circuits = changed.map(|(policy, circuit)| SharedCircuit {
            policy: policy.clone(),
            changed_at: circuit.changed_at,
            opened: circuit.opened,
        });
        Record { circuits: circuits.collect(), cooling: self.cooling, reset: self.reset.clone() }
    }

    /// Takes over what others know and is newer.
    pub fn adopt(&mut self, record: &Record) {
        if record.reset > self.reset {
            let at = record.reset.as_ref().map_or(Timestamp(0), |reset| reset.at);
            self.reset.clone_from(&record.reset);
            self.circuits.retain(|_, circuit| circuit.changed_at > at);
            self.cooling = self.cooling.filter(|cooling| cooling.at > at);
            self.last_error = self.last_error.filter(|error| error.at > at);
            self.failing = 0;
        }
        let reset = self.reset.as_ref().map(|reset| reset.at);
        let counts = |at: Timestamp| reset.is_none_or(|reset| at > reset);
        for shared in record.circuits.iter().filter(|shared| counts(shared.changed_at)) {
            self.know(&shared.policy, shared.changed_at);
            let Some(circuit) = self.circuits.get_mut(&shared.policy) else { continue };
            if shared.rank() > (circuit.changed_at, circuit.opened.map(|o| o.until)) {
                circuit.changed_at = shared.changed_at;
                circuit.opened = shared.opened;
                circuit.window = None;
            }
        }
        self.cooling = self.cooling.max(record.cooling.filter(|cooling| counts(cooling.at)));
    }

    /// The state as it is shown: the worst of all policies' views.
    pub fn show(&self, target: &str, now: Timestamp, in_flight: Option<u32>) -> TargetHealth {
        let circuits: Vec<CircuitHealth> =
            self.circuits.iter().map(|(policy, circuit)| shown(policy, circuit, now)).collect();
        let cooling = self.cooling.filter(|cooling| now < cooling.until);
        let worst = circuits.iter().max_by_key(|circuit| (circuit.state, circuit.until));
        let worst = worst.filter(|circuit| circuit.state != Availability::Closed);
        let mut health = TargetHealth {
            target: target.to_owned(),
            state: worst.map_or(Availability::Closed, |circuit| circuit.state),
            since: worst.and_then(|circuit| circuit.since),
            until: worst.and_then(|circuit| circuit.until),
            reason: worst.and_then(|circuit| circuit.reason),
            failures: circuits.iter().map(|c| c.failures).fold(self.failing, u32::max),
            last_error: self.last_error,
            latency_ms: self.latency_ms(),
            in_flight,
            reset: self.reset.clone(),
            limits: Vec::new(),
            circuits,
        };
        if let Some(cooling) =
            cooling.filter(|cooling| health.until.is_none_or(|until| until < cooling.until))
        {
            health.state = Availability::Open;
            health.since = Some(cooling.at);
            health.until = Some(cooling.until);
            health.reason = Some(Fault::RateLimit);
        }
        health
    }
}

fn shown(policy: &Policy, circuit: &Circuit, now: Timestamp) -> CircuitHealth {
    CircuitHealth {
        policy: policy.clone(),
        state: circuit.state(now).availability(),
        since: circuit.opened.map(|opened| opened.at),
        until: circuit.opened.map(|opened| opened.until),
        reason: circuit.opened.map(|opened| opened.fault),
        failures: circuit.opened.map_or(circuit.window.map_or(0, |w| w.failures), |opened| opened.failures),
        successes: circuit.window.map_or(0, |window| window.successes),
    }
}
