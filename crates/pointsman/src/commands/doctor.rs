//! `pointsman doctor`: what is wrong, and how to mend it.

use std::process::ExitCode;
use std::time::Duration;

use bus::Bus;
use serde::Serialize;
use serde_json::json;

use crate::link;
use crate::output::{BAD, GOOD, Output, WARN, styled};
use crate::process::register;
use crate::settings::Settings;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Broken,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Ok, found: found.into(), fix: None }
}

fn bad(check: &'static str, verdict: Verdict, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, verdict, found: found.into(), fix: Some(fix.into()) }
}

pub(crate) async fn run(output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    match link::connect(settings).await {
        Err(err) => {
            let fix = "start the gateway with `pointsman up`, or name the broker with `--nats`";
            findings.push(bad("broker", Verdict::Broken, format!("{err:#}"), fix));
        }
        Ok(bus) => {
            findings
                .push(ok("broker", format!("nats-server {} at {}", bus.server_version(), bus.options().url)));
            findings.push(storage(&bus, settings).await);
            let streams = streams(&bus).await;
            let complete = streams.verdict == Verdict::Ok;
            findings.push(streams);
            // The rest is read from the streams, and a write to one that is missing would be tried for long.
            if !complete {
                return Ok(conclude(output, &findings));
            }
            findings.push(clock(&bus).await);
            findings.push(key(&bus, settings).await);
            findings.push(dead(&bus).await);
            findings.extend(providers(&bus).await);
        }
    }
    Ok(conclude(output, &findings))
}

/// Prints the findings; any that is broken makes the command fail.
fn conclude(output: Output, findings: &[Finding]) -> ExitCode {
    let broken = findings.iter().any(|f| f.verdict == Verdict::Broken);
    output.value(&json!({ "ok": !broken, "findings": findings }));
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => styled(GOOD, "ok     "),
            Verdict::Warning => styled(WARN, "warning"),
            Verdict::Broken => styled(BAD, "broken "),
        };
        output.line(format!("{mark}  {:<10} {}", finding.check, finding.found));
        if let Some(fix) = &finding.fix {
            output.line(format!("         {:<10} fix: {fix}", ""));
        }
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn streams(bus: &Bus) -> Finding {
    let wanted: Vec<String> = bus.stream_configs().into_iter().map(|c| c.name).collect();
    match bus.streams().await {
        Err(err) => bad(
            "streams",
            Verdict::Broken,
            format!("{err:#}"),
            "check the broker's permissions for this user",
        ),
        Ok(found) => {
            let missing: Vec<&String> =
                wanted.iter().filter(|w| !found.iter().any(|f| f.name == **w)).collect();
            if missing.is_empty() {
                return ok("streams", format!("all {} exist", wanted.len()));
            }
            let names = missing.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
            bad(
                "streams",
                Verdict::Broken,
                format!("missing: {names}"),
                "start any role once; it creates them",
            )
        }
    }
}

async fn clock(bus: &Bus) -> Finding {
    match bus.read_clock().await {
        Err(err) => {
            bad("clock", Verdict::Warning, format!("could not be compared: {err:#}"), "start a role first")
        }
        Ok(offset) if offset.abs() > 1000 => {
            let found = format!("{offset} ms behind the broker's");
            bad(
                "clock",
                Verdict::Warning,
                found,
                "run an NTP client on both machines; deadlines follow the broker's clock",
            )
        }
        Ok(offset) => ok("clock", format!("{offset} ms behind the broker's")),
    }
}

async fn storage(bus: &Bus, settings: &Settings) -> Finding {
    match bus.storage().await {
        Err(err) => bad("storage", Verdict::Broken, format!("{err:#}"), "enable JetStream for this account"),
        Ok(storage) => {
            let percent = storage.used.saturating_mul(100) / storage.limit.max(1);
            let found = format!("{percent} % of {} bytes used", storage.limit);
            if percent >= u64::from(settings.limits.storage_percent) {
                let fix = "new requests are refused; raise `nats.max_store`, or let the backlog drain";
                return bad("storage", Verdict::Broken, found, fix);
            }
            ok("storage", found)
        }
    }
}

async fn key(bus: &Bus, settings: &Settings) -> Finding {
    let theirs = match bus.registry().await {
        Ok((registry, _)) => registry.sealing_key,
        Err(err) => return bad("sealing", Verdict::Broken, err.to_string(), "start any role once"),
    };
    let Some(theirs) = theirs else {
        return bad(
            "sealing",
            Verdict::Warning,
            "no provider worker has published its key",
            "start a provider-worker",
        );
    };
    let key_file = settings.data_dir.join("sealing.key");
    if !key_file.exists() && settings.sealing.private_key().ok().flatten().is_none() {
        return ok("sealing", "the key is kept elsewhere; workers check it when they start");
    }
    match register::sealing_key(settings, None) {
        Err(err) => bad(
            "sealing",
            Verdict::Broken,
            format!("{err:#}"),
            "repair the key file, or set sealing.private_key",
        ),
        Ok(ours) if ours.public().to_text() != theirs => {
            let fix = "use the data directory or the sealing.private_key that the running workers use";
            bad(
                "sealing",
                Verdict::Broken,
                "the key here is not the one that credentials are sealed for",
                fix,
            )
        }
        Ok(ours) => ok("sealing", format!("key {}", ours.public().fingerprint())),
    }
}

async fn dead(bus: &Bus) -> Finding {
    let letters = bus
        .streams()
        .await
        .ok()
        .and_then(|s| s.into_iter().find(|s| s.name == bus::subject::DEAD_STREAM).map(|s| s.messages));
    match letters.unwrap_or(0) {
        0 => ok("dead", "no dead letters"),
        n => bad(
            "dead",
            Verdict::Warning,
            format!("{n} dead letters"),
            "see `pointsman dead ls`, then `pointsman dead redrive`",
        ),
    }
}

async fn providers(bus: &Bus) -> Vec<Finding> {
    let Ok((registry, _)) = bus.registry().await else { return Vec::new() };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build();
    let Ok(client) = client else { return Vec::new() };
    let mut findings = Vec::new();
    if registry.providers.is_empty() {
        let fix = "add [providers.<slug>] to the settings, or start the mock with `pointsman up`";
        findings.push(bad("providers", Verdict::Warning, "none is configured", fix));
    }
    for (slug, provider) in &registry.providers {
        // Any answer will do: without the credential a refusal proves that somebody is there.
        match client.get(format!("{}/models", provider.base_url)).send().await {
            Ok(answer) => {
                findings.push(ok("provider", format!("{slug} answers ({})", answer.status().as_u16())))
            }
            Err(err) => {
                let found = format!("{slug} at {} does not answer: {}", provider.base_url, err.without_url());
                findings.push(bad(
                    "provider",
                    Verdict::Broken,
                    found,
                    "check base_url, DNS, proxies and the firewall",
                ));
            }
        }
    }
    findings
}
