//! The ledger: nothing is lost or counted twice when it dies, when its database does, and when it is made anew.

use std::time::Duration;

use domain::spend::Query;
use system_tests::crash::load::Volume;
use system_tests::crash::{Cluster, Killer, Load, Part, killer, settle, violations};
use system_tests::harness::{Broker, Client, Observer, Postgres, eventually};

use crate::BINARY;

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ledger_has_the_providers_bill_to_the_token() {
    let seed: u64 = rand::random();
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = killer::blocking(|| Cluster::start(BINARY, dir.path().to_owned()));
    let load = Load::start("r", seed, &cluster.nats(), &cluster.http(), Volume::default()).await;
    let mut killer = Killer::new(seed, killer::LEDGER);
    for _ in 0..4 {
        killer.round(&mut cluster).await;
    }
    let books = settle(&cluster, load.stop().await, "r").await;
    let found = violations(&books);
    assert!(found.is_empty(), "seed {seed}: {}\n{:#?}", found.join("\n"), books.faults);
    let kept = books.ledger.unwrap();
    assert!(kept.attempts.len() > 30, "seed {seed}: only {} attempts", kept.attempts.len());

    let observer = Observer::connect(&cluster.nats()).await;
    let bus = observer.bus(&cluster.nats()).await;
    let checked = bus.check_ledger().await.unwrap();
    assert_eq!(checked.wrong, Vec::<String>::new());
    assert_eq!(checked.total.attempts, kept.attempts.len() as u64);
    let rebuilt = bus.rebuild_ledger().await.unwrap();
    assert_eq!((rebuilt.missing, rebuilt.extra, rebuilt.different), (0, 0, 0), "{rebuilt:?}");
    assert_eq!(rebuilt.rows, (kept.attempts.len() + kept.requests.len()) as u64);
    assert_eq!(rebuilt.before, rebuilt.after);

    // Books that were lost altogether come back from the events.
    killer::blocking(|| cluster.kill(Part::Ledger));
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("data").join(file));
    }
    killer::blocking(|| cluster.restart(Part::Ledger));
    let anew =
        eventually("the ledger is made anew", PATIENCE, || async { bus.rebuild_ledger().await.ok() }).await;
    assert_eq!((anew.missing, anew.after), (rebuilt.rows, rebuilt.after), "{anew:?}");
    assert_eq!(bus.spend(Query::default()).await.unwrap().total, checked.total);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_delays_the_books_and_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut postgres = killer::blocking(Postgres::start);
    let url = postgres.database("ledger");
    let gateway = crate::up(dir.path()).set("ledger.url", &format!("\"{url}\"")).ready();
    let client = Client::new(&gateway.http());
    let bus = Observer::connect(&gateway.nats()).await.bus(&gateway.nats()).await;
    let booked = async |requests: u64| {
        eventually("all requests are booked", PATIENCE, || async {
            let report = bus.spend(Query::default()).await.ok()?;
            assert!(report.total.requests <= requests, "{report:?}");
            (report.total.requests == requests).then_some(report)
        })
        .await
    };
    for _ in 0..5 {
        assert_eq!(client.send(client.chat("mock")).await.status, 200);
    }
    booked(5).await;
    killer::blocking(|| postgres.pause());
    for _ in 0..5 {
        assert_eq!(client.send(client.chat("mock")).await.status, 200);
    }
    eventually("an operator is told", PATIENCE, || async {
        gateway.log().contains("the ledger cannot be written").then_some(())
    })
    .await;
    killer::blocking(|| postgres.resume());
    let report = booked(10).await;
    assert_eq!((report.total.attempts, report.total.errors), (10, 0));
    let out =
        crate::pointsman(dir.path(), &["ledger", "check", "--json", "--nats", &gateway.nats()]).finish();
    assert_eq!(out.json()["total"]["requests"], 10, "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_keeper_of_books_in_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("nats"));
    let run = |data: &str| {
        let data = dir.path().join(data).display().to_string();
        crate::pointsman(
            dir.path(),
            &["run", "cost-accounting", "--nats", &broker.url(), "--data-dir", &data],
        )
    };
    let mut first = run("one").ready();
    let bus = Observer::connect(&broker.url()).await.bus(&broker.url()).await;
    eventually("the first one answers", PATIENCE, || async { bus.spend(Query::default()).await.ok() }).await;
    let second = killer::blocking(|| run("two").finish());
    let told = format!("{second:?}");
    assert!(told.contains("keeps this system's ledger") && told.contains("ledger.url"), "{told}");
    // One that ends in order leaves its place to the next at once.
    killer::blocking(|| first.stop(PATIENCE));
    let _third = run("two").ready();
    eventually("the next one answers", PATIENCE, || async { bus.spend(Query::default()).await.ok() }).await;
}
