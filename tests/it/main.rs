//! The service as its callers meet it: the binary started as a process, over a real store, spoken to over HTTP.
//!
//! Nothing here reaches into the library. One contract suite ([`contract`]) runs against both stores; the other files
//! are each about one promise. Every answer is also held against the service's own OpenAPI document
//! (`support/openapi.rs`).
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod chaos;
mod checker;
mod contract;
mod crash;
mod each_store;
mod faults;
mod footprint;
mod full_disk;
mod late;
mod lifecycle;
#[cfg(feature = "mutants")]
mod mutants;
mod oauth;
mod proxies;
mod readme;
mod replicas;
mod settings;
mod strict;
mod support;
mod telemetry;
