//! Credentials in clear: the only place where they are, and only for as long as a call needs them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bus::seal::Keyring;
use domain::Workspace;
use domain::envelope::VirtualKeyRef;
use domain::policy::{self, Key, Secret, Status, VirtualKey};
use role::Ctx;
use serde_json::{Map, Value};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::Options;

/// Opens and fetches credentials.
pub(crate) struct Secrets {
    ctx: Ctx,
    keys: Keyring,
    environment: BTreeMap<String, Zeroizing<String>>,
    dir: Option<PathBuf>,
}

/// Why there is no credential.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoSecret {
    /// The virtual key was revoked or has expired since the call was decided.
    Revoked(String),
    /// It is there and cannot be read.
    Unreadable(String),
    /// Whoever gives access tokens for it refused.
    Refused(String),
}

impl Secrets {
    pub(crate) fn new(ctx: Ctx, options: &Options) -> Self {
        Self {
            ctx,
            keys: options.keys.clone(),
            environment: options.environment.clone(),
            dir: options.secrets_dir.clone(),
        }
    }

    /// Opens sealed text.
    pub(crate) fn open(&self, sealed: &str) -> Result<Zeroizing<String>, String> {
        self.keys.open(sealed).map_err(|err| err.to_string())
    }

    /// The credential that a virtual key has now, if it needs one, and its options.
    pub(crate) async fn of(
        &self,
        named: &VirtualKeyRef,
        asking: &Workspace,
    ) -> Result<(Option<Zeroizing<String>>, Map<String, Value>), NoSecret> {
        let key = self.look_up(named).await?;
        Ok((self.secret(&key, asking).await?, key.options.clone()))
    }

    async fn secret(
        &self,
        key: &VirtualKey,
        asking: &Workspace,
    ) -> Result<Option<Zeroizing<String>>, NoSecret> {
        let slug = &key.slug;
        let now = self.ctx.clock().now();
        if key.status == Status::Archived {
            return Err(NoSecret::Revoked(format!("virtual key `{slug}` was revoked")));
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(NoSecret::Revoked(format!("virtual key `{slug}` has expired")));
        }
        if key.workspace != *asking && !key.workspaces.contains(asking) {
            let message = format!("virtual key `{slug}` is not shared with workspace `{asking}` any more");
            return Err(NoSecret::Revoked(message));
        }
        let unreadable = |reason: String| {
            NoSecret::Unreadable(format!(
                "the credential of virtual key `{slug}` could not be read: {reason}"
            ))
        };
        match &key.secret {
            None => Ok(None),
            Some(Secret::Sealed(sealed)) => self.open(sealed).map(Some).map_err(unreadable),
            Some(Secret::Env(name)) => self.of_environment(name).map(Some).map_err(unreadable),
            Some(Secret::File(path)) => {
                let path = self.allowed(path).map_err(unreadable)?;
                let text = tokio::fs::read_to_string(&path).await.map(Zeroizing::new);
                let text = text.map_err(|err| unreadable(format!("{}: {err}", path.display())))?;
                Ok(Some(Zeroizing::new(text.trim().to_owned())))
            }
        }
    }

    async fn look_up(&self, named: &VirtualKeyRef) -> Result<Arc<VirtualKey>, NoSecret> {
        if let Some(key) = self.ctx.policy().read(|p| p.own_virtual_key(&named.workspace, &named.slug)) {
            return Ok(key);
        }
        // A router may have heard of it first.
        let record = self
            .ctx
            .bus()
            .policy_record(&Key::VirtualKey(named.workspace.clone(), named.slug.clone()))
            .await
            .map_err(|err| NoSecret::Unreadable(err.to_string()))?;
        let key = record.and_then(|record| serde_json::from_slice(&record.payload).ok());
        key.map(Arc::new).ok_or_else(|| NoSecret::Revoked(format!("virtual key `{}` is gone", named.slug)))
    }

    fn of_environment(&self, name: &str) -> Result<Zeroizing<String>, String> {
        self.environment.get(name).cloned().ok_or_else(|| {
            format!(
                "environment variable `{name}` is not set for this worker, or `secrets.environment` does not allow it"
            )
        })
    }

    /// A path inside the directory that settings allow.
    fn allowed(&self, path: &str) -> Result<PathBuf, String> {
        let dir = self.dir.as_deref().ok_or("files are not allowed; set `secrets.dir`")?;
        policy::inside(dir, path).ok_or_else(|| format!("`{path}` is not inside `secrets.dir`"))
    }
}
