//! Metrics: every one is written once, in `catalogue.rs`, and recorded by the functions of `record/`.
//!
//! Nothing else in the crate names a metric (`clippy.toml` sees to it). Names are OpenTelemetry's semantic conventions
//! (v1.44) in Prometheus' spelling; what is ours alone begins with `counter_api_`. Labels are bounded by construction:
//! enums, route templates, words of this crate; never a user, an e-mail address or a raw path. Durations are seconds
//! from a monotonic clock.
#![expect(clippy::disallowed_macros, reason = "this is the home of the metrics macros")]

mod catalogue;
mod exemplars;
mod exposition;
mod labels;
mod process;
mod record;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

pub use catalogue::{CATALOGUE, Kind, Metric, reference};
pub use exemplars::SpanIds;
pub use exposition::{Exposition, Format};
pub use labels::{
    ANSWER_REFUSED, AuthKind, AuthOutcome, CommitOutcome, ConnectionEnd, Endpoint, ErrorType, Overload, ServerKind,
    SignIn, SignInFailure, Signal,
};
pub use record::*;

use crate::domain::ProviderName;
use catalogue::*;

/// Installs the recorder, describes every metric and sets those that plausibly move to zero, so that a rule or a
/// dashboard never meets an absent series. [`Exposition::run_upkeep`] must be called every few seconds.
pub fn install() -> Result<Exposition, BuildError> {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
    for metric in CATALOGUE {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    for metric in CATALOGUE.iter().filter(|metric| !process::is_read_when_scraped(metric)) {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
        // What has no labels exists at once; the rest where its label values are known (`start_at_zero` and others).
        if metric.labels.is_empty() {
            match metric.kind {
                Kind::Counter => counter!(metric.name).increment(0),
                Kind::Gauge => gauge!(metric.name).set(0.0),
                Kind::Histogram(_) => drop(histogram!(metric.name)),
            }
        }
    }
    start_at_zero();
    Ok(Exposition::new(handle))
}

fn start_at_zero() {
    for kind in AuthKind::ALL {
        for outcome in [AuthOutcome::Success, AuthOutcome::Failure] {
            counter!(AUTH_ATTEMPTS.name, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(0);
        }
    }
    for reason in Overload::ALL {
        counter!(OVERLOAD.name, "reason" => reason.as_str()).increment(0);
    }
    for reason in ConnectionEnd::ALL {
        counter!(HTTP_CONNECTIONS_ENDED.name, "reason" => reason.as_str()).increment(0);
    }
    for outcome in ["applied", "failed"] {
        counter!(SECRET_RELOADS.name, "outcome" => outcome).increment(0);
    }
    for outcome in CommitOutcome::ALL {
        drop(histogram!(COMMIT_DURATION.name, "outcome" => outcome.as_str()));
    }
    counter!(USERS_REGISTERED.name, "provider" => "password").increment(0);
    for signal in Signal::ALL {
        let (processed, exported) = signal.metrics();
        for error_type in ["", "queue_full"] {
            counter!(processed.name, "error_type" => error_type).increment(0);
        }
        for error_type in ["", "export_failed"] {
            counter!(exported.name, "error_type" => error_type).increment(0);
        }
    }
}

/// Registers a problem's code at zero.
pub fn problem_at_zero(code: &'static str) {
    counter!(PROBLEMS.name, "code" => code).increment(0);
}

/// Registers a limited route's count of refusals at zero.
pub fn rate_limited_at_zero(route: &str) {
    counter!(RATE_LIMITED.name, "http_route" => route.to_owned()).increment(0);
}

/// Registers a provider's series at zero. Its calls are not among them: which there are depends on its dialect.
pub fn provider_at_zero(provider: &ProviderName) {
    let outcomes = SignIn::ALL.iter().map(|outcome| outcome.as_str());
    let failures = SignInFailure::ALL.iter().map(|failure| failure.as_str());
    for outcome in outcomes.chain(failures).chain([ANSWER_REFUSED]) {
        counter!(OAUTH_SIGN_INS.name, "provider" => provider.to_string(), "outcome" => outcome).increment(0);
    }
    counter!(USERS_REGISTERED.name, "provider" => provider.to_string()).increment(0);
}

/// Registers a store's series at zero.
pub fn store_at_zero(system: &'static str) {
    gauge!(STORE_UP.name, "db_system_name" => system).set(0.0);
    counter!(STORE_CONFLICTS.name, "db_system_name" => system).increment(0);
    counter!(UNKNOWN_OUTCOMES.name, "db_system_name" => system).increment(0);
}

/// Registers the kinds of servers of a replica set at zero.
pub fn servers_at_zero() {
    for kind in ServerKind::ALL {
        db_servers(*kind, 0);
    }
}

/// Says what runs.
pub fn build_info(version: &'static str, revision: &'static str, rustc: &'static str, store: &'static str) {
    gauge!(BUILD_INFO.name, "version" => version, "revision" => revision, "rustc" => rustc, "store" => store).set(1.0);
}

/// Says which resource the traces bear.
pub fn target_info(service_name: String, service_version: String, service_instance_id: String) {
    gauge!(TARGET_INFO.name, "service_name" => service_name, "service_version" => service_version,
        "service_instance_id" => service_instance_id)
    .set(1.0);
}
