//! Whose request it is: said by a gateway under the cluster's secret, or shown by a producer with an API key.

use bus::identity;
use bus::work::Delivery;
use domain::ApiError;
use domain::headers;
use domain::policy::{Identity, Refused};

use crate::act::Router;

/// What a request needs to be allowed.
const SCOPE: &str = "completions.write";

impl Router {
    /// Whose request it is. Errors are 401s and 403s.
    pub(crate) fn identify(&self, delivery: &Delivery) -> Result<Identity, ApiError> {
        let access = &self.options.access;
        let now = self.ctx.clock().now();
        if let Some(said) = delivery.header(headers::IDENTITY) {
            // A request may wait for long: what counts is when it was published.
            let request = delivery.header(headers::REQUEST_ID).unwrap_or_default();
            return access.believe(said, request, delivery.stored_at).map_err(|err| {
                ApiError::new(401, "invalid_identity", format!("header `{}`: {err}", headers::IDENTITY))
                    .with_param(headers::IDENTITY)
            });
        }
        let shown = [headers::KEY, "x-portkey-api-key"].iter().find_map(|name| delivery.header(name));
        match shown {
            Some(text) if access.keys_over_nats => {
                let key = self
                    .ctx
                    .policy()
                    .read(|policy| identity::authenticate(policy, text, now))
                    .map_err(Refused::error)?;
                if !key.allows(SCOPE) {
                    return Err(Refused::Forbidden.error());
                }
                Ok(key.identity())
            }
            _ if access.required => Err(Refused::Missing.error()),
            _ => Ok(Identity::default()),
        }
    }
}
