//! From headers and body facts to a request that may be published: everything is checked and sealed before
//! anything touches the bus.

mod publish;
mod seal;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bus::Headers;
use bus::policy::PolicyView;
use domain::config::ConfigError;
use domain::envelope::Passthrough;
use domain::facts::{self, Facts};
use domain::headers::{self, Limit, Options as Asked};
use domain::policy::{Chosen, Identity};
use domain::{
    ApiError, Config, ConfigSource, Envelope, Lane, Operation, Registry, ReplyTo, RequestId, Timestamp,
};
use providers::resolve::{self, Names, Unresolved, Wanted};
use telemetry::TraceContext;

pub(crate) use crate::intake::publish::set;
use crate::intake::seal::Sealer;
use crate::options::Options;

/// How long after its deadline a request's identity is still believed: who redrives a dead letter comes late.
const AFTERLIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Over HTTP: credentials come in clear and are sealed here.
    Http,
    /// Over the bus: credentials have to be sealed already.
    Nats,
}

/// Looks a header up without regard to case.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// What a request is checked against.
pub(crate) struct Intake<'a> {
    pub(crate) door: Door,
    pub(crate) operation: Operation,
    /// Media type of the body; None: JSON.
    pub(crate) content_type: Option<String>,
    /// Method and path of what passes through; None: headers say so, or nothing passes through.
    pub(crate) passthrough: Option<Passthrough>,
    /// What headers say to the provider that they name, in clear.
    pub(crate) provider_options: serde_json::Map<String, serde_json::Value>,
    /// What the body says, or what is wrong with it.
    pub(crate) facts: Result<Facts, ApiError>,
    pub(crate) registry: &'a Registry,
    pub(crate) policy: &'a PolicyView,
    /// Whose request it is.
    pub(crate) identity: Identity,
    pub(crate) options: &'a Options,
    pub(crate) now: Timestamp,
    /// The id of a request that brings none.
    pub(crate) fresh: RequestId,
    /// Nobody waits to the end, by the door's own way of saying so.
    pub(crate) asynchronous: bool,
    /// Position of this hop in the caller's trace.
    pub(crate) trace: TraceContext,
}

/// A checked request.
pub(crate) struct Order {
    pub(crate) identity: Identity,
    pub(crate) request: RequestId,
    /// The caller chose the id, so there may be an answer already.
    pub(crate) chosen: bool,
    pub(crate) operation: Operation,
    pub(crate) lane: Lane,
    pub(crate) facts: Facts,
    pub(crate) deadline: Timestamp,
    pub(crate) asynchronous: bool,
    /// What is published with the body.
    pub(crate) headers: Headers,
    asked: Asked,
}

impl Intake<'_> {
    /// Checks everything that can be checked before publishing.
    pub(crate) fn check(&self, get: Lookup<'_>) -> Result<Order, ApiError> {
        if self.door == Door::Nats {
            seal::refuse_clear_headers(get)?;
        }
        let visible = |name: &str| if self.is_internal(name) { None } else { get(name) };
        let mut asked = Asked::read(visible)?;
        asked.asynchronous |= self.asynchronous;
        if let Ok(facts) = &self.facts {
            asked.fill(facts)?;
            asked.asynchronous |= facts.conversation.background;
        }
        asked.routing.model = self.facts.as_ref().ok().and_then(Facts::model_with_provider);
        asked.content_type.clone_from(&self.content_type);
        self.passes(&mut asked)?;
        let (limit, deadline) = self.limit(&asked)?;
        let lane = self.lane(visible(headers::LANE), asked.asynchronous)?;
        let sealer = Sealer::new(self.registry);
        if let Some(ConfigSource::Inline(text)) = asked.config {
            asked.config = Some(ConfigSource::Inline(sealer.config(self.door, text)?));
        }
        asked.routing.provider_options =
            sealer.options(self.door, &asked.routing.provider_options, &self.provider_options)?;
        let chosen = self.policy.read(|policy| policy.choose_config(&self.identity, &asked))?;
        if self.door == Door::Http {
            asked.routing.api_key = sealer.callers_credential(&chosen, get)?;
        }
        let config = parse(&chosen, &asked, self.options.shortest_cooldown)?;
        if let Chosen::Stored(_) = &chosen {
            // The router goes on with the version that was checked here.
            asked.config = chosen.source();
        }
        self.check_targets(config.as_ref(), &chosen, &asked)?;
        let facts = self.facts.clone()?;
        self.check_model(config.as_ref(), &facts)?;
        if self.door == Door::Http {
            asked.forward = sealer.forwarded(config.as_ref(), &asked, get)?;
        }
        asked.traceparent = Some(self.trace.to_string());
        let chosen = asked.request.is_some();
        let request = asked.request.clone().unwrap_or_else(|| self.fresh.clone());
        let request = request.within(&self.identity.workspace);
        let mut headers = publish::headers(&request, chosen, limit, &asked, &visible);
        let until = deadline.plus(AFTERLIFE);
        let said = self.options.access.say(&self.identity, request.local(), until);
        set(&mut headers, headers::IDENTITY, &said);
        if let Some(seen) = self.seen(config.as_ref(), get) {
            set(&mut headers, headers::SEEN, &seen);
        }
        Ok(Order {
            identity: self.identity.clone(),
            request,
            chosen,
            operation: self.operation,
            lane,
            facts,
            deadline,
            asynchronous: asked.asynchronous,
            headers,
            asked,
        })
    }

    /// Headers that only gateways set; from callers they are ignored.
    fn is_internal(&self, name: &str) -> bool {
        let always = [
            headers::GATEWAY,
            headers::REPLY_TO,
            headers::BODY,
            headers::IDENTITY,
            headers::CONFIG_VERSION,
            headers::SEEN,
            headers::CACHE_WISHES,
        ];
        let sealed_here = [headers::CREDENTIAL, headers::FORWARD];
        always.contains(&name) || (self.door == Door::Http && sealed_here.contains(&name))
    }

    /// What passes through, and nothing else, says its method and path.
    fn passes(&self, asked: &mut Asked) -> Result<(), ApiError> {
        match self.operation {
            Operation::Passthrough => {
                asked.passthrough = self.passthrough.clone().or(asked.passthrough.take());
                if asked.passthrough.is_none() {
                    let name = headers::PATH;
                    let message =
                        format!("header `{name}`: is missing; write the provider's path, as in `/files`");
                    return Err(ApiError::bad_request(name, "invalid_header", message));
                }
            }
            _ => asked.passthrough = None,
        }
        Ok(())
    }

    fn limit(&self, asked: &Asked) -> Result<(Limit, Timestamp), ApiError> {
        let usual = if asked.asynchronous { self.options.asynchronous } else { self.options.interactive };
        let limit = asked.limit.unwrap_or(Limit::Within(usual));
        let name = if matches!(limit, Limit::At(_)) { headers::DEADLINE } else { headers::TIMEOUT };
        let deadline = limit.deadline(self.now);
        if deadline <= self.now {
            let message = format!("header `{name}`: the deadline has passed; name a time in the future");
            return Err(ApiError::bad_request(name, "deadline_in_the_past", message));
        }
        if asked.limit.is_some() && deadline.since(self.now) > self.options.maximum {
            let most = domain::time::format_duration(self.options.maximum);
            let message = format!(
                "header `{name}`: a request may take at most {most} (`deadlines.maximum`); ask for less"
            );
            return Err(ApiError::bad_request(name, "deadline_too_far", message));
        }
        Ok((limit, deadline))
    }

    fn lane(&self, word: Option<&str>, asynchronous: bool) -> Result<Lane, ApiError> {
        match word {
            None => Ok(if asynchronous { Lane::Normal } else { Lane::Interactive }),
            Some(word) => word.trim().parse().map_err(|err: domain::operation::UnknownWord| {
                ApiError::bad_request(
                    headers::LANE,
                    "invalid_header",
                    format!("header `{}`: {err}", headers::LANE),
                )
            }),
        }
    }

    /// The headers that decisions look at. None: none.
    fn seen(&self, config: Option<&Config>, get: Lookup<'_>) -> Option<String> {
        // A route of one target decides nothing.
        let route = || self.registry.route.as_ref().filter(|route| route.get("strategy").is_some());
        let wanted = match config {
            Some(config) => config.wanted_headers().to_vec(),
            None => Config::read(route()?, &Default::default()).ok()?.wanted_headers().to_vec(),
        };
        let seen = headers::seen(&wanted, get);
        if seen.is_empty() { None } else { serde_json::to_string(&seen).ok() }
    }

    fn check_targets(&self, config: Option<&Config>, chosen: &Chosen, asked: &Asked) -> Result<(), ApiError> {
        let Some(config) = config else { return resolve::default_config(self.registry).map(drop) };
        let model = self.facts.as_ref().ok().and_then(|facts| facts.model.as_deref());
        let wanted = Wanted {
            operation: self.operation,
            model,
            stream: self.facts.as_ref().is_ok_and(|facts| facts.stream),
            path_and_query: asked.passthrough.as_ref().map(|through| through.path_and_query.as_str()),
        };
        self.policy.read(|policy| {
            let names = Names {
                registry: self.registry,
                policy,
                workspace: &self.identity.workspace,
                trusted_hosts: &self.options.trusted_hosts,
                now: self.now,
            };
            // Which provider answers is not known yet where the model is to be chosen.
            for target in config.targets().filter(|target| target.choose.is_none()) {
                match resolve::resolve(target, &names, wanted) {
                    // What a target cannot serve, another may.
                    Ok(_) | Err(Unresolved::Target(_)) => {}
                    Err(Unresolved::Document(err)) => {
                        return Err(resolve::blame(*err, matches!(chosen, Chosen::Headers), &asked.routing));
                    }
                }
            }
            Ok(())
        })
    }

    /// A request that names no model is fine if every target brings its own.
    fn check_model(&self, config: Option<&Config>, facts: &Facts) -> Result<(), ApiError> {
        if facts.model.is_some() || !self.operation.needs_model() {
            return Ok(());
        }
        let named = match (config, &self.registry.route) {
            (Some(config), _) => config.names_every_model(),
            (None, Some(route)) => {
                Config::read(route, &Default::default()).is_ok_and(|config| config.names_every_model())
            }
            (None, None) => false,
        };
        if named { Ok(()) } else { Err(facts::missing_model()) }
    }
}

/// The config the request brings, or the one its headers stand for. None: the configured route answers.
fn parse(chosen: &Chosen, asked: &Asked, shortest_cooldown: Duration) -> Result<Option<Config>, ApiError> {
    let config = match chosen {
        Chosen::Inline(text) => Config::parse(text, &asked.routing),
        Chosen::Stored(version) => Config::read(&version.document, &asked.routing)
            .and_then(|config| config.check_hosts(&asked.routing).map(|()| config)),
        Chosen::Headers => Config::from_headers(&asked.routing),
        Chosen::Route | Chosen::Unseen(_) => return Ok(None),
    };
    let text = match chosen {
        Chosen::Inline(text) => text.as_str(),
        _ => "{}",
    };
    config
        .and_then(|config| config.check_cooldowns(shortest_cooldown).map(|()| Some(config)))
        .map_err(|err: ConfigError| ApiError::bad_config(text, &err))
}

impl Order {
    /// The request as events tell of it.
    pub(crate) fn envelope(&self, accepted_at: Timestamp) -> Envelope {
        Envelope {
            request: self.request.clone(),
            workspace: self.identity.workspace.clone(),
            key: self.identity.key.clone(),
            user: self.facts.user(self.asked.metadata.as_deref()),
            operation: self.operation,
            lane: self.lane,
            content_type: self.asked.content_type.clone(),
            passthrough: self.asked.passthrough.clone(),
            model: self.facts.model.clone(),
            stream: self.facts.stream,
            include_usage: self.facts.include_usage,
            conversation: self.facts.conversation.clone(),
            accepted_at,
            deadline: self.deadline,
            reply: ReplyTo::Nobody,
            asynchronous: self.asynchronous,
            config: self.asked.config.clone().unwrap_or_default(),
            routing: self.asked.routing.clone(),
            forward: self.asked.forward.clone(),
            metadata: self.asked.metadata.clone(),
            seen: std::collections::BTreeMap::new(),
            options_in_body: false,
            wishes: domain::cache::Wishes::default(),
            cache: None,
            flight: None,
            show_cost: false,
            traceparent: self.asked.traceparent.clone(),
            trace_id: self.asked.trace_id.clone(),
            attempts: Vec::new(),
            numbers_used: 0,
            result_seq: 0,
            failed: None,
            counted: false,
            waiting: None,
            call: None,
            body: domain::BodyRef::default(),
        }
    }
}
