//! The dialect as callers see it.
