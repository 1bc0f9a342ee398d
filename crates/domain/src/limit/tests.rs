//! Windows at their edges, amounts in every kind of attempt, and many routers on one account.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::account::Amounts;
use super::*;
use crate::Usage;
use crate::event::Level as Crossing;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Milliseconds of a moment of UTC.
fn at(text: &str) -> Timestamp {
    let moment = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap();
    Timestamp(u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap())
}

fn limit(unit: Unit, window: Window, cap: u64) -> Limit {
    Limit {
        level: Level::ApiKey,
        owner: "k1".to_owned(),
        unit,
        window,
        cap,
        alert_at: None,
        soft: false,
        unreachable: Unreachable::Closed,
        emails: Vec::new(),
    }
}

#[track_caller]
fn runs(reset: Reset, now: &str, begin: &str, end: &str) {
    let window = Window::Fixed(reset);
    assert_eq!(window.slot(at(now)), Slot(at(begin).0), "begin");
    assert_eq!(window.resets_at(at(now)), Some(at(end)), "end");
}

#[test]
fn budgets_begin_anew_at_midnight_utc() {
    runs(Reset::Daily, "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
    runs(Reset::Daily, "2026-11-21T23:59:59.999Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
    // A Monday, and the Sunday before it.
    runs(Reset::Weekly, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    runs(Reset::Weekly, "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
    runs(Reset::Monthly, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    runs(Reset::Monthly, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    // Where clocks change, in March and November, nothing changes here: the day has 24 hours.
    runs(Reset::Daily, "2026-03-29T01:30:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z");
    let days = Reset::Days { days: 10, from: at("2026-11-05T06:00:00Z") };
    runs(days, "2026-11-05T06:00:00Z", "2026-11-05T06:00:00Z", "2026-11-15T06:00:00Z");
    runs(days, "2026-11-05T05:59:59Z", "2026-10-26T06:00:00Z", "2026-11-05T06:00:00Z");
    assert_eq!(Window::Fixed(Reset::Never).resets_at(at("2026-11-21T00:00:00Z")), None);
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        prop::sample::select(PERIODS.to_vec()).prop_map(|(_, period)| Window::Sliding(period)),
        Just(Window::Fixed(Reset::Daily)),
        Just(Window::Fixed(Reset::Weekly)),
        Just(Window::Fixed(Reset::Monthly)),
        (1..366u16, 0..4_000_000_000_000u64)
            .prop_map(|(days, from)| Window::Fixed(Reset::Days { days, from: Timestamp(from) })),
        Just(Window::Fixed(Reset::Never)),
        Just(Window::Held),
    ]
}

proptest! {
    #[test]
    fn what_is_used_counts_for_a_period_and_at_most_a_slot_longer(window in windows(), now in 0..4_000_000_000_000u64) {
        let now = Timestamp(now);
        let slot = window.slot(now);
        prop_assert!(window.counts(slot, now));
        if let Some(leaves) = window.leaves(slot) {
            prop_assert!(leaves > now);
            prop_assert!(window.counts(slot, Timestamp(leaves.0 - 1)));
            prop_assert!(!window.counts(slot, leaves));
            if let Window::Sliding(period) = window {
                prop_assert!(leaves >= now.plus(period));
                prop_assert!(leaves.since(now) <= period + period / 20 + Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn windows_follow_one_another_without_gap(window in windows(), now in 0..4_000_000_000_000u64) {
        let now = Timestamp(now);
        let Some(end) = window.resets_at(now) else { return Ok(()) };
        prop_assert!(end > now);
        prop_assert_eq!(window.slot(Timestamp(end.0 - 1)), window.slot(now));
        prop_assert_eq!(window.slot(end), Slot(end.0));
        prop_assert!(end.0 - now.0 <= 366 * DAY);
    }

    /// A clock that goes back must not make room.
    #[test]
    fn what_was_used_in_the_future_counts(window in windows(), now in DAY..4_000_000_000_000u64, back in 0..DAY) {
        let slot = window.slot(Timestamp(now));
        prop_assert!(window.counts(slot, Timestamp(now - back)));
    }
}

fn attempt(error: Option<ErrorClass>, usage: Option<(u64, u64)>, cost: Option<u64>) -> Attempt {
    let usage = usage.map(|(input, output)| Usage { input, output, ..Usage::default() });
    let status = Some(if error.is_none() { 200 } else { 500 });
    let now = Timestamp(1);
    Attempt { error, usage, status, cost: cost.map(NanoUsd), ..Attempt::new(1, "config", "p", now, now) }
}

#[test]
fn calls_use_what_the_provider_reports_and_all_where_nobody_knows() {
    let held = |unit| Held { bucket: "b".to_owned(), slot: Slot(0), unit, amount: 100, soft: false };
    let check = |unit: Unit, attempt: &Attempt, used: u64| {
        assert_eq!(held(unit).used_by(attempt), used, "{unit} {:?}", attempt.error);
    };
    let answered = attempt(None, Some((7, 3)), Some(42));
    for (unit, used) in [
        (Unit::Cost, 42),
        (Unit::Tokens, 10),
        (Unit::InputTokens, 7),
        (Unit::OutputTokens, 3),
        (Unit::Requests, 1),
        (Unit::Concurrent, 0),
    ] {
        check(unit, &answered, used);
    }
    check(Unit::Cost, &attempt(None, Some((700, 300)), Some(4200)), 4200);
    check(Unit::Cost, &attempt(None, None, None), 100);
    check(Unit::Cost, &attempt(Some(ErrorClass::ServerError), None, None), 0);
    check(Unit::Cost, &attempt(Some(ErrorClass::RateLimit), Some((7, 0)), Some(5)), 5);
    for lost in [ErrorClass::Lost, ErrorClass::Timeout, ErrorClass::Broken, ErrorClass::Cancelled] {
        check(Unit::Tokens, &attempt(Some(lost), None, None), 100);
    }
    for never in [ErrorClass::QueueFull, ErrorClass::Shutdown, ErrorClass::Unusable, ErrorClass::Limited] {
        check(Unit::Requests, &attempt(Some(never), None, None), 0);
        check(Unit::Cost, &attempt(Some(never), None, None), 0);
    }
    let guessed = Attempt { estimated: true, ..attempt(Some(ErrorClass::Broken), Some((7, 3)), Some(42)) };
    check(Unit::Cost, &guessed, 100);
    let counted = Attempt { estimated: true, ..attempt(None, Some((7, 3)), Some(42)) };
    check(Unit::Cost, &counted, 42);
}

/// One more amount for a router: from what it has, else from the account.
fn admit(
    account: &mut Account,
    local: &mut Local,
    by: &str,
    amount: u64,
    limit: &Limit,
    now: Timestamp,
) -> Option<Slot> {
    match local.take(amount, &limit.window, now) {
        Take::Taken(slot) => return Some(slot),
        Take::Short(least, most) => {
            let change = local.compose(Some((least, most)), 0, &limit.window, now);
            let given = account.apply(by, &change, limit, now);
            local.written(given);
        }
    }
    match local.take(amount, &limit.window, now) {
        Take::Taken(slot) => Some(slot),
        Take::Short(..) => None,
    }
}

#[test]
fn a_sliding_window_opens_when_its_uses_leave() {
    let minute = limit(Unit::Requests, Window::Sliding(Duration::from_secs(60)), 5);
    let (mut account, mut local) = (Account::new("b", &minute), Local::default());
    let start = Timestamp(1_000_000_000);
    for second in 0..5 {
        let now = Timestamp(start.0 + second * 1000);
        let slot = admit(&mut account, &mut local, "r", 1, &minute, now).unwrap();
        local.settle(slot, 1, 1);
    }
    let now = Timestamp(start.0 + 30_000);
    assert_eq!(admit(&mut account, &mut local, "r", 1, &minute, now), None);
    let opens = account.opens_at(1, minute.cap, now).unwrap();
    assert!((60_000..=63_000).contains(&(opens.0 - start.0)), "{}", opens.0 - start.0);
    assert!(admit(&mut account, &mut local, "r", 1, &minute, opens).is_some());
    assert_eq!(account.opens_at(6, minute.cap, now), None);
}

#[test]
fn budgets_tell_of_their_threshold_and_their_end_once() {
    let budget = Limit { alert_at: Some(80), ..limit(Unit::Tokens, Window::Fixed(Reset::Daily), 100) };
    let mut account = Account::new("b", &budget);
    let now = Timestamp(DAY * 20_000);
    let slot = budget.window.slot(now);
    let mut spend = |amount: u64, wanted: Option<(u64, u64)>, now: Timestamp| {
        let slot = budget.window.slot(now);
        let settled = BTreeMap::from([(slot, Settled { granted: amount, used: amount })]);
        account.apply("r", &Change { settled, wanted, ..Change::default() }, &budget, now).crossed
    };
    assert_eq!(spend(79, None, now), None);
    assert_eq!(spend(1, None, now), Some(Crossing::Threshold));
    assert_eq!(spend(5, None, now), None);
    assert_eq!(spend(0, Some((16, 16)), now), Some(Crossing::Exhausted));
    assert_eq!(spend(15, Some((16, 16)), now), None);
    let tomorrow = Timestamp(now.0 + DAY);
    assert_ne!(budget.window.slot(tomorrow), slot);
    assert_eq!(spend(80, None, tomorrow), Some(Crossing::Threshold));
}

#[test]
fn grants_shrink_to_the_need_near_the_cap() {
    let budget = limit(Unit::Cost, Window::Fixed(Reset::Never), 1000);
    let mut account = Account::new("b", &budget);
    let now = Timestamp(5);
    let mut want = |least, most| {
        let change = Change { wanted: Some((least, most)), ..Change::default() };
        let given = account.apply("r", &change, &budget, now);
        (given.granted, given.left)
    };
    assert_eq!(want(10, 500), (250, 750));
    assert_eq!(want(10, 50), (50, 700));
    assert_eq!(want(600, 900), (600, 100));
    assert_eq!(want(60, 900), (60, 40));
    assert_eq!(want(41, 41), (0, 40));
}

/// What happens in a simulated installation.
#[derive(Clone, Debug)]
enum Step {
    Admit {
        router: usize,
        amount: u64,
    },
    /// The oldest call of a router ends, having used so many percent of what was set aside.
    Finish {
        router: usize,
        percent: u64,
    },
    Flush {
        router: usize,
    },
    Recall {
        router: usize,
    },
    /// A router is killed; its calls go on, and another takes its place.
    Kill {
        router: usize,
    },
    /// What killed routers left is settled.
    Reclaim,
    Pass {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let router = 0..3usize;
    let step = prop_oneof![
        6 => (router.clone(), 1..40u64).prop_map(|(router, amount)| Step::Admit { router, amount }),
        5 => (router.clone(), 0..=100u64).prop_map(|(router, percent)| Step::Finish { router, percent }),
        2 => router.clone().prop_map(|router| Step::Flush { router }),
        1 => router.clone().prop_map(|router| Step::Recall { router }),
        1 => router.prop_map(|router| Step::Kill { router }),
        1 => Just(Step::Reclaim),
        2 => (1..5000u64).prop_map(|ms| Step::Pass { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

struct Call {
    by: String,
    router: usize,
    slot: Slot,
    amount: u64,
}

/// An event of a call that ended: position, router, slot, set aside, used.
type Ended = (u64, String, Slot, u64, u64);

struct Installation {
    limit: Limit,
    account: Account,
    routers: Vec<(String, Local)>,
    calls: Vec<Call>,
    events: Vec<Ended>,
    dead: Vec<String>,
    born: usize,
    now: Timestamp,
    /// What calls really used, and when they were admitted.
    truth: Vec<(Timestamp, u64)>,
}

impl Installation {
    fn new(limit: Limit) -> Self {
        let routers = (0..3).map(|n| (format!("r{n}"), Local::default())).collect();
        Self {
            account: Account::new("b", &limit),
            limit,
            routers,
            calls: Vec::new(),
            events: Vec::new(),
            dead: Vec::new(),
            born: 3,
            now: Timestamp(DAY * 20_000),
            truth: Vec::new(),
        }
    }

    fn position(&self) -> u64 {
        self.events.len() as u64
    }

    fn take(&mut self, step: &Step) {
        let through = self.position();
        match *step {
            Step::Admit { router, amount } => {
                let (name, local) = &mut self.routers[router];
                let name = name.clone();
                if let Take::Short(least, most) = local.take(amount, &self.limit.window, self.now) {
                    let change = local.compose(Some((least, most)), through, &self.limit.window, self.now);
                    let given = self.account.apply(&name, &change, &self.limit, self.now);
                    local.written(given);
                    match local.take(amount, &self.limit.window, self.now) {
                        Take::Taken(slot) => self.call(name, router, slot, amount),
                        Take::Short(..) => {}
                    }
                } else {
                    let slot = self.limit.window.slot(self.now);
                    self.call(name, router, slot, amount);
                }
            }
            Step::Finish { router, percent } => self.finish(router, percent),
            Step::Flush { router } => self.flush(router, false),
            Step::Recall { router } => self.flush(router, true),
            Step::Kill { router } => {
                self.born += 1;
                let new = (format!("r{}", self.born), Local::default());
                let (name, _) = std::mem::replace(&mut self.routers[router], new);
                self.dead.push(name);
            }
            Step::Reclaim => self.reclaim(),
            Step::Pass { ms } => self.now = self.now.plus(Duration::from_millis(ms)),
        }
    }

    fn call(&mut self, by: String, router: usize, slot: Slot, amount: u64) {
        self.calls.push(Call { by, router, slot, amount });
    }

    fn finish(&mut self, router: usize, percent: u64) {
        let Some(index) = self.calls.iter().position(|call| call.router == router) else { return };
        let call = self.calls.remove(index);
        let used = call.amount * percent / 100;
        self.events.push((self.position() + 1, call.by.clone(), call.slot, call.amount, used));
        self.truth.push((self.now, used));
        if let Some((_, local)) = self.routers.iter_mut().find(|(name, _)| *name == call.by) {
            local.settle(call.slot, call.amount, used);
        }
    }

    fn flush(&mut self, router: usize, recall: bool) {
        let through = self.position();
        let (name, local) = &mut self.routers[router];
        let change = if recall {
            local.compose_recall(through)
        } else {
            local.compose(None, through, &self.limit.window, self.now)
        };
        local.written(self.account.apply(&name.clone(), &change, &self.limit, self.now));
    }

    fn reclaim(&mut self) {
        for name in self.dead.clone() {
            let Some(grant) = self.account.grants.get(&name) else { continue };
            let mut found = Outstanding::default();
            for call in self.calls.iter().filter(|call| call.by == name) {
                *found.held.entry(call.slot).or_default() += call.amount;
            }
            for (_, _, slot, _, used) in
                self.events.iter().filter(|(at, by, ..)| *by == name && *at > grant.through)
            {
                *found.used.entry(*slot).or_default() += used;
            }
            self.account.reclaim(&name, &found, self.position());
        }
    }

    /// What is used and what may yet be used never exceeds the cap.
    fn check(&self) {
        let taken = self.account.used(self.now) + self.account.granted(self.now);
        assert!(taken <= self.limit.cap, "{taken} of {}: {:?}", self.limit.cap, self.account);
    }

    /// Everything ends and is written.
    fn settle_all(&mut self) {
        while let Some(router) = self.calls.first().map(|call| call.router) {
            self.finish(router, 50);
        }
        self.reclaim();
        (0..3).for_each(|router| self.flush(router, true));
    }
}

fn total(amounts: &Amounts) -> u64 {
    amounts.values().sum()
}

proptest! {
    #[test]
    fn no_interleaving_of_routers_and_kills_exceeds_a_budget(steps in steps(), cap in 0..400u64) {
        let mut world = Installation::new(limit(Unit::Cost, Window::Fixed(Reset::Never), cap));
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.settle_all();
        let used: u64 = world.truth.iter().map(|(_, used)| used).sum();
        prop_assert!(used <= cap);
        // Nothing is lost of what was used, and nothing stays set aside.
        prop_assert_eq!(total(&world.account.used), used);
        prop_assert_eq!(world.account.granted(world.now), 0, "{:?}", world.account.grants);
    }

    #[test]
    fn no_interleaving_exceeds_a_rate_in_any_period(steps in steps(), cap in 1..200u64) {
        let period = Duration::from_secs(10);
        let mut world = Installation::new(limit(Unit::Tokens, Window::Sliding(period), cap));
        let mut admitted: Vec<(Timestamp, u64)> = Vec::new();
        for step in &steps {
            let before = world.calls.len();
            // A rate of requests: each uses what it was admitted with.
            let step = match step {
                Step::Finish { router, .. } => &Step::Finish { router: *router, percent: 100 },
                step => step,
            };
            world.take(step);
            world.check();
            if world.calls.len() > before {
                let call = world.calls.last().unwrap();
                admitted.push((world.now, call.amount));
            }
        }
        for (from, _) in &admitted {
            let until = from.plus(period);
            let within = admitted.iter().filter(|(at, _)| at >= from && *at < until);
            prop_assert!(within.map(|(_, amount)| amount).sum::<u64>() <= cap);
        }
    }

    #[test]
    fn an_account_prints_and_parses_back(steps in steps()) {
        let mut world = Installation::new(limit(Unit::Cost, Window::Fixed(Reset::Never), 300));
        steps.iter().for_each(|step| world.take(step));
        let text = serde_json::to_string(&world.account).unwrap();
        prop_assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), world.account);
    }
}

#[test]
fn limits_read_as_people_say_them() {
    let budget = limit(Unit::Cost, Window::Fixed(Reset::Monthly), 5_000_000_000);
    assert_eq!(budget.to_string(), "5.000000000 USD monthly");
    assert_eq!(budget.name(), "apikey.k1.cost.monthly");
    let rate = limit(Unit::InputTokens, Window::Sliding(Duration::from_secs(60)), 1000);
    assert_eq!(rate.to_string(), "1000 input tokens rpm");
}
