//! Delivering: letters are taken from the broker, sent, and tried again later if nobody took them.

use std::sync::Arc;
use std::time::Duration;

use bus::PutError;
use bus::work::{Delivery as Message, Job, MAX_DELIVERIES, Puller};
use domain::alert::{Answer, Change, Delivery, Letter, Next, next};
use role::Ctx;
use tracing::{error, info, warn};

use crate::options::Options;
use crate::send::Sender;

/// Letters that are sent at once.
const SLOTS: usize = 8;

/// How long a message waits that could not be dealt with because the broker did not answer.
const BROKER_BACK: Duration = Duration::from_secs(2);

/// Sends letters.
#[derive(Clone)]
pub(crate) struct Post {
    ctx: Ctx,
    options: Arc<Options>,
    sender: Arc<Sender>,
}

impl Post {
    pub(crate) fn new(ctx: Ctx, options: Arc<Options>) -> anyhow::Result<Self> {
        let host = ctx.bus().options().name.clone();
        Ok(Self { ctx, options, sender: Arc::new(Sender::new(&host)?) })
    }

    /// Takes letters until the role drains.
    pub(crate) async fn run(&self) {
        let puller = Puller::notices(self.ctx.bus(), SLOTS);
        let take = |job: Job| {
            let post = self.clone();
            self.ctx.job(async move {
                let progress = post.ctx.bus().options().progress;
                let handled = job.delivery.while_running(progress, post.handle(&job.delivery)).await;
                match handled {
                    Ok(()) => job.delivery.ack().await,
                    Err(err) => {
                        warn!(%err, "a notice goes back: the broker did not take what became of it");
                        job.delivery.retry_after(BROKER_BACK).await;
                    }
                }
            });
        };
        puller.run(self.ctx.draining(), take).await;
    }

    /// Sends one letter. What becomes of it is stored before the message is acknowledged.
    async fn handle(&self, message: &Message) -> Result<(), PutError> {
        if message.delivered > MAX_DELIVERIES {
            let reason =
                format!("delivered {} times without an end: it takes its readers down", message.delivered);
            return self.put_aside(message, &reason).await;
        }
        let letter: Letter = match serde_json::from_slice(message.payload()) {
            Ok(letter) => letter,
            Err(err) => return self.put_aside(message, &format!("the notice cannot be read: {err}")).await,
        };
        let now = self.ctx.clock().now();
        let answer = match self.options.channels.get(&letter.channel) {
            Some(channel) => self.sender.send(channel, &letter, now).await,
            None => Answer::Refused(format!("no channel is called `{}` any more", letter.channel)),
        };
        let now = self.ctx.clock().now();
        let next = next(&letter, &answer, self.options.patience, now);
        let mut delivery = Delivery {
            notice: letter.notice.id.clone(),
            channel: letter.channel.clone(),
            at: now,
            attempt: letter.attempt,
            taken: next == Next::Done,
            again_at: None,
            said: answer.said().to_owned(),
        };
        self.count(&letter, &answer, &next);
        match &next {
            Next::Done => {}
            Next::Again { after } => {
                delivery.again_at = Some(self.ctx.bus().delay_letter(&letter.again(now), *after).await?);
            }
            Next::GiveUp(_) if letter.notice.change == Change::Test => {}
            Next::GiveUp(reason) => {
                delivery.said.clone_from(reason);
                self.put_aside(message, reason).await?;
            }
        }
        self.ctx.bus().note_delivery(&delivery).await
    }

    async fn put_aside(&self, message: &Message, reason: &str) -> Result<(), PutError> {
        error!(reason, subject = message.subject(), "a notice was put aside: nobody was told");
        let keep = |_: &str, value: &str| Some(value.to_owned());
        self.ctx.bus().dead_letter(crate::NAME, message, reason, keep, &[]).await.map(|_| ())
    }

    fn count(&self, letter: &Letter, answer: &Answer, next: &Next) {
        let Letter { notice, channel, attempt, .. } = letter;
        let (id, said) = (&notice.id, answer.said());
        let result = match next {
            Next::Done => {
                info!(id, channel, attempt, said, "notice sent");
                "sent"
            }
            Next::Again { after } => {
                warn!(id, channel, attempt, said, again_in = ?after, "a channel did not take a notice");
                "failed"
            }
            Next::GiveUp(reason) => {
                warn!(id, channel, attempt, reason, "a notice is not tried again");
                "given_up"
            }
        };
        let labels = [("channel", channel.clone()), ("result", result.to_owned())];
        metrics::counter!(telemetry::metric::NOTICES, &labels).increment(1);
    }
}
