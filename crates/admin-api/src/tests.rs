//! The handlers, against a policy that was put together here.
