//! What is left of a provider's limits now: its newest word, minus what was sent since, plus what has come back.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Left, Need, Quota, Said, Sent, Shown};
use crate::Timestamp;
use crate::breaker::Decayed;
use crate::time::millis;

/// Longest that a call waits for room, unless its retry policy heeds what providers ask for.
pub const MOST_WAIT: Duration = Duration::from_secs(10);

/// Shorter waits are not worth a schedule.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// Calls that wait for the same room come back over this time, not all at once.
pub const SPREAD: Duration = Duration::from_millis(500);

/// How long a word without a reset counts.
const NO_RESET: Duration = Duration::from_secs(5);

/// How long after its reset a word says something about the windows that follow.
const EXPIRES: Duration = Duration::from_secs(60);

/// Longest wait that a provider may ask of everybody.
const LONGEST_SHUT: Duration = Duration::from_secs(3600);

/// Sent calls that are remembered; the oldest are forgotten first.
const MOST_SENT: usize = 1024;

/// Tokens that an answer is taken to have before any was counted.
const USUAL_OUTPUT: u64 = 500;

/// After this long the tokens of an answer count half as much as those of a new one.
const OUTPUT_HALF_LIFE: Duration = Duration::from_secs(300);

/// The end of a limit has to move by this many milliseconds before it says anything: some providers round to seconds.
const SURE: u64 = 2000;

/// What is estimated to be left at a target for one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    newest: Option<Said>,
    /// Calls that were decided on until then are in what the newest word says.
    counted: Timestamp,
    sent: VecDeque<Sent>,
    ways: [Way; 4],
    output: Decayed,
    heard_at: Timestamp,
}

/// How a limit comes back, as the provider's words have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Way {
    /// The longest time until a reset that was said, in milliseconds: about the length of a window.
    window: u64,
    /// It comes back bit by bit, not at once.
    refills: bool,
    /// The word that later ones are compared with, and when it came.
    anchor: Option<(Timestamp, Left)>,
}

/// What is left of one limit, and when more comes.
struct Level {
    left: u64,
    more: More,
}

enum More {
    /// All of it at once.
    At(Timestamp),
    /// Bit by bit since then: `gone` takes `ms` to come back. Of what remained then, so much was used.
    Each { since: Timestamp, gone: u64, ms: u64, remaining: u64, used: u64 },
}

impl Estimate {
    /// Takes a provider's word in. The newest by when its call began counts, in whatever order they come.
    pub fn hear(&mut self, said: &Said) {
        self.heard_at = self.heard_at.max(said.at);
        for (way, left) in self.ways.iter_mut().zip(said.quota.each()) {
            if let Some(left) = left {
                way.learn(said.at, left);
            }
        }
        self.counted = self.counted.max(said.decided_at);
        let counted = self.counted;
        self.sent.retain(|sent| sent.at > counted);
        let mut said = *said;
        said.shut_until = said.shut_until.map(|until| until.min(said.at.plus(LONGEST_SHUT)));
        match &mut self.newest {
            Some(newest) if *newest >= said => {}
            Some(newest) => {
                // A 429 may say nothing but how long to wait.
                if said.quota == Quota::default() {
                    said.quota = said_before(newest, said.at);
                }
                *newest = said;
            }
            None => self.newest = Some(said),
        }
    }

    /// Notes how many tokens an answer had.
    pub fn answered(&mut self, output: u64, at: Timestamp) {
        self.output.add(output as f64, 1, at, OUTPUT_HALF_LIFE);
    }

    /// A call as it is counted at a time.
    pub fn call(&self, need: &Need<'_>, at: Timestamp) -> Sent {
        let mean = || self.output.mean().map_or(USUAL_OUTPUT, |mean| mean.round() as u64);
        Sent { at, input: need.input, output: need.output.unwrap_or_else(mean) }
    }

    /// Counts a call that is being sent.
    pub fn send(&mut self, call: Sent) {
        self.heard_at = self.heard_at.max(call.at);
        if call.at <= self.counted {
            return;
        }
        if self.sent.len() >= MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(call);
    }

    /// A call that was counted was not sent after all.
    pub fn take_back(&mut self, call: &Sent) {
        if let Some(place) = self.sent.iter().rposition(|sent| sent == call) {
            self.sent.remove(place);
        }
    }

    /// Whether the provider has said anything, so that others want to know what is sent.
    pub fn is_known(&self) -> bool {
        self.newest.is_some()
    }

    /// When something was last heard or sent.
    pub fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    /// Whether nothing is worth keeping any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let resets = self.newest.and_then(|said| said.resets_at()).unwrap_or_default();
        now.since(self.heard_at.max(resets)) > EXPIRES
    }

    /// From when on there is room for a call. None: now, as far as anybody knows.
    pub fn full_until(&self, need: &Need<'_>, now: Timestamp) -> Option<Timestamp> {
        let said = self.newest.as_ref()?;
        let call = self.call(need, now);
        let limits = (0..4).filter_map(|which| {
            let limit = said.quota.each()[which]?.limit;
            let level = self.level(which, now)?;
            // What is larger than the whole limit needs all of it, and the provider's word.
            let wanted = limit.map_or(call.costs(which), |limit| call.costs(which).min(limit));
            (level.left < wanted).then(|| level.more.reaches(wanted))
        });
        limits.chain(said.shut_until).filter(|until| *until > now).max()
    }

    /// What is left of a limit. None: nothing is known, or it is too old.
    fn level(&self, which: usize, now: Timestamp) -> Option<Level> {
        let (said, way) = (self.newest.as_ref()?, &self.ways[which]);
        let left = said.quota.each()[which]?;
        let used = |after: Timestamp| -> u64 {
            let sent = self.sent.iter().filter(|sent| sent.at > after);
            sent.map(|sent| sent.costs(which)).fold(0, u64::saturating_add)
        };
        let Some(reset) = left.reset_ms else {
            let end = said.at.plus(NO_RESET);
            let left = left.remaining.saturating_sub(used(self.counted));
            return (now < end).then_some(Level { left, more: More::At(end) });
        };
        let end = said.at.plus(Duration::from_millis(reset));
        if now.since(end) > EXPIRES {
            return None;
        }
        let gone = left.limit.map_or(0, |limit| limit.saturating_sub(left.remaining));
        if let (true, true, true, Some(limit)) = (way.refills, gone > 0, reset > 0, left.limit) {
            let back = share(gone, millis(now.since(said.at)), reset);
            let (remaining, used) = (left.remaining, used(self.counted));
            let level = remaining.saturating_add(back).saturating_sub(used).min(limit);
            let more = More::Each { since: said.at, gone, ms: reset, remaining, used };
            return Some(Level { left: level, more });
        }
        if now < end {
            let left = left.remaining.saturating_sub(used(self.counted));
            return Some(Level { left, more: More::At(end) });
        }
        let window = way.window.max(1);
        let begun = end.0 + millis(now.since(end)) / window * window;
        // The head of the answer came some time after the provider wrote it, so the window may have begun earlier.
        let slack = millis(said.at.since(said.started_at)).saturating_add(1);
        let used = used(Timestamp(begun.saturating_sub(slack)).max(self.counted));
        let more = More::At(Timestamp(begun.saturating_add(window)));
        Some(Level { left: left.limit?.saturating_sub(used), more })
    }

    /// The estimate as it is shown. None: nothing is known.
    pub fn show(&self, model: Option<&str>, now: Timestamp) -> Option<Shown> {
        let said = self.newest.as_ref()?;
        let left = |which| self.level(which, now).map(|level| level.left);
        let shown = Shown {
            model: model.map(str::to_owned),
            requests: left(0),
            tokens: (1..4).filter_map(left).min(),
            resets_at: said.resets_at().filter(|at| *at > now),
            shut_until: said.shut_until.filter(|until| *until > now),
        };
        (shown.requests.is_some() || shown.tokens.is_some() || shown.shut_until.is_some()).then_some(shown)
    }
}

/// What an earlier word still says at a later time: as before, with less time until the reset.
fn said_before(earlier: &Said, now: Timestamp) -> Quota {
    let passed = millis(now.since(earlier.at));
    let later = |left: Option<Left>| {
        let left = left?;
        let reset_ms = left.reset_ms?.checked_sub(passed)?;
        Some(Left { reset_ms: Some(reset_ms), ..left })
    };
    let Quota { requests, tokens, input_tokens, output_tokens } = earlier.quota;
    Quota {
        requests: later(requests),
        tokens: later(tokens),
        input_tokens: later(input_tokens),
        output_tokens: later(output_tokens),
    }
}

/// `amount · part ÷ whole`, rounded down.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(amount) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl More {
    /// When so much is there.
    fn reaches(&self, wanted: u64) -> Timestamp {
        match *self {
            Self::At(at) => at,
            Self::Each { since, gone, ms, remaining, used } => {
                let missing = wanted.saturating_add(used).saturating_sub(remaining);
                let wait = (u128::from(missing) * u128::from(ms)).div_ceil(u128::from(gone.max(1)));
                since.plus(Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX)))
            }
        }
    }
}

impl Said {
    fn resets_at(&self) -> Option<Timestamp> {
        let resets = self.quota.each().into_iter().flatten().filter_map(|left| left.reset_ms);
        resets.max().map(|ms| self.at.plus(Duration::from_millis(ms)))
    }
}

impl Sent {
    /// What it takes of a limit.
    fn costs(&self, which: usize) -> u64 {
        [1, self.input.saturating_add(self.output), self.input, self.output][which]
    }
}

impl Way {
    /// Tells a window from a bucket. The end of a window stays where it is however much is used; a bucket is full
    /// again the later the more is used.
    fn learn(&mut self, at: Timestamp, left: Left) {
        let Some(reset) = left.reset_ms else { return };
        self.window = self.window.max(reset);
        let Some((before, anchor)) = self.anchor else {
            self.anchor = Some((at, left));
            return;
        };
        let end = before.plus(Duration::from_millis(anchor.reset_ms.unwrap_or(0)));
        let gone = anchor.limit.map_or(0, |limit| limit.saturating_sub(anchor.remaining));
        if at < before {
            return;
        }
        if at >= end || left.remaining > anchor.remaining || gone == 0 {
            self.anchor = Some((at, left));
            return;
        }
        let each = share(anchor.remaining - left.remaining, anchor.reset_ms.unwrap_or(0), gone);
        let expected = millis(at.since(before)).saturating_add(each);
        if expected >= SURE {
            let moved = millis(at.plus(Duration::from_millis(reset)).since(end));
            self.refills = moved.saturating_mul(2) >= expected;
            self.anchor = Some((at, left));
        }
    }
}
