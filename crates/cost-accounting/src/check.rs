//! Whether the books agree with themselves, and what in them is not certain.

use bus::events::Position;
use bus::ledger::{Checked, Listed};
use domain::spend::{Dimension, Interval, MAX_LIMIT, Order, Query, Row};
use sqlx::AnyConnection;

use crate::query::{QueryError, UNKNOWN, report};
use crate::store::{Statement, count, text};

/// Keys of metadata that are looked at.
const MOST_KEYS: usize = 100;

/// Models that are listed with what is not certain.
const MOST_LISTED: usize = 100;

/// Adds up every dimension's groups and compares them with the sum of all.
pub(crate) async fn run(on: &mut AnyConnection, position: Position) -> Result<Checked, QueryError> {
    let total = report(on, &Query::default(), position.through).await?.total;
    let mut checked = Checked { behind: position.behind, through: position.through, ..Checked::default() };
    for dimension in dimensions(on).await? {
        let sum = sum_of_groups(on, &dimension).await?;
        if (sum.sums(), sum.cost, sum.saved) != (total.sums(), total.cost, total.saved) {
            checked.wrong.push(format!("the groups of {dimension} add up to {sum:?}, all rows to {total:?}"));
        }
        checked.dimensions.push(dimension.to_string());
    }
    let unended = "SELECT COUNT(*) FROM attempts a WHERE a.ended_request = 1 \
                   AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.id = a.request)";
    match Statement::new(unended).number(on).await? {
        0 => {}
        attempts => {
            checked.wrong.push(format!("{attempts} attempts ended requests that are not in the books"))
        }
    }
    checked.unknown = listed(on, UNKNOWN).await?;
    checked.estimated = listed(on, "e.estimated").await?;
    checked.duplicates = listed(on, "e.duplicate_possible").await?;
    checked.total = total;
    Ok(checked)
}

async fn dimensions(on: &mut AnyConnection) -> Result<Vec<Dimension>, QueryError> {
    let mut all = vec![
        Dimension::Workspace,
        Dimension::ApiKey,
        Dimension::VirtualKey,
        Dimension::Provider,
        Dimension::Model,
        Dimension::Operation,
        Dimension::Config,
        Dimension::User,
        Dimension::CacheStatus,
        Dimension::Status,
    ];
    all.extend(Interval::ALL.iter().map(|interval| Dimension::Time(*interval)));
    let names = format!("SELECT name FROM metadata GROUP BY name ORDER BY name LIMIT {MOST_KEYS}");
    for row in Statement::new(names).rows(on).await? {
        all.extend(text(&row, 0)?.map(Dimension::Metadata));
    }
    Ok(all)
}

/// The groups are read page by page and added up here, so that the database is not asked to agree with itself.
async fn sum_of_groups(on: &mut AnyConnection, dimension: &Dimension) -> Result<Row, QueryError> {
    let mut sum = Row::default();
    let mut query =
        Query { group_by: vec![dimension.clone()], order: Order::Keys, limit: MAX_LIMIT, ..Query::default() };
    loop {
        let page = report(on, &query, domain::Timestamp(0)).await?.rows;
        for row in &page {
            sum.add(row);
        }
        if page.len() < MAX_LIMIT as usize {
            return Ok(sum);
        }
        query.offset += MAX_LIMIT;
    }
}

/// Attempts for which the expression is 1, by provider and model.
async fn listed(on: &mut AnyConnection, flag: &str) -> Result<Vec<Listed>, QueryError> {
    let sql = format!(
        "SELECT e.provider, e.model, COUNT(*) AS attempts FROM attempts e WHERE {flag} = 1 \
         GROUP BY e.provider, e.model ORDER BY attempts DESC LIMIT {MOST_LISTED}"
    );
    let rows = Statement::new(sql).rows(on).await?;
    let read = rows
        .iter()
        .map(|row| Ok(Listed { provider: text(row, 0)?, model: text(row, 1)?, attempts: count(row, 2)? }));
    Ok(read.collect::<sqlx::Result<Vec<Listed>>>()?)
}
