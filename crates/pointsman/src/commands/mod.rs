//! What one can ask of a running gateway.

pub(crate) mod ask;
pub(crate) mod check;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod models;
pub(crate) mod publish;
pub(crate) mod requests;
pub(crate) mod streams;
