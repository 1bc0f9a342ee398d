//! What the role is told by the settings.

use std::path::PathBuf;

use bus::identity::ClusterSecret;

/// What the role is told by the settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What gateways sign identities with. None: access control is off, and identities are believed as they come.
    pub secret: Option<ClusterSecret>,
    /// Hosts that a virtual key or config may name although they are not public.
    pub trusted_hosts: Vec<String>,
    /// Environment variables of the workers that a virtual key may name; `*` stands for any text.
    pub allowed_env: Vec<String>,
    /// Folder of the workers whose files a virtual key may name.
    pub secret_dir: Option<PathBuf>,
}
