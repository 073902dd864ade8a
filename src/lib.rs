//! **Counter API**: incrementing integers as a service. A user registers, gets a token, and takes numbers from its own
//! counters: unique, gapless, in real-time order, durable, and exactly once with an `Idempotency-Key`.
//!
//! A request travels down this list and back:
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | accepts connections, with deadlines for slow clients |
//! | [`router`] | every route and every layer |
//! | [`middleware`] | span, metrics and log line; deadline; the contract; who calls; rate limits |
//! | [`extract`] | from a request to values of the domain |
//! | [`api`] | the handlers |
//! | [`auth`] | passwords, tokens, revocation, sign-in through providers |
//! | [`sequencer`] | turns many concurrent calls into few store operations |
//! | [`store`] | the trait, what a batch does, MongoDB, redb, store spans and latencies |
//!
//! Beside it: [`domain`] and [`error`] (the words that all of them speak), [`config`] (settings), [`telemetry`] and
//! [`metrics`], [`trace`], [`lifecycle`] and [`service`] (start and stop), [`state`] with [`health`] and [`limits`], [`secret`],
//! [`cli`], [`build_info`].
//!
//! Dependencies point down only, and no two modules need each other (a test): `store` never names axum, `api` never names
//! mongodb, `metrics` names neither.

pub mod api;
pub mod auth;
pub mod build_info;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod extract;
pub mod health;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod middleware;
pub mod router;
pub mod secret;
pub mod sequencer;
pub mod server;
pub mod service;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod trace;
