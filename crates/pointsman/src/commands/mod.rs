//! What one can ask of a running gateway.

pub(crate) mod alerts;
pub(crate) mod apply;
pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod lint;
pub(crate) mod models;
pub(crate) mod providers;
pub(crate) mod publish;
pub(crate) mod requests;
pub(crate) mod route;
pub(crate) mod spend;
pub(crate) mod streams;
pub(crate) mod targets;
pub(crate) mod virtual_keys;
pub(crate) mod workspaces;
