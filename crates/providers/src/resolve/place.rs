//! A target's provider, and how it is spoken to for one request.

use std::collections::BTreeMap;

use domain::config::Target;
use domain::envelope::Auth;
use domain::registry::{Format, Provider, Quirks, Variant, When};
use domain::{ApiError, Operation, policy};
use serde_json::{Map, Value};

use super::{Unresolved, Wanted};
use crate::address::{self, Unfilled, Values};
use crate::formats;

/// The option that a host which a target names is written as, where a provider has none of its own.
const CUSTOM_HOST: &str = "custom_host";

/// How a provider is spoken to for one request.
pub(super) struct Spoken {
    pub(super) format: Format,
    pub(super) operation: Operation,
    pub(super) base_url: String,
    pub(super) path_and_query: String,
    pub(super) model: Option<String>,
    pub(super) quirks: Quirks,
    pub(super) auth: Auth,
    /// Whose host it is that is called.
    pub(super) host: Host,
}

/// Who chose a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The catalogue or the settings.
    Provider,
    /// The owner of the credential, by a custom host or an option.
    Account,
    /// The target, by an option: our credential does not go there.
    Target,
}

/// A target's provider and the options that count there.
pub(super) struct Place<'a> {
    pub(super) target: &'a Target,
    pub(super) provider: &'a Provider,
    /// The host that the target or the virtual key names.
    pub(super) custom_host: Option<&'a str>,
    /// Options of the target, of the virtual key and of the provider.
    pub(super) options: [&'a Map<String, Value>; 3],
}

impl Place<'_> {
    /// How the provider is spoken to. Errors name the option, the field or the operation that is missing.
    pub(super) fn spoken(&self, model: Option<&str>, wanted: Wanted<'_>) -> Result<Spoken, Unresolved> {
        let provider = self.provider;
        let variant = provider.variants.iter().find(|variant| self.fits(variant, model, wanted.operation));
        let (format, offered) = match variant {
            Some(variant) => (variant.format, &variant.operations),
            None => (provider.format, self.offered()),
        };
        let operation = formats::asked(format, wanted.operation, offered).ok_or_else(|| {
            Unresolved::Target(Box::new(self.not_offered(wanted.operation, format, offered)))
        })?;
        let name = variant.and_then(|variant| renamed(variant, model?));
        let name = name.as_deref().or(model);
        let path_and_query = match wanted.path_and_query.filter(|_| operation == Operation::Passthrough) {
            Some(path) => path.to_owned(),
            None => self.path(variant, format, operation, wanted.stream, name)?,
        };
        let (base_url, host) = self.base_url(variant)?;
        let auth = &provider.auth;
        let header = variant.and_then(|variant| variant.auth_header.as_ref()).unwrap_or(&auth.header);
        let scheme = variant.and_then(|variant| variant.auth_scheme.as_ref()).unwrap_or(&auth.scheme);
        Ok(Spoken {
            format,
            operation,
            base_url,
            path_and_query,
            model: name.filter(|name| Some(*name) != model).map(str::to_owned),
            quirks: variant.map_or_else(|| provider.quirks.clone(), |variant| variant.quirks.clone()),
            auth: Auth { header: header.clone(), scheme: scheme.clone(), signing: auth.signing.clone() },
            host,
        })
    }

    fn fits(&self, variant: &Variant, model: Option<&str>, operation: Operation) -> bool {
        let named = |model: &str| variant.models.iter().any(|pattern| policy::matches(pattern, model));
        let elsewhere = self.custom_host.is_some() && variant.is_elsewhere();
        (variant.models.is_empty() || model.is_some_and(named))
            && (variant.asked.is_empty() || variant.asked.contains(&operation))
            && !elsewhere
    }

    fn offered(&self) -> &Vec<Operation> {
        let values = self.values(None);
        let other = self.when(&values).map(|when| &when.operations).find(|listed| !listed.is_empty());
        other.unwrap_or(&self.provider.operations)
    }

    fn values<'a>(&'a self, model: Option<&'a str>) -> Values<'a> {
        Values { options: self.options, model }
    }

    fn base_url(&self, variant: Option<&Variant>) -> Result<(String, Host), ApiError> {
        if let Some(url) = self.custom_host {
            return Ok((url.trim_end_matches('/').to_owned(), Host::Account));
        }
        let values = self.values(None);
        let own = variant.and_then(|variant| variant.base_url.as_deref());
        let other = || self.when(&values).find_map(|when| when.base_url.as_deref());
        let template = own.or_else(other).unwrap_or(&self.provider.base_url);
        let of_target = |names: &str| {
            let mut names = names.trim_start_matches('+').split('|');
            names.any(|name| self.target.provider_options.contains_key(name))
        };
        // A provider whose URL is an option has no host of its own.
        let host = match template.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            None => Host::Provider,
            Some((names, _)) if of_target(names) => Host::Target,
            Some(_) => Host::Account,
        };
        Ok((self.filled(template, &values)?, host))
    }

    /// The addresses that the options ask for; none where somebody chose another host.
    fn when<'a>(&'a self, values: &Values<'a>) -> impl Iterator<Item = &'a When> {
        let values = *values;
        let asked = move |when: &&When| {
            values.get(&when.option).is_some_and(|value| policy::matches(&when.value, &value))
        };
        self.provider.when.iter().filter(asked)
    }

    fn path(
        &self,
        variant: Option<&Variant>,
        format: Format,
        operation: Operation,
        stream: bool,
        model: Option<&str>,
    ) -> Result<String, ApiError> {
        let values = self.values(model);
        let streamed = format!("{operation}.stream");
        let of = |paths: &BTreeMap<String, String>| {
            paths.get(&streamed).filter(|_| stream).or_else(|| paths.get(operation.as_str())).cloned()
        };
        let own = match variant {
            Some(variant) => of(&variant.paths),
            None => self.when(&values).find_map(|when| of(&when.paths)).or_else(|| of(&self.provider.paths)),
        };
        let usual = || formats::path(format, operation, stream).map(str::to_owned);
        self.filled(&own.or_else(usual).unwrap_or_default(), &values)
    }

    /// The provider's headers; those whose options are not there are left out.
    pub(super) fn headers(&self) -> BTreeMap<String, String> {
        let values = self.values(None);
        let fill = |(name, value): (&String, &String)| {
            let options = |name: &str| values.get(name);
            let text = match value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(option) => options(option)?.into_owned(),
                None => value.clone(),
            };
            Some((name.clone(), text))
        };
        self.provider.headers.iter().filter_map(fill).collect()
    }

    fn filled(&self, template: &str, values: &Values<'_>) -> Result<String, ApiError> {
        let slug = &self.target.provider;
        address::fill(template, values).map_err(|unfilled| match unfilled {
            Unfilled::Missing(name) if name == "model" => {
                let message = format!("`model` is missing: the URL of provider `{slug}` names it");
                ApiError::bad_request("model", "missing_required_parameter", message)
            }
            Unfilled::Missing(name) => {
                let param = format!("{}.{name}", self.target.path);
                let setting = if name == CUSTOM_HOST { "base_url".to_owned() } else { format!("options.{name}") };
                let message = format!(
                    "`{param}` is missing: provider `{slug}` needs it for its URL; set it in the config, on the \
                     virtual key, as the header `x-portkey-{}`, or in the settings as `providers.{slug}.{setting}`",
                    name.replace('_', "-")
                );
                ApiError::bad_request(&param, "missing_provider_option", message)
            }
            Unfilled::Unfit(name) => {
                let param = format!("{}.{name}", self.target.path);
                let message = format!(
                    "`{param}` cannot be part of a URL of provider `{slug}`; write letters, digits and hyphens"
                );
                ApiError::bad_request(&param, "invalid_provider_option", message)
            }
        })
    }

    fn not_offered(&self, operation: Operation, format: Format, offered: &[Operation]) -> ApiError {
        let slug = &self.target.provider;
        let all = Operation::ALL.iter().filter(|op| **op != Operation::Passthrough);
        let known: Vec<&str> =
            all.filter(|op| formats::asked(format, **op, offered).is_some()).map(|op| op.as_str()).collect();
        let offers = if known.is_empty() {
            "it only takes requests to paths of its own, as in `/v1/models`, which pass through".to_owned()
        } else {
            format!("it offers {}", known.join(", "))
        };
        let message = format!("{operation} is not supported by {slug}; {offers}");
        let mut err = ApiError::new(400, "unsupported_operation", message).with_param(&self.target.path);
        err.kind = "invalid_request_error".to_owned();
        err
    }
}

/// The model's name at the provider, if the variant writes it in another way.
fn renamed(variant: &Variant, model: &str) -> Option<String> {
    let rest = model.strip_prefix(variant.strip.as_str())?;
    (rest != model || !variant.prefix.is_empty()).then(|| format!("{}{rest}", variant.prefix))
}
