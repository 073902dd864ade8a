//! Incrementing integers as a service.
pub mod domain;
pub mod metrics;
pub mod store;
