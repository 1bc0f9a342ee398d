//! From headers and body facts to a request that may be published: everything is checked and sealed before
//! anything touches the bus.

mod publish;
mod seal;
#[cfg(test)]
mod tests;

use bus::Headers;
use domain::config::ConfigError;
use domain::facts::{self, Facts};
use domain::headers::{self, Limit, Options as Asked};
use domain::{
    ApiError, Config, Envelope, Lane, Operation, Registry, ReplyTo, RequestId, Timestamp, Workspace,
};
use telemetry::TraceContext;

pub(crate) use crate::intake::publish::set;
use crate::intake::seal::Sealer;
use crate::options::Options;

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
    pub(crate) facts: Facts,
    pub(crate) registry: &'a Registry,
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
        asked.routing.model = self.facts.model_with_provider();
        let (limit, deadline) = self.limit(&asked)?;
        let lane = self.lane(visible(headers::LANE), asked.asynchronous)?;
        let sealer = Sealer::new(self.registry);
        asked.config = asked.config.map(|text| sealer.config(self.door, text)).transpose()?;
        if self.door == Door::Http {
            asked.routing.api_key = sealer.callers_credential(&asked, get)?;
        }
        let config = parse(&asked)?;
        self.check_targets(config.as_ref())?;
        self.check_model(config.as_ref())?;
        if self.door == Door::Http {
            asked.forward = sealer.forwarded(config.as_ref(), &asked, get)?;
        }
        asked.traceparent = Some(self.trace.to_string());
        let chosen = asked.request.is_some();
        let request = asked.request.clone().unwrap_or_else(|| self.fresh.clone());
        let headers = publish::headers(&request, chosen, limit, &asked, &visible);
        Ok(Order {
            request,
            chosen,
            operation: self.operation,
            lane,
            facts: self.facts.clone(),
            deadline,
            asynchronous: asked.asynchronous,
            headers,
            asked,
        })
    }

    /// Headers that only gateways set; from callers they are ignored.
    fn is_internal(&self, name: &str) -> bool {
        let always = [headers::GATEWAY, headers::REPLY_TO, headers::BODY];
        let sealed_here = [headers::CREDENTIAL, headers::FORWARD];
        always.contains(&name) || (self.door == Door::Http && sealed_here.contains(&name))
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

    fn check_targets(&self, config: Option<&Config>) -> Result<(), ApiError> {
        // Which provider answers is not known yet where the model is to be chosen.
        for target in config.into_iter().flat_map(Config::targets).filter(|t| t.choose.is_none()) {
            providers::resolve::resolve(target, self.registry, &self.options.trusted_hosts)?;
        }
        Ok(())
    }

    /// A request that names no model is fine if every target brings its own.
    fn check_model(&self, config: Option<&Config>) -> Result<(), ApiError> {
        if self.facts.model.is_some() {
            return Ok(());
        }
        let named = match (config, &self.registry.route) {
            (Some(config), _) => config.names_every_model(),
            (None, Some(route)) => Config::parse(&route.to_string(), &Default::default())
                .is_ok_and(|config| config.names_every_model()),
            (None, None) => false,
        };
        if named { Ok(()) } else { Err(facts::missing_model()) }
    }
}

/// The config the request brings, or the one its headers stand for. None: the configured route answers.
fn parse(asked: &Asked) -> Result<Option<Config>, ApiError> {
    let config = match &asked.config {
        Some(text) => Config::parse(text, &asked.routing),
        None if asked.routing.names_a_provider() => Config::from_headers(&asked.routing),
        None => return Ok(None),
    };
    config
        .map(Some)
        .map_err(|err: ConfigError| ApiError::bad_request(&err.path, "invalid_config", err.to_string()))
}

impl Order {
    /// The request as events tell of it.
    pub(crate) fn envelope(&self, workspace: Workspace, accepted_at: Timestamp) -> Envelope {
        Envelope {
            request: self.request.clone(),
            workspace,
            operation: self.operation,
            lane: self.lane,
            model: self.facts.model.clone(),
            stream: self.facts.stream,
            include_usage: self.facts.include_usage,
            accepted_at,
            deadline: self.deadline,
            reply: ReplyTo::Nobody,
            asynchronous: self.asynchronous,
            config: self.asked.config.clone().unwrap_or_default(),
            routing: self.asked.routing.clone(),
            forward: self.asked.forward.clone(),
            metadata: self.asked.metadata.clone(),
            traceparent: self.asked.traceparent.clone(),
            trace_id: self.asked.trace_id.clone(),
            attempts: Vec::new(),
            numbers_used: 0,
            result_seq: 0,
            failed: None,
            call: None,
            body: domain::BodyRef::default(),
        }
    }
}
