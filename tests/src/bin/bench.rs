//! Prints what the gateway costs: the mock provider called directly and through Pointsman, or any given URLs.

#![expect(clippy::print_stdout, reason = "the table is this program's purpose")]
#![expect(clippy::print_stderr, reason = "progress is shown apart from the table")]

use clap::Parser as _;
use system_tests::bench::{self, Options, What};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(What::Policy { configs, api_keys }) = options.what {
        let report = bench::policy::run(configs, api_keys).await?;
        if options.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        return Ok(());
    }
    if let Some(What::Cache { rounds }) = options.what {
        let measured = bench::cache::run(options.binary.as_deref(), rounds).await?;
        if options.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            print!("{measured}");
        }
        return Ok(());
    }
    if let Some(What::Ledger { events, rate, seconds }) = options.what {
        let binary = options.binary.as_deref();
        let measured = bench::ledger::run(binary, events, rate, seconds).await?;
        if options.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            measured.iter().for_each(|measured| print!("{measured}"));
        }
        return Ok(());
    }
    let report = bench::run(&options, &|progress| eprintln!("{progress}")).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
