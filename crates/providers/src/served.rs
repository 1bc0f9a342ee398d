//! Where a call is served, as far as prices depend on it.

use domain::Call;

/// Options that name the region a call goes to.
const REGIONS: [&str; 4] = ["aws_region", "azure_region", "oracle_region", "vertex_region"];

/// The region that a call goes to; `model` is the one it names. None: the provider has one, or does not say.
///
/// The geography of a Bedrock inference profile comes before the region whose endpoint is called, because the profile
/// chooses among the regions of its geography. OpenAI's regions are hosts: `eu.api.openai.com`.
/// Source: "Your data" in OpenAI's documentation of its platform.
pub fn region(call: &Call, model: Option<&str>) -> Option<String> {
    let geography = model.and_then(|model| crate::models::geography(call.format, model));
    if let Some((geography, _)) = geography {
        return Some(geography.to_owned());
    }
    let option = REGIONS.iter().find_map(|name| call.options.get(*name)?.as_str());
    if let Some(region) = option.filter(|region| !region.is_empty()) {
        return Some(region.to_owned());
    }
    let host = call.base_url.strip_prefix("https://")?.split(['/', ':']).next()?;
    let region = host.strip_suffix(".api.openai.com")?;
    Some(region.to_owned())
}

#[cfg(test)]
mod tests {
    use domain::registry::Format;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(call: &Call, model: &str, expected: Option<&str>) {
        assert_eq!(region(call, Some(model)).as_deref(), expected);
    }

    #[test]
    fn the_region_is_in_the_options_the_model_or_the_host() {
        let plain: Call = serde_json::from_value(json!({
            "number": 1, "decided_at": 0, "path": "config", "provider": "openai", "base_url": "http://local/v1",
            "auth": { "header": "authorization", "scheme": "Bearer" },
            "timeouts": { "connect": 1, "first_byte": 1, "idle": 1, "total": 1 }, "success_is_final": true,
        }))
        .unwrap();
        check(&plain, "gpt-5.4", None);
        let at = |url: &str| Call { base_url: url.to_owned(), ..plain.clone() };
        check(&at("https://api.openai.com/v1"), "gpt-5.4", None);
        check(&at("https://eu.api.openai.com/v1"), "gpt-5.4", Some("eu"));
        check(&at("http://eu.api.openai.com/v1"), "gpt-5.4", None);
        let mut bedrock = Call { format: Format::Bedrock, ..plain };
        bedrock.options.insert("aws_region".to_owned(), json!("eu-central-1"));
        check(&bedrock, "amazon.nova-pro-v1:0", Some("eu-central-1"));
        check(&bedrock, "eu.amazon.nova-pro-v1:0", Some("eu"));
        check(&bedrock, "global.amazon.nova-pro-v1:0", Some("global"));
    }
}
