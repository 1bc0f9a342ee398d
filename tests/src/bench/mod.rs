//! The benchmark: one driver for every OpenAI-compatible URL, so that the gateway, the bare mock and rivals
//! are measured alike.

mod broker;
pub mod cache;
mod client;
mod closed_loop;
mod gateway;
pub mod ledger;
mod measure;
mod open_loop;
mod options;
pub mod policy;
mod process;
mod report;
mod stats;

#[cfg(test)]
mod test_server;

use anyhow::Context as _;
use hyper::header::{HeaderName, HeaderValue};

use self::broker::Writes;
use self::client::Endpoint;
use self::gateway::Gateway;
use self::measure::{Target, measure};
use self::process::Process;

pub use self::options::{Options, What};
pub use self::report::Report;

/// Measures every target and returns the medians. `progress` is told what is being measured.
///
/// Without URLs in the options it starts a gateway of its own and stops it at the end, whatever happened.
pub async fn run(options: &Options, progress: &dyn Fn(&str)) -> anyhow::Result<Report> {
    options.validate()?;
    if !options.urls.is_empty() {
        let targets = given_targets(options).await?;
        return measure(options, targets, writes(options.nats.as_deref()).await?, progress).await;
    }
    let gateway = match &options.binary {
        Some(binary) => Gateway::start(binary).await?,
        None => {
            progress("building the release binary");
            Gateway::start(&gateway::build().await?).await?
        }
    };
    let measured = measure_own(options, &gateway, progress).await;
    let stopped = gateway.stop().await;
    let report = measured?;
    stopped.map(|()| report)
}

/// The mock comes first, so that it is what the gateway is compared with.
async fn measure_own(
    options: &Options,
    gateway: &Gateway,
    progress: &dyn Fn(&str),
) -> anyhow::Result<Report> {
    let processes = gateway.processes()?;
    // The mock lives in the gateway's process, whose row therefore shows what the mock alone costs.
    let mock_process = processes.iter().take(1).cloned().collect();
    let ready = gateway.ready();
    let headers = options.header_pairs();
    let direct = Endpoint::resolve(&ready.mock, &headers).await?;
    let through = Endpoint::resolve(&format!("{}/v1", ready.http.trim_end_matches('/')), &headers).await?;
    let targets = vec![
        Target { name: "mock".into(), endpoint: direct, processes: mock_process },
        Target { name: "pointsman".into(), endpoint: through, processes },
    ];
    let nats = options.nats.as_deref().unwrap_or(&ready.nats);
    measure(options, targets, writes(Some(nats)).await?, progress).await
}

async fn given_targets(options: &Options) -> anyhow::Result<Vec<Target>> {
    let headers: Vec<(HeaderName, HeaderValue)> = options.header_pairs();
    let mut targets = Vec::new();
    for named in &options.urls {
        let endpoint = Endpoint::resolve(&named.url, &headers)
            .await
            .with_context(|| format!("use the URL of `{}`", named.name))?;
        let processes = options
            .pids
            .iter()
            .filter(|given| given.target == named.name)
            .map(|given| Process { name: given.process.clone(), pid: given.pid })
            .collect();
        targets.push(Target { name: named.name.clone(), endpoint, processes });
    }
    Ok(targets)
}

async fn writes(nats: Option<&str>) -> anyhow::Result<Option<Writes>> {
    match nats {
        Some(url) => Writes::connect(url).await.map(Some),
        None => Ok(None),
    }
}
