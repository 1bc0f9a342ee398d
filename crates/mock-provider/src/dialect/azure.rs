//! Azure OpenAI and Azure AI Foundry: OpenAI's bodies at Azure's addresses, with Azure's keys and errors.
//! Source: learn.microsoft.com/azure/ai-services/openai/reference, …/azure/ai-foundry/model-inference.

use domain::{ApiError, Operation};
use serde_json::json;

use super::oauth::Audience;
use super::openai::{self, Flavour};
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::text;

/// `POST /openai/deployments/{deployment}/…?api-version=…`: the deployment is the model.
pub(crate) struct Deployment(pub(crate) Operation);

/// `POST /openai/v1/…`: the model is in the body, and the version may be left out.
pub(crate) struct V1(pub(crate) Operation);

/// Anything else of OpenAI's below a deployment, or below `/openai/v1`.
pub(crate) struct Other {
    pub(crate) endpoint: &'static dyn Endpoint,
    /// The deployment is the model.
    pub(crate) deployed: bool,
}

/// `POST /models/…?api-version=…` of Azure AI Foundry, which takes no unknown parameters unless it is told to.
pub(crate) struct Foundry(pub(crate) Operation);

/// Azure's errors and headers.
struct Azure;

/// Parameters of Foundry; others only with the header `extra-parameters`.
const FOUNDRY: &[&str] = &[
    "model",
    "messages",
    "frequency_penalty",
    "stream",
    "stream_options",
    "presence_penalty",
    "temperature",
    "top_p",
    "max_tokens",
    "response_format",
    "stop",
    "tools",
    "tool_choice",
    "seed",
    "modalities",
    "input",
    "dimensions",
    "encoding_format",
    "input_type",
    "n",
    "user",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
];

impl Manner for Azure {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        error_body(err)
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        let id = format!("00000000-0000-4000-8000-{:012x}", id & 0xffff_ffff_ffff);
        vec![("apim-request-id", id.clone()), ("x-request-id", id), ("x-ms-region", "Mock".to_owned())]
    }
}

/// What the model refuses is said as OpenAI says it; what the service around it refuses has a code and a message.
pub(crate) fn error_body(err: &ApiError) -> Vec<u8> {
    let code = match err.status {
        401 => "401",
        403 => "403",
        404 if err.code.as_deref() == Some("DeploymentNotFound") => "DeploymentNotFound",
        404 => "404",
        429 => "429",
        500 => "InternalServerError",
        503 | 529 => "ServiceUnavailable",
        504 => "Timeout",
        _ => return err.openai_body(),
    };
    text::json(&json!({"error": {"code": code, "message": err.message}}))
}

impl Endpoint for Deployment {
    fn manner(&self) -> &'static dyn Manner {
        &Azure
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)?;
        version(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        openai::read(received, self.0, Some(received.captured(0)), Flavour::Azure)
    }
}

impl Endpoint for V1 {
    fn manner(&self) -> &'static dyn Manner {
        &Azure
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        openai::read(received, self.0, None, Flavour::Azure)
    }
}

impl Endpoint for Other {
    fn manner(&self) -> &'static dyn Manner {
        &Azure
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)?;
        if self.deployed { version(received) } else { Ok(()) }
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let understood = self.endpoint.read(received)?;
        let model = if self.deployed { received.captured(0).into() } else { understood.model };
        Ok(Understood { model, ..understood })
    }
}

impl Endpoint for Foundry {
    fn manner(&self) -> &'static dyn Manner {
        &Azure
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)?;
        version(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let Understood { model, ask } = openai::read(received, self.0, None, Flavour::OpenAi)?;
        let ask = move || -> Result<Asked<'r>, ApiError> {
            let extra = received.header("extra-parameters").unwrap_or("error");
            if !["error", "drop", "pass-through"].contains(&extra) {
                let message =
                    format!("`extra-parameters: {extra}` is not known: write error, drop or pass-through");
                return Err(ApiError::bad_request("extra-parameters", "invalid_value", message));
            }
            let body = received.json()?;
            let names = body.as_object().into_iter().flat_map(|fields| fields.keys());
            if let Some(name) =
                names.filter(|_| extra == "error").find(|name| !FOUNDRY.contains(&name.as_str()))
            {
                let message =
                    format!("extra parameter `{name}` is not allowed when `extra-parameters` is `error`");
                return Err(ApiError::bad_request(name, "extra_parameter", message));
            }
            ask()
        };
        Ok(Understood { model, ask: Box::new(ask) })
    }
}

/// Any key, or a token that Microsoft's token endpoint gave out.
fn admit(received: &Received<'_>) -> Result<(), ApiError> {
    let key = received.header("api-key").is_some_and(|key| !key.trim().is_empty());
    let token = received.bearer().is_some_and(|token| received.state.tokens.holds(Audience::Azure, token));
    if key || token {
        return Ok(());
    }
    let message = "access denied due to invalid subscription key or token: write `api-key`, or a Bearer token of \
                   Microsoft Entra that has not expired";
    Err(ApiError::new(401, "401", message))
}

/// A date, which may be that of a preview.
fn version(received: &Received<'_>) -> Result<(), ApiError> {
    let given = received.query("api-version");
    let date = given.as_deref().map(|given| given.strip_suffix("-preview").unwrap_or(given));
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = date.unwrap_or_default().split('-').collect();
    match parts[..] {
        [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => Ok(()),
        _ => Err(ApiError::new(
            404,
            "404",
            "resource not found: `api-version` in the query must be like 2024-10-21",
        )),
    }
}
