//! From a target that was chosen to one that can be called: looked up, permitted, with somebody who takes the calls.

use domain::config::Target;
use domain::config::params::Path;
use domain::health::{Watch, target_key};
use domain::{Envelope, Timestamp};
use providers::resolve::{self, Names, Unresolved, Wanted};

use crate::act::{NotCalled, Router, Trouble};
use crate::health::Permission;

impl Router {
    /// What to watch at a target that was chosen. None: it is half-open, and somebody else is trying it.
    pub(crate) async fn permitted(
        &self,
        envelope: &Envelope,
        target: &Target,
        model: Option<&str>,
        now: Timestamp,
    ) -> Option<Watch> {
        let mut watch = Watch {
            target: target_key(&envelope.workspace, &resolve::queue(target)),
            policy: target.breaker.clone(),
            model: model.map(str::to_owned),
            callers_credential: callers_credential(target),
            callers_timeout: envelope.routing.request_timeout.is_some(),
            probe: false,
        };
        let longest = resolve::longest(target, &self.ctx.registry());
        match self.health.permit(&watch, now, longest).await {
            Permission::Granted => {}
            Permission::Probe => watch.probe = true,
            Permission::Denied => return None,
        }
        Some(watch)
    }

    /// Everything that a call to a target needs.
    pub(crate) async fn resolve(
        &self,
        target: &Target,
        envelope: &Envelope,
        now: Timestamp,
    ) -> Result<resolve::Resolved, NotCalled> {
        // A gateway may have heard of a virtual key first.
        let unknown = |unresolved: &Unresolved| match unresolved {
            Unresolved::Document(err) => err.code.as_deref() == Some("unknown_provider"),
            Unresolved::Target(_) => false,
        };
        let found = self.twice(|| self.look_up(target, envelope, now), unknown).await;
        Ok(found.map_err(|err| NotCalled::Trouble(err.into()))??)
    }

    fn look_up(
        &self,
        target: &Target,
        envelope: &Envelope,
        now: Timestamp,
    ) -> Result<resolve::Resolved, Unresolved> {
        let wanted = Wanted {
            operation: envelope.operation,
            model: envelope.model.as_deref(),
            stream: envelope.stream,
            path_and_query: envelope.passthrough.as_ref().map(|through| through.path_and_query.as_str()),
        };
        self.ctx.policy().read(|policy| {
            let names = Names {
                registry: &self.ctx.registry(),
                policy,
                workspace: &envelope.workspace,
                trusted_hosts: &self.options.trusted_hosts,
                now,
            };
            resolve::resolve(target, &names, wanted)
        })
    }

    pub(crate) async fn ensure_target(&self, queue: &str, limit: usize) -> Result<(), Trouble> {
        if self.targets.lock().get(queue) == Some(&limit) {
            return Ok(());
        }
        self.ctx.bus().ensure_target(queue, limit).await?;
        self.targets.lock().insert(queue.to_owned(), limit);
        Ok(())
    }

    /// Forgets which targets are known, so that the next call makes sure again.
    pub(crate) fn forget_target(&self, queue: &str) {
        self.targets.lock().remove(queue);
    }
}

/// Whether the caller brought the credential or the host of a target.
pub(crate) fn callers_credential(target: &Target) -> bool {
    target.api_key.is_some() || target.custom_host.is_some()
}

/// What is taken out of the body for a target.
pub(crate) fn dropped(target: &Target, envelope: &Envelope) -> Vec<Path> {
    let ours = ["config", "provider"].iter().filter_map(|name| name.parse().ok());
    let own = target.drop_params.iter().cloned();
    if envelope.options_in_body { own.chain(ours).collect() } else { own.collect() }
}
