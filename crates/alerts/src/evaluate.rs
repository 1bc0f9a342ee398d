//! Judging: events and levels go into the book, and what is due is said.
//!
//! The record (memory and what is to be said) is written before anything is said. Whoever takes over after a crash reads
//! it, says what may not have been said, and reads events on from where it ends: so nothing is lost, and a notice that
//! is decided once more has the same id.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::PutError;
use bus::alerts::AlertRecord;
use bus::subject;
use domain::alert::{Breaker, Letter, Levels, Notice, Queue, observations};
use domain::{Event, Timestamp};
use lru::LruCache;
use role::Ctx;
use tracing::{debug, error, info, warn};

use crate::options::Options;

/// Events whose ids are remembered: who reports twice does so soon.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(20_000).expect("it is not zero");

/// The broker takes messages of up to 1 MiB.
const LARGEST_RECORD: usize = 800_000;

/// The record is written at least this often while events come: they are read again from there after a crash.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Streams whose messages are waiting to be worked on.
const WORK: [&str; 3] = [subject::REQUEST_STREAM, subject::CALL_STREAM, subject::FALLBACK_STREAM];

/// Judges until the role ends; idle while another process does.
pub(crate) async fn run(ctx: Ctx, options: Arc<Options>) {
    let every = options.every;
    // The broker counts leases in whole seconds.
    let ttl = (every * 3).max(Duration::from_secs(3));
    let (mut lease, mut judge) = (0, None::<Judge>);
    loop {
        match ctx.bus().lease(crate::NAME, lease, ttl).await {
            Ok(Some(sequence)) => lease = sequence,
            Ok(None) => {
                if judge.take().is_some() {
                    forget_metrics(&options);
                }
                lease = 0;
                tokio::time::sleep(every).await;
                continue;
            }
            Err(err) => {
                debug!(%err, "could not renew the lease of alerts");
                tokio::time::sleep(every).await;
                continue;
            }
        }
        let turn = match judge.take() {
            Some(judge) => Ok(judge),
            None => Judge::take_over(ctx.clone(), Arc::clone(&options)).await,
        };
        match turn {
            Ok(mut taken) => match taken.turn().await {
                Ok(()) => judge = Some(taken),
                // The record tells where to go on; what was not written is read again.
                Err(err) => warn!(err = format!("{err:#}"), "alerts were not judged; trying again"),
            },
            Err(err) => warn!(err = format!("{err:#}"), "could not read what alerts remember; trying again"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Another process judges now, and says what is raised.
fn forget_metrics(options: &Options) {
    for rule in &options.rules {
        metrics::gauge!(telemetry::metric::ALERTS_FIRING, "rule" => rule.name.clone()).set(0.0);
    }
}

/// The process that judges, between two turns.
struct Judge {
    ctx: Ctx,
    options: Arc<Options>,
    record: AlertRecord,
    sequence: u64,
    written: tokio::time::Instant,
    /// Something changed since the record was written.
    dirty: bool,
    seen: LruCache<String, ()>,
}

impl Judge {
    /// Goes on where the last one stopped; a first one begins with what happens from now on.
    async fn take_over(ctx: Ctx, options: Arc<Options>) -> anyhow::Result<Self> {
        let bus = ctx.bus();
        let (known, sequence) = bus.alert_record().await?;
        let newest = bus.last_event().await?;
        let mut record = known.unwrap_or_else(|| AlertRecord { events: newest, ..AlertRecord::default() });
        if record.events > newest {
            warn!(
                position = record.events,
                newest, "the stream of events was made anew; reading on from its end"
            );
            record.events = newest;
        }
        let now = ctx.clock().now();
        let over = record.book.adopt(&options.rules, now);
        record.outbox.extend(over);
        record.channels = options.channels.iter().map(|(n, c)| (n.clone(), c.kind().to_owned())).collect();
        info!(rules = options.rules.len(), channels = options.channels.len(), "judging alerts");
        let seen = LruCache::new(REMEMBERED);
        let mut judge =
            Self { ctx, options, record, sequence, written: tokio::time::Instant::now(), dirty: true, seen };
        judge.write().await?;
        judge.say().await?;
        Ok(judge)
    }

    /// Reads what has happened, looks at how things are, and says what is due.
    async fn turn(&mut self) -> anyhow::Result<()> {
        loop {
            let (events, more) = self.ctx.bus().events_after(self.record.events).await?;
            for placed in events {
                self.record.events = placed.sequence;
                self.dirty = true;
                if let Some(event) = &placed.event {
                    self.observe(event, placed.stored_at);
                }
            }
            self.write_if_due().await?;
            if !more || self.ctx.stopping().is_cancelled() {
                break;
            }
        }
        let levels = self.levels().await?;
        let notices = self.record.book.tick(&levels, self.ctx.clock().now());
        self.record.outbox.extend(notices);
        self.write_if_due().await?;
        for (rule, count) in self.record.book.firing() {
            metrics::gauge!(telemetry::metric::ALERTS_FIRING, "rule" => rule.to_owned()).set(count as f64);
        }
        Ok(())
    }

    fn observe(&mut self, event: &Event, at: Timestamp) {
        // Who reports an event twice gives it the same id.
        if self.seen.put(event.id.clone(), ()).is_some() {
            return;
        }
        for observation in observations(event) {
            self.record.outbox.extend(self.record.book.observe(&observation, at));
        }
    }

    async fn levels(&self) -> anyhow::Result<Levels> {
        let bus = self.ctx.bus();
        let open = |record: domain::health::Record| {
            record.circuits.iter().find_map(|c| c.opened.map(|o| o.fault.as_str().to_owned()))
        };
        let records = bus.health_records().await?;
        let breakers = records.into_iter().map(|(target, record)| Breaker { target, open: open(record) });
        let (now, mut levels) =
            (self.ctx.clock().now(), Levels { breakers: breakers.collect(), ..Levels::default() });
        for stream in bus.streams().await? {
            if stream.name == subject::DEAD_STREAM {
                levels.dead_letters = stream.last_sequence;
            } else if WORK.contains(&stream.name.as_str()) {
                let age = stream.oldest_at.map_or(Duration::ZERO, |at| now.since(Timestamp(at)));
                levels.queues.push(Queue { stream: stream.name, age, messages: stream.messages });
            }
        }
        Ok(levels)
    }

    async fn write_if_due(&mut self) -> anyhow::Result<()> {
        let due = self.dirty && self.written.elapsed() >= WRITE_EVERY;
        if !self.record.outbox.is_empty() || due {
            self.write().await?;
            self.say().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.record.at = self.ctx.clock().now();
        self.record.by.clone_from(&self.ctx.bus().options().name);
        let mut text = serde_json::to_vec(&self.record)?;
        while text.len() > LARGEST_RECORD {
            warn!(bytes = text.len(), "too much to remember for one message: forgetting quiet subjects");
            self.record.book.shrink();
            let smaller = serde_json::to_vec(&self.record)?;
            if smaller.len() >= text.len() {
                break;
            }
            text = smaller;
        }
        let stored = self.ctx.bus().put_alert_record(text.into(), self.sequence).await;
        self.sequence = match stored {
            Ok(sequence) => sequence,
            Err(PutError::Conflict) => self.echo().await?,
            Err(err) => return Err(err).context("write what alerts remember"),
        };
        self.written = tokio::time::Instant::now();
        self.dirty = false;
        Ok(())
    }

    /// A conflict may be the echo of our own first offer.
    async fn echo(&self) -> anyhow::Result<u64> {
        match self.ctx.bus().alert_record().await? {
            (Some(record), sequence) if record == self.record => Ok(sequence),
            (record, _) => {
                let by = record.map(|record| record.by).unwrap_or_default();
                anyhow::bail!("another process judges alerts now: {by}")
            }
        }
    }

    /// Hands over what the written record says is to be said. What was handed over before is not handed over again.
    async fn say(&mut self) -> anyhow::Result<()> {
        let channels: Vec<(String, bool)> =
            self.options.channels.iter().map(|(name, channel)| (name.clone(), channel.is_email())).collect();
        let mut said = HashSet::new();
        for notice in &self.record.outbox {
            if said.insert(&notice.id) {
                self.hand_over(notice, &channels).await?;
            }
        }
        // The next write tells; until then saying it again changes nothing.
        self.dirty |= !self.record.outbox.is_empty();
        self.record.outbox.clear();
        Ok(())
    }

    async fn hand_over(&self, notice: &Notice, channels: &[(String, bool)]) -> anyhow::Result<()> {
        let bus = self.ctx.bus();
        if bus.is_said(notice).await? {
            return Ok(());
        }
        let letters = Letter::of(notice, channels);
        log(notice, letters.len());
        for letter in letters {
            bus.send_letter(&letter)
                .await
                .with_context(|| format!("hand a notice over to {}", letter.channel))?;
        }
        bus.keep_notice(notice).await.context("keep a notice")
    }
}

/// Alerts are in the log as well, for who has no channel.
fn log(notice: &Notice, letters: usize) {
    let Notice { id, rule, subject, change, summary, .. } = notice;
    match notice.change {
        domain::alert::Change::Recovered => info!(id, rule, subject, letters, "alert over: {summary}"),
        _ if notice.severity == domain::alert::Severity::Critical => {
            error!(id, rule, subject, %change, letters, "alert: {summary}");
        }
        _ => warn!(id, rule, subject, %change, letters, "alert: {summary}"),
    }
}
