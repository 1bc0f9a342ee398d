//! Costs counted again.

use bus::ledger::{Reprice, Repriced};
use domain::model::NanoUsd;
use domain::price::{PicoUsd, Price, version};
use domain::spend::{EntriesQuery, Query};

use super::given::{event, good, usage};
use super::shelves;
use crate::reprice::{Prices, run};

/// One price for one provider.
struct OnePrice(&'static str, Price);

impl Prices for OnePrice {
    fn price(&self, provider: &str, _: Option<&str>, _: Option<&str>) -> Option<Price> {
        (provider == self.0).then(|| self.1.clone())
    }
}

#[tokio::test]
async fn pricing_again_changes_what_is_meant_and_nothing_else() {
    let price = Price { input: PicoUsd(2_000_000), output: PicoUsd(8_000_000), ..Price::default() };
    let prices = OnePrice("openai", price.clone());
    let one = |n: u64| {
        let provider = if n.is_multiple_of(5) { "groq" } else { "openai" };
        let cost = n.is_multiple_of(2).then_some(1);
        (n, event(&format!("r{n}"), &good(1, provider, "m", usage(1000, 100), cost), true))
    };
    let events: Vec<_> = (1..=1500).map(one).collect();
    for shelf in shelves("reprice").await {
        shelf.put(&events).await;
        let others = Reprice { model: Some("other".to_owned()), ..Reprice::default() };
        assert_eq!(run(&shelf.store, &prices, &others).await.unwrap(), Repriced::default());
        let done = run(&shelf.store, &prices, &Reprice::default()).await.unwrap();
        // 1000 tokens at 2 USD and 100 at 8 USD per million are 0.0028 USD.
        let (before, after) = (NanoUsd(750), NanoUsd(1200 * 2_800_000 + 150));
        let wanted = Repriced { attempts: 1500, changed: 1200, unknown: 150, before, after };
        assert_eq!(done, wanted, "{}", shelf.name);
        let again = run(&shelf.store, &prices, &Reprice::default()).await.unwrap();
        assert_eq!((again.changed, again.before, again.after), (0, after, after));
        // A repeated report does not bring the old cost back.
        shelf.put(&events[..10]).await;
        let total = shelf.ask(&Query::default()).await.total;
        assert_eq!((total.cost, total.unknown_cost_attempts), (after, 150));
        let mut reading = shelf.store.reading().await.unwrap();
        let query = EntriesQuery::default();
        let page = crate::entries::page(&mut reading, &query, domain::Timestamp(0)).await.unwrap();
        let openai = page.entries.iter().find(|entry| entry.provider.as_deref() == Some("openai")).unwrap();
        assert_eq!((openai.cost, &openai.price), (Some(NanoUsd(2_800_000)), &Some(version(&price))));
    }
}
