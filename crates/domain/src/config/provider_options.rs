//! Keys that providers of other dialects want to know: kept as they are written.

/// The keys that say how a provider's API is spoken and nothing of accounts and places: the request's headers fill them
/// at every target.
pub const OF_REQUESTS: &[&str] = &["anthropic_beta", "anthropic_version", "openai_beta"];

/// The keys, which are Portkey's provider headers in snake case, and the older Azure keys.
///
/// In order, so that one is found by halving.
pub const KEYS: &[&str] = &[
    "amz_server_side_encryption",
    "amz_server_side_encryption_aws_kms_key_id",
    "amzn_sagemaker_custom_attributes",
    "amzn_sagemaker_enable_explanations",
    "amzn_sagemaker_inference_component",
    "amzn_sagemaker_inference_id",
    "amzn_sagemaker_model_name",
    "amzn_sagemaker_session_id",
    "amzn_sagemaker_target_container_hostname",
    "amzn_sagemaker_target_model",
    "amzn_sagemaker_target_variant",
    "anthropic_beta",
    "anthropic_version",
    "api_version",
    "aws_access_key_id",
    "aws_auth_type",
    "aws_bedrock_model",
    "aws_external_id",
    "aws_region",
    "aws_role_arn",
    "aws_s3_bucket",
    "aws_s3_object_key",
    "aws_secret_access_key",
    "aws_session_token",
    "azure_ad_token",
    "azure_api_version",
    "azure_auth_mode",
    "azure_deployment_id",
    "azure_deployment_name",
    "azure_deployment_type",
    "azure_endpoint_name",
    "azure_entra_client_id",
    "azure_entra_client_secret",
    "azure_entra_scope",
    "azure_entra_tenant_id",
    "azure_extra_params",
    "azure_foundry_url",
    "azure_managed_client_id",
    "azure_model_name",
    "azure_region",
    "azure_resource_name",
    "azure_workload_client_id",
    "databricks_workspace",
    "deployment_id",
    "deployments",
    "file_purpose",
    "file_upload_size",
    "fireworks_account_id",
    "huggingface_base_url",
    "mistral_fim_completion",
    "openai_beta",
    "oracle_api_version",
    "oracle_compartment_id",
    "oracle_fingerprint",
    "oracle_key_passphrase",
    "oracle_private_key",
    "oracle_region",
    "oracle_serving_mode",
    "oracle_tenancy",
    "oracle_user",
    "predibase_tenant_id",
    "provider_batch_endpoint",
    "provider_file_name",
    "provider_model",
    "resource_name",
    "snowflake_account",
    "stability_client_id",
    "stability_client_user_id",
    "stability_client_version",
    "vertex_project_id",
    "vertex_region",
    "vertex_service_account_json",
    "vertex_storage_bucket_name",
    "workers_ai_account_id",
];

/// The key that a request header fills: `x-portkey-azure-region` is `azure_region`, and those that say how an API is
/// spoken go without the prefix as well, as their providers' own clients send them. None: it is no such header.
pub fn of_header(name: &str) -> Option<&'static str> {
    let key = name.strip_prefix("x-portkey-").unwrap_or(name).replace('-', "_");
    let known = if name.starts_with("x-portkey-") { KEYS } else { OF_REQUESTS };
    known.binary_search(&key.as_str()).ok().map(|at| known[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_fill_their_keys() {
        assert!(KEYS.is_sorted() && OF_REQUESTS.is_sorted());
        assert_eq!(of_header("x-portkey-aws-region"), Some("aws_region"));
        assert_eq!(of_header("x-portkey-anthropic-beta"), Some("anthropic_beta"));
        assert_eq!(of_header("anthropic-beta"), Some("anthropic_beta"));
        assert_eq!(of_header("aws-region"), None);
        assert_eq!(of_header("x-portkey-metadata"), None);
    }
}
