//! Costs counted again from the tokens in the books, with the prices of now.

use bus::ledger::{Reprice, Repriced};
use domain::Usage;
use domain::model::NanoUsd;
use domain::price::{Charged, Price, cost, version};
use sqlx::any::AnyRow;

use crate::line::Value;
use crate::store::{Statement, Store, count, known, text};

/// The price of what a provider answered: by the model that was asked, or by the one that answered.
pub(crate) trait Prices: Sync {
    fn price(&self, provider: &str, asked: Option<&str>, answered: Option<&str>) -> Option<Price>;
}

impl Prices for providers::models::View<'_> {
    fn price(&self, provider: &str, asked: Option<&str>, answered: Option<&str>) -> Option<Price> {
        self.price_of_answer(provider, asked, answered).cloned()
    }
}

/// Attempts that are looked at in one transaction.
const PAGE: usize = 1000;

/// What is read of an attempt.
const COLUMNS: &str = "id, provider, model, model_asked, tier, region, cost_nano, price, counted, input, output, \
                       cached_input, cache_write, cache_write_long, reasoning, audio_input, audio_output, images, searches";

/// An attempt as far as it concerns its price.
struct Priced {
    id: String,
    cost: Option<u64>,
    price: Option<String>,
    again: Option<(u64, String)>,
    used: bool,
}

/// Counts costs again. What has no known price keeps the cost it has.
pub(crate) async fn run(store: &Store, prices: &dyn Prices, which: &Reprice) -> anyhow::Result<Repriced> {
    let mut done = Repriced::default();
    let mut after = String::new();
    loop {
        let mut change = store.change().await?;
        let rows = page(which, &after).rows(&mut change.transaction).await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = text(last, 0)?.unwrap_or_default();
        for row in &rows {
            let attempt = price_again(row, prices)?;
            tally(&mut done, &attempt);
            let Some((cost, price)) = attempt.again else { continue };
            if attempt.cost == Some(cost) && attempt.price.as_deref() == Some(&price) {
                continue;
            }
            let mut update = Statement::new("UPDATE attempts SET repriced = 1");
            let (cost, price) = (update.bind(Value::from(cost)), update.bind(Value::from(&*price)));
            let id = update.bind(Value::from(&*attempt.id));
            update.sql.push_str(&format!(", cost_nano = {cost}, price = {price} WHERE id = {id}"));
            update.execute(&mut change.transaction).await?;
        }
        change.commit().await?;
    }
}

fn page(which: &Reprice, after: &str) -> Statement {
    let mut statement = Statement::new("");
    let mut conditions =
        vec![format!("id > {}", statement.bind(Value::from(after))), "counted = 1".to_owned()];
    for (condition, value) in [
        ("ended_at >=", which.since.map(|at| Value::from(at.0))),
        ("ended_at <", which.until.map(|at| Value::from(at.0))),
        ("provider =", which.provider.as_deref().map(Value::from)),
    ] {
        if let Some(value) = value {
            conditions.push(format!("{condition} {}", statement.bind(value)));
        }
    }
    if let Some(model) = &which.model {
        let model = statement.bind(Value::from(model.as_str()));
        conditions.push(format!("(model = {model} OR model_asked = {model})"));
    }
    statement.sql =
        format!("SELECT {COLUMNS} FROM attempts WHERE {} ORDER BY id LIMIT {PAGE}", conditions.join(" AND "));
    statement
}

fn price_again(row: &AnyRow, prices: &dyn Prices) -> sqlx::Result<Priced> {
    let usage = Usage {
        input: count(row, 9)?,
        output: count(row, 10)?,
        cached_input: count(row, 11)?,
        cache_write: count(row, 12)?,
        cache_write_long: count(row, 13)?,
        reasoning: count(row, 14)?,
        audio_input: count(row, 15)?,
        audio_output: count(row, 16)?,
        images: count(row, 17)?,
        searches: count(row, 18)?,
    };
    let (tier, region) = (text(row, 4)?, text(row, 5)?);
    let provider = text(row, 1)?.unwrap_or_default();
    let (answered, asked) = (text(row, 2)?, text(row, 3)?);
    let price = prices.price(&provider, asked.as_deref(), answered.as_deref());
    let again = price.map(|price| {
        let how = Charged { tier: tier.as_deref(), region: region.as_deref() };
        (cost(&price, &usage, &how).0, version(&price))
    });
    let used = usage.input + usage.output + usage.images + usage.searches > 0;
    let id = text(row, 0)?.unwrap_or_default();
    Ok(Priced { id, cost: known(row, 6)?, price: text(row, 7)?, again, used })
}

fn tally(done: &mut Repriced, attempt: &Priced) {
    let before = attempt.cost.unwrap_or(0);
    let after = attempt.again.as_ref().map_or(before, |(cost, _)| *cost);
    let add = |sum: &mut NanoUsd, cost: u64| sum.0 = sum.0.saturating_add(cost);
    done.attempts += 1;
    add(&mut done.before, before);
    add(&mut done.after, after);
    let changed = attempt.again.as_ref().is_some_and(|(cost, _)| attempt.cost != Some(*cost));
    done.changed += u64::from(changed);
    let unknown = attempt.used && attempt.cost.is_none() && attempt.again.is_none();
    done.unknown += u64::from(unknown);
}
