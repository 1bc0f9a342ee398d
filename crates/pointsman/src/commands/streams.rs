//! `pointsman streams`: what exists on the broker, how deep, how late.

use std::process::ExitCode;

use domain::Timestamp;
use serde_json::json;

use crate::link;
use crate::output::{Output, ago, table};
use crate::settings::Settings;

pub(crate) async fn run(output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    let streams = bus.streams().await?;
    let now = bus.clock().now();
    let head =
        ["STREAM", "MESSAGES", "BYTES", "OLDEST", "CONSUMER", "WAITING", "IN FLIGHT", "LIMIT", "REDELIVERED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for stream in &streams {
        let oldest = stream.oldest_at.map(|at| ago(domain::time::millis(now.since(Timestamp(at)))));
        rows.push(vec![
            stream.name.clone(),
            stream.messages.to_string(),
            stream.bytes.to_string(),
            oldest.unwrap_or_else(|| "-".to_owned()),
        ]);
        for consumer in &stream.consumers {
            let blank = String::new();
            rows.push(vec![
                blank.clone(),
                blank.clone(),
                blank.clone(),
                blank,
                consumer.name.clone(),
                consumer.pending.to_string(),
                consumer.in_flight.to_string(),
                consumer.limit.to_string(),
                consumer.redelivered.to_string(),
            ]);
        }
    }
    output.value(&json!({ "streams": streams }));
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}
