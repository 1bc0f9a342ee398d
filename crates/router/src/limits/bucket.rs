//! One bucket in this router's hands, and changing its record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::PutError;
use domain::event::{Crossed, Level as Crossing};
use domain::limit::{Account, Bucket, Change, Exceeded, Given, Limit, Local, Slot};
use domain::{Event, RequestId, Timestamp, Workspace};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Keeper, Want};

/// How long a refusal answers those who want as much or more.
const REFUSED: Duration = Duration::from_millis(100);

/// How often others are asked to give back what they do not need, before a request is refused.
const RECALLS: u32 = 2;

/// How long they have.
const RECALL: Duration = Duration::from_millis(30);

/// A bucket in this router's hands.
pub(super) struct Entry {
    pub(super) bucket: Bucket,
    pub(super) limit: Arc<Limit>,
    pub(super) local: Local,
    /// The record as it was last seen, and its sequence.
    record: Option<(Account, u64)>,
    /// A change of which nobody knows whether it was written.
    doubt: Option<(Change, Given)>,
    /// Held by whoever changes the record.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// Who wanted at least so much was refused.
    refused: Option<(u64, Instant, Exceeded)>,
    /// Who used it last.
    pub(super) cause: Option<(Workspace, RequestId)>,
    touched: Instant,
}

/// Why there is not more at hand.
pub(super) enum Short {
    Exceeded(Box<Exceeded>),
    Unreachable,
}

/// What a record is changed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// An amount: at least, and at most.
    Wanted(u64, u64),
    /// To write what was used.
    Due,
    /// Others need what is free.
    Recalled,
}

impl Entry {
    /// The entry of a bucket, with the limit as it is now.
    pub(super) fn of<'e>(entries: &'e mut HashMap<String, Self>, bucket: &Bucket) -> &'e mut Self {
        let entry = entries.entry(bucket.key()).or_insert_with(|| Self {
            bucket: bucket.clone(),
            limit: Arc::clone(&bucket.limit),
            local: Local::default(),
            record: None,
            doubt: None,
            gate: Arc::default(),
            refused: None,
            cause: None,
            touched: Instant::now(),
        });
        if !Arc::ptr_eq(&entry.limit, &bucket.limit) {
            entry.limit = Arc::clone(&bucket.limit);
            entry.refused = None;
        }
        entry.touched = Instant::now();
        entry
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_idle(&self, idle: Duration) -> bool {
        self.local.is_empty() && self.doubt.is_none() && self.touched.elapsed() > idle
    }

    pub(super) fn needs_writing(&self, now: Timestamp) -> bool {
        self.doubt.is_some() || self.local.is_dirty(&self.limit.window, now)
    }
}

/// A change that is about to be written.
struct Draft {
    account: Account,
    expected: u64,
    change: Change,
    given: Given,
    limit: Arc<Limit>,
}

/// What came of composing a change.
enum Composed {
    Draft(Box<Draft>),
    /// There is nothing to write, and nothing to be had.
    Refused(Box<Exceeded>),
    /// There is nothing to do.
    Nothing,
    /// The record has to be read first.
    Unread,
    /// This router holds nothing under its name any more.
    Gone,
}

impl Keeper {
    /// Gets at least an amount for this router, or says why not.
    pub(super) async fn ask_for(
        &self,
        want: &Want,
        (least, most): (u64, u64),
        cause: (Workspace, RequestId),
    ) -> Result<(), Short> {
        let key = want.bucket.key();
        let Some(gate) = self.gate(&key) else { return Err(Short::Unreachable) };
        let _one = gate.lock().await;
        {
            let state = self.state.lock();
            let Some(entry) = state.buckets.get(&key) else { return Err(Short::Unreachable) };
            // Whoever was here before may have got enough for all.
            if entry.local.has(want.amount, &entry.limit.window, self.ctx.clock().now()) {
                return Ok(());
            }
            if let Some((refused, until, exceeded)) = &entry.refused
                && *refused <= least
                && Instant::now() < *until
            {
                return Err(Short::Exceeded(Box::new(exceeded.clone())));
            }
        }
        let mut recalls = 0;
        loop {
            match self.change(&key, Why::Wanted(least, most), Some(&cause)).await {
                Ok(()) => return Ok(()),
                Err(Short::Exceeded(exceeded)) if recalls < RECALLS && self.others_hold(&key) => {
                    recalls += 1;
                    self.ctx.bus().recall_limit(&self.name().unwrap_or_default(), &key).await;
                    tokio::time::sleep(RECALL * recalls).await;
                    self.forget_record(&key);
                    debug!(
                        bucket = key,
                        left = exceeded.left,
                        "asked others to give back what they do not need"
                    );
                }
                Err(Short::Exceeded(exceeded)) => {
                    let until = Instant::now() + REFUSED;
                    if let Some(entry) = self.state.lock().buckets.get_mut(&key) {
                        entry.refused = Some((least, until, (*exceeded).clone()));
                    }
                    return Err(Short::Exceeded(exceeded));
                }
                Err(Short::Unreachable) => return Err(Short::Unreachable),
            }
        }
    }

    /// Writes what was used and gives back what is not needed.
    pub(super) async fn write(&self, key: &str, why: Why) {
        let Some(gate) = self.gate(key) else { return };
        let _one = gate.lock().await;
        if let Err(Short::Unreachable) = self.change(key, why, None).await {
            debug!(bucket = key, "what was used could not be written; it is tried again");
        }
    }

    fn gate(&self, key: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.state.lock().buckets.get(key).map(|entry| Arc::clone(&entry.gate))
    }

    /// Whether other routers have been granted some of a bucket.
    fn others_hold(&self, key: &str) -> bool {
        let state = self.state.lock();
        let me = state.me.as_ref().map(|me| me.name.as_str());
        let record = state.buckets.get(key).and_then(|entry| entry.record.as_ref());
        record.is_some_and(|(account, _)| {
            let others = account.grants.iter().filter(|(by, _)| Some(by.as_str()) != me);
            others.flat_map(|(_, grant)| grant.amounts.values()).any(|amount| *amount > 0)
        })
    }

    fn forget_record(&self, key: &str) {
        if let Some(entry) = self.state.lock().buckets.get_mut(key) {
            entry.record = None;
        }
    }

    /// Changes a bucket's record by compare-and-set. The gate is held.
    async fn change(&self, key: &str, why: Why, cause: Option<&(Workspace, RequestId)>) -> Result<(), Short> {
        let mut fresh = false;
        loop {
            let draft = match self.compose(key, why, fresh) {
                Composed::Draft(draft) => draft,
                Composed::Refused(exceeded) => return Err(Short::Exceeded(exceeded)),
                Composed::Nothing => return Ok(()),
                Composed::Unread => {
                    self.read(key).await?;
                    fresh = true;
                    continue;
                }
                Composed::Gone => return Err(Short::Unreachable),
            };
            if let Some(crossing) = draft.given.crossed {
                self.tell(key, &draft, crossing, cause).await?;
            }
            match self.ctx.bus().put_limit_account(&draft.account, draft.expected).await {
                Ok(sequence) => return self.written(key, *draft, sequence, why),
                Err(PutError::Conflict) => {
                    // Our own first offer may be what stands there.
                    self.doubted(key, *draft);
                    self.read(key).await?;
                    fresh = true;
                    if let Why::Wanted(least, _) = why
                        && self.has_free(key, least)
                    {
                        return Ok(());
                    }
                }
                Err(err) => {
                    warn!(bucket = key, %err, "a limit's count could not be written");
                    self.doubted(key, *draft);
                    return Err(Short::Unreachable);
                }
            }
        }
    }

    fn has_free(&self, key: &str, amount: u64) -> bool {
        let now = self.ctx.clock().now();
        let state = self.state.lock();
        state.buckets.get(key).is_some_and(|entry| entry.local.has(amount, &entry.limit.window, now))
    }

    /// `fresh`: the record was read just now.
    fn compose(&self, key: &str, why: Why, fresh: bool) -> Composed {
        let now = self.ctx.clock().now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(me) = state.me.clone() else { return Composed::Gone };
        let Some(entry) = state.buckets.get_mut(key) else { return Composed::Gone };
        if entry.doubt.is_some() {
            return Composed::Unread;
        }
        let Some((account, sequence)) = &entry.record else { return Composed::Unread };
        let window = entry.limit.window;
        let change = match why {
            Why::Wanted(least, most) => entry.local.compose(Some((least, most)), state.through, &window, now),
            Why::Due => entry.local.compose(None, state.through, &window, now),
            Why::Recalled => entry.local.compose_recall(state.through),
        };
        let says_nothing = change.settled.is_empty() && change.returned.is_empty();
        let mut account = account.clone();
        let expected = *sequence;
        let given = account.apply(&me.name, &change, &entry.limit, now);
        let nothing_new = says_nothing && given.granted == 0 && given.crossed.is_none();
        match why {
            Why::Wanted(least, _) if nothing_new => {
                entry.local.undo(change);
                match fresh {
                    true => Composed::Refused(Box::new(entry.exceeded(&account, least, given.left, now))),
                    false => Composed::Unread,
                }
            }
            _ if nothing_new => {
                entry.local.undo(change);
                Composed::Nothing
            }
            _ => {
                let limit = Arc::clone(&entry.limit);
                Composed::Draft(Box::new(Draft { account, expected, change, given, limit }))
            }
        }
    }

    fn written(&self, key: &str, draft: Draft, sequence: u64, why: Why) -> Result<(), Short> {
        let now = self.ctx.clock().now();
        let mut state = self.state.lock();
        let Some(entry) = state.buckets.get_mut(key) else { return Err(Short::Unreachable) };
        entry.local.written(draft.given);
        let short = match why {
            Why::Wanted(least, _) if draft.given.granted < least => {
                Some(entry.exceeded(&draft.account, least, draft.given.left, now))
            }
            _ => None,
        };
        entry.record = Some((draft.account, sequence));
        match short {
            Some(exceeded) => Err(Short::Exceeded(Box::new(exceeded))),
            None => Ok(()),
        }
    }

    fn doubted(&self, key: &str, draft: Draft) {
        if let Some(entry) = self.state.lock().buckets.get_mut(key) {
            entry.record = None;
            entry.doubt = Some((draft.change, draft.given));
        }
    }

    /// Reads a bucket's record, and finds out whether a doubtful change is in it.
    async fn read(&self, key: &str) -> Result<(), Short> {
        let reading = self.ctx.bus().limit_account(key);
        let read = match tokio::time::timeout(Duration::from_secs(3), reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(err)) => {
                warn!(bucket = key, %err, "a limit's count could not be read");
                return Err(Short::Unreachable);
            }
            Err(_) => {
                warn!(bucket = key, "a limit's count could not be read in time");
                return Err(Short::Unreachable);
            }
        };
        let mut state = self.state.lock();
        let Some(me) = state.me.as_ref().map(|me| me.name.clone()) else { return Err(Short::Unreachable) };
        let Some(entry) = state.buckets.get_mut(key) else { return Err(Short::Unreachable) };
        let (account, sequence) = read;
        let account = account.unwrap_or_else(|| Account::new(key, &entry.limit));
        if let Some((change, given)) = entry.doubt.take() {
            match account.has_write(&me, change.write) {
                true => entry.local.written(given),
                false => entry.local.undo(change),
            }
        }
        entry.record = Some((account, sequence));
        Ok(())
    }

    /// Tells that a limit was crossed, before the record says that it was told: twice is better than never.
    async fn tell(
        &self,
        key: &str,
        draft: &Draft,
        crossing: Crossing,
        cause: Option<&(Workspace, RequestId)>,
    ) -> Result<(), Short> {
        let now = self.ctx.clock().now();
        let known = self.state.lock().buckets.get(key).and_then(|entry| entry.cause.clone());
        let Some(cause) = cause.cloned().or(known) else { return Ok(()) };
        let limit = &draft.limit;
        let tuple = key.split_once('/').map_or("", |(_, tuple)| tuple);
        let crossed = Crossed {
            limit: limit.name(),
            bucket: tuple.to_owned(),
            level: crossing,
            unit: limit.unit.as_str().to_owned(),
            used: draft.account.used(now),
            cap: limit.cap,
            resets_at: limit.window.resets_at(now),
            emails: limit.emails.clone(),
        };
        let Slot(window) = draft.given.slot;
        let event = Event::limit_crossed(cause, crossed, window, now);
        let told = self.ctx.bus().report(&event).await;
        told.map_err(|err| {
            warn!(bucket = key, %err, "could not tell that a limit was crossed");
            self.undo(key, &draft.change);
            Short::Unreachable
        })
    }

    fn undo(&self, key: &str, change: &Change) {
        if let Some(entry) = self.state.lock().buckets.get_mut(key) {
            entry.local.undo(change.clone());
        }
    }
}

impl Entry {
    fn exceeded(&self, account: &Account, wanted: u64, left: u64, now: Timestamp) -> Exceeded {
        let opens_at = account.opens_at(wanted, self.limit.cap, now);
        let in_use = account.granted(now) > 0;
        Exceeded { bucket: self.bucket.clone(), wanted, left, opens_at, in_use }
    }
}
