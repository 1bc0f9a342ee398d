//! Who asks: the API key that a request shows, looked up in what administrators stored.

use bus::identity::{self, ClusterSecret};
use bus::policy::PolicyView;
use domain::policy::{ApiKey, Identity, Refused};
use domain::{ApiError, Timestamp};

use crate::intake::Lookup;

/// Whether callers have to show an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// They need not. A key of ours that is shown all the same has to be good.
    #[default]
    Off,
    /// They have to.
    On,
}

/// How callers are told apart.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether callers have to show an API key.
    pub mode: AuthMode,
    /// What identities are signed with for the other roles.
    pub secret: Option<ClusterSecret>,
}

/// Where a key may be shown. `Authorization` comes last: beside a key of ours it may carry a provider's credential.
const HEADERS: [&str; 3] = ["x-portkey-api-key", "pointsman-key", "authorization"];

/// Whose request it is. Without access control everything belongs to the default workspace, unless a key says else.
pub(crate) fn authenticate(
    access: &Access,
    policy: &PolicyView,
    get: Lookup<'_>,
    now: Timestamp,
) -> Result<Identity, ApiError> {
    let shown: Vec<&str> = HEADERS.iter().filter_map(|name| get(name).map(without_scheme)).collect();
    if let Some(text) = shown.iter().find(|text| text.starts_with(ApiKey::PREFIX)) {
        return holder(policy, text, now).map_err(Refused::error);
    }
    match (access.mode, shown.is_empty()) {
        (AuthMode::Off, _) => Ok(Identity::default()),
        (AuthMode::On, true) => Err(Refused::Missing.error()),
        (AuthMode::On, false) => Err(Refused::Invalid.error()),
    }
}

fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        _ => value,
    }
}

fn holder(policy: &PolicyView, text: &str, now: Timestamp) -> Result<Identity, Refused> {
    let (id, secret) = ApiKey::take_apart(text).ok_or(Refused::Invalid)?;
    policy.read(|policy| {
        let key = policy.api_key(&id).ok_or(Refused::Invalid)?;
        // The secret first: whoever does not have it learns nothing about the key.
        if !identity::is_secret_of(&key, secret, now) {
            return Err(Refused::Invalid);
        }
        key.usable(policy, now)?;
        Ok(Identity { workspace: key.workspace.clone(), key: Some(id.clone()) })
    })
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
    fn check(mode: AuthMode, headers: &[(&str, &str)], expected: Result<&str, u16>) {
        let access = Access { mode, secret: None };
        let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let found = authenticate(&access, &policy(), &get, Timestamp(100));
        let found = found.map(|identity| identity.workspace.to_string()).map_err(|err| err.status);
        assert_eq!(found, expected.map(str::to_owned), "{headers:?}");
    }

    #[test]
    fn without_access_control_only_keys_of_ours_are_looked_at() {
        check(AuthMode::Off, &[], Ok("default"));
        check(AuthMode::Off, &[("authorization", "Bearer sk-provider")], Ok("default"));
        check(AuthMode::Off, &[("authorization", "Bearer pm_good_s3cret")], Ok("acme"));
        check(AuthMode::Off, &[("authorization", "Bearer pm_good_wrong")], Err(401));
        check(AuthMode::Off, &[("x-portkey-api-key", "pm_nobody_s3cret")], Err(401));
    }

    #[test]
    fn with_access_control_a_good_key_is_needed() {
        check(AuthMode::On, &[], Err(401));
        check(AuthMode::On, &[("authorization", "Bearer sk-provider")], Err(401));
        for name in HEADERS {
            check(AuthMode::On, &[(name, "pm_good_s3cret")], Ok("acme"));
            check(AuthMode::On, &[(name, "pm_old_s3cret")], Err(401));
            check(AuthMode::On, &[(name, "pm_deleted_s3cret")], Err(401));
            check(AuthMode::On, &[(name, "pm_orphan_s3cret")], Err(401));
        }
        check(
            AuthMode::On,
            &[("authorization", "Bearer sk-provider"), ("x-portkey-api-key", "pm_good_s3cret")],
            Ok("acme"),
        );
    }
}
