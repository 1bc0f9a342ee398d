//! Questions on the bus and their answers.

use std::sync::Arc;

use bus::Headers;
use bus::ledger::{Answer, Question};
use bus::service::Question as Asked;
use bytes::Bytes;
use domain::spend::{Entries, Place, Report};
use serde::Serialize;
use tracing::{info, warn};

use crate::{Ledger, check, entries, query, rebuild, reprice};

/// Largest answer: it has to fit into one message.
const MOST: usize = 900 * 1024;

impl Ledger {
    /// Answers one question.
    pub(crate) async fn answer(self: Arc<Self>, asked: Asked) {
        let answer = match serde_json::from_slice(&asked.payload()) {
            Ok(question) => self.reply(question).await,
            Err(err) => Err(anyhow::anyhow!("the question cannot be read: {err}")),
        };
        let payload = answer.unwrap_or_else(|err| {
            let reason = format!("{err:#}");
            warn!(reason, "a question to the ledger was not answered");
            Bytes::from(serde_json::to_vec(&Answer::<()>::Error(reason)).unwrap_or_default())
        });
        asked.answer(Headers::new(), payload).await;
    }

    async fn reply(&self, question: Question) -> anyhow::Result<Bytes> {
        match question {
            Question::Spend(query) => {
                // Before the books are read: what is in them then is at least this.
                let through = self.position().await?.through;
                let report = query::report(&mut *self.store.reading().await?, &query, through).await?;
                fit(report, shorten_report)
            }
            Question::Entries(query) => {
                let through = self.position().await?.through;
                let page = entries::page(&mut *self.store.reading().await?, &query, through).await?;
                fit(page, shorten_page)
            }
            Question::Check => {
                let position = self.position().await?;
                encode(check::run(&mut *self.store.reading().await?, position).await?)
            }
            Question::Rebuild => {
                let rebuilt = rebuild::run(self).await?;
                info!(?rebuilt, "the books were made anew");
                encode(rebuilt)
            }
            Question::Reprice(which) => {
                let registry = self.ctx.registry();
                let models = providers::models::View::new(&registry);
                let repriced = reprice::run(&self.store, &models, &which).await?;
                info!(?which, ?repriced, "costs were counted again");
                encode(repriced)
            }
        }
    }

    async fn position(&self) -> anyhow::Result<bus::events::Position> {
        self.ctx.bus().event_position(crate::NAME).await
    }
}

fn encode<T: Serialize>(answer: T) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(&Answer::Ok(answer))?))
}

/// Leaves out the end until the answer fits; the asker goes on from there.
fn fit<T: Serialize + Clone>(mut answer: T, shorten: fn(&mut T) -> bool) -> anyhow::Result<Bytes> {
    loop {
        let bytes = encode(answer.clone())?;
        if bytes.len() <= MOST || !shorten(&mut answer) {
            return Ok(bytes);
        }
    }
}

fn shorten_report(report: &mut Report) -> bool {
    report.rows.truncate(report.rows.len() / 2);
    !report.rows.is_empty()
}

fn shorten_page(page: &mut Entries) -> bool {
    if page.entries.len() < 2 {
        return false;
    }
    page.entries.truncate(page.entries.len() / 2);
    page.next = page.entries.last().map(|last| Place { at: last.at, id: last.id.clone() });
    true
}
