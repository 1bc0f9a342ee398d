//! Who asks: the API key that a request shows, looked up in what administrators stored.

use std::sync::Arc;

use bus::identity::{self, Access};
use bus::policy::PolicyView;
use domain::policy::{ApiKey, Identity, Refused};
use domain::{ApiError, Timestamp};

use crate::intake::Lookup;

/// Where a key may be shown: Anthropic's clients do so in `x-api-key`. That and `Authorization` come last: beside a key
/// of ours they may carry a provider's credential.
const HEADERS: [&str; 4] = ["x-portkey-api-key", "pointsman-key", "x-api-key", "authorization"];

/// The key that is shown, which says whose request it is. None: access control is off and no key of ours is shown, so
/// that the request belongs to the default workspace.
pub(crate) fn authenticate(
    access: &Access,
    policy: &PolicyView,
    get: Lookup<'_>,
    now: Timestamp,
) -> Result<Option<Arc<ApiKey>>, ApiError> {
    let shown: Vec<&str> = HEADERS.iter().filter_map(|name| get(name).map(without_scheme)).collect();
    if let Some(text) = shown.iter().find(|text| text.starts_with(ApiKey::PREFIX)) {
        let key = policy.read(|policy| identity::authenticate(policy, text, now));
        return key.map(Some).map_err(Refused::error);
    }
    match (access.required, shown.is_empty()) {
        (false, _) => Ok(None),
        (true, true) => Err(Refused::Missing.error()),
        (true, false) => Err(Refused::Invalid.error()),
    }
}

/// Whose request it is that shows this key, or none.
pub(crate) fn identity_of(key: Option<&ApiKey>) -> Identity {
    key.map(ApiKey::identity).unwrap_or_default()
}

/// A header's value without `Bearer`.
pub(crate) fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> PolicyView {
        let stamp = json!({ "at": 1, "by": "cli" });
        let view = PolicyView::default();
        let key = |id: &str, workspace: &str, expires: Option<u64>, status: &str| {
            json!({
                "id": id, "kind": "workspace-service", "workspace": workspace, "name": "k", "scopes": [],
                "hash": identity::hash("s3cret"), "expires_at": expires, "status": status,
                "created": stamp, "updated": stamp,
            })
        };
        let gone =
            json!({ "slug": "gone", "name": "g", "status": "archived", "created": stamp, "updated": stamp });
        let records = [
            ("apikey.good", key("good", "acme", None, "active")),
            ("apikey.old", key("old", "acme", Some(50), "active")),
            ("apikey.deleted", key("deleted", "acme", None, "archived")),
            ("apikey.orphan", key("orphan", "gone", None, "active")),
            ("workspace.gone", gone),
        ];
        for (sequence, (at, record)) in (1..).zip(records) {
            view.apply(at, sequence, record.to_string().as_bytes());
        }
        view
    }

    #[track_caller]
    fn check(required: bool, headers: &[(&str, &str)], expected: Result<&str, u16>) {
        let access = Access { required, ..Access::default() };
        let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let found = authenticate(&access, &policy(), &get, Timestamp(100));
        let found =
            found.map(|key| identity_of(key.as_deref()).workspace.to_string()).map_err(|err| err.status);
        assert_eq!(found, expected.map(str::to_owned), "{headers:?}");
    }

    #[test]
    fn without_access_control_only_keys_of_ours_are_looked_at() {
        check(false, &[], Ok("default"));
        check(false, &[("authorization", "Bearer sk-provider")], Ok("default"));
        check(false, &[("authorization", "Bearer pm_good_s3cret")], Ok("acme"));
        check(false, &[("authorization", "Bearer pm_good_wrong")], Err(401));
        check(false, &[("x-portkey-api-key", "pm_nobody_s3cret")], Err(401));
    }

    #[test]
    fn with_access_control_a_good_key_is_needed() {
        check(true, &[], Err(401));
        check(true, &[("authorization", "Bearer sk-provider")], Err(401));
        for name in HEADERS {
            check(true, &[(name, "pm_good_s3cret")], Ok("acme"));
            check(true, &[(name, "pm_old_s3cret")], Err(401));
            check(true, &[(name, "pm_deleted_s3cret")], Err(401));
            check(true, &[(name, "pm_orphan_s3cret")], Err(401));
        }
        check(
            true,
            &[("authorization", "Bearer sk-provider"), ("x-portkey-api-key", "pm_good_s3cret")],
            Ok("acme"),
        );
    }
}
