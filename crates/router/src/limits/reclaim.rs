//! What routers that are gone had set aside: settled by one of those that live, under a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bus::PutError;
use bus::limits::{Ended, HeldCall};
use domain::limit::{Account, Outstanding};
use tracing::{debug, info, warn};

use super::Keeper;

/// Everything that is known of the calls of routers that are gone.
struct Found {
    calls: Vec<HeldCall>,
    ended: Vec<(u64, Ended)>,
    through: u64,
}

/// Looks for routers that are gone until the role ends.
pub(crate) async fn run(keeper: Arc<Keeper>) {
    let mut lease = 0;
    loop {
        let every = keeper.patience() / 3;
        tokio::time::sleep(every).await;
        match keeper.ctx.bus().lease("limits-reclaim", lease, every * 3).await {
            Ok(Some(sequence)) => lease = sequence,
            Ok(None) => {
                lease = 0;
                continue;
            }
            Err(err) => {
                debug!(%err, "could not renew the lease of looking for routers that are gone");
                continue;
            }
        }
        if let Err(err) = keeper.reclaim().await {
            warn!(
                err = format!("{err:#}"),
                "what routers left behind was not settled; the next round goes on"
            );
        }
    }
}

impl Keeper {
    async fn reclaim(&self) -> anyhow::Result<()> {
        let bus = self.ctx.bus();
        let accounts = bus.limit_accounts().await?;
        let holders: BTreeSet<String> =
            accounts.iter().flat_map(|account| account.grants.keys()).cloned().collect();
        if holders.is_empty() {
            return Ok(());
        }
        let alive = bus.limit_holders_alive(&holders).await?;
        let gone: Vec<String> = holders.into_iter().filter(|name| !alive.contains(name)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // First of all nothing may be added any more, even by a router that was only asleep.
        for name in &gone {
            bus.lower_fences(name).await?;
        }
        let oldest = accounts.iter().flat_map(|account| &account.grants);
        let oldest = oldest.filter(|(by, _)| gone.contains(by)).map(|(_, grant)| grant.through).min();
        // In the order in which calls move on: a call that ends meanwhile is found in both and counts as ended.
        let calls = bus.held_calls().await?;
        let ended = bus.ended_after(oldest.unwrap_or(0)).await?;
        let through = ended.last().map_or(0, |(sequence, _)| *sequence);
        let found = Found { calls, ended, through };
        for account in &accounts {
            for name in gone.iter().filter(|name| account.grants.contains_key(*name)) {
                self.reclaim_of(account.clone(), name, &found).await?;
            }
        }
        Ok(())
    }

    async fn reclaim_of(&self, seen: Account, gone: &str, found: &Found) -> anyhow::Result<()> {
        let bus = self.ctx.bus();
        loop {
            let (account, sequence) = bus.limit_account(&seen.bucket).await?;
            let Some(mut account) = account else { return Ok(()) };
            let Some(before) = account.grants.get(gone).cloned() else { return Ok(()) };
            let outstanding = found.of(gone, &account.bucket, before.through);
            account.reclaim(gone, &outstanding, found.through);
            if account.grants.get(gone) == Some(&before) {
                return Ok(());
            }
            match bus.put_limit_account(&account, sequence).await {
                Ok(_) => {
                    let (held, used) = (outstanding.held.len(), outstanding.used.len());
                    info!(
                        router = gone,
                        bucket = account.bucket,
                        held,
                        used,
                        "settled what a router left behind"
                    );
                    return Ok(());
                }
                Err(PutError::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }
}

impl Found {
    /// What a router left of one bucket that had been settled up to a position.
    fn of(&self, gone: &str, bucket: &str, through: u64) -> Outstanding {
        let mut outstanding = Outstanding::default();
        // An end may have been reported twice.
        let mut ended = BTreeMap::new();
        for (sequence, end) in &self.ended {
            let (Some(attempt), Some(hold)) = (&end.attempt, &end.hold) else { continue };
            if hold.by == gone {
                ended.entry((&end.request, attempt.number)).or_insert((*sequence, attempt, hold));
            }
        }
        for (sequence, attempt, hold) in ended.values() {
            for held in hold.held.iter().filter(|held| held.bucket == bucket && *sequence > through) {
                *outstanding.used.entry(held.slot).or_default() += held.used_by(attempt);
            }
        }
        let calls = self.calls.iter().filter(|call| call.hold.by == gone);
        for call in calls.filter(|call| !ended.contains_key(&(&call.request, call.number))) {
            for held in call.hold.held.iter().filter(|held| held.bucket == bucket) {
                *outstanding.held.entry(held.slot).or_default() += held.amount;
            }
        }
        outstanding
    }
}
