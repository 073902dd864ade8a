//! What is logged, changeable while the service runs: for good, or for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::reload;

use crate::config::parse_log_filter;

/// The filter under which it is told that the filter changes.
const TOLD: &str = "warn";

/// The switch of the log filter.
#[derive(Clone)]
pub struct LogFilter {
    shared: Arc<Mutex<State>>,
    apply: Arc<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

struct State {
    /// What the settings say.
    configured: String,
    current: String,
    /// Ends what was asked for a while only.
    reverting: Option<AbortHandle>,
}

/// Why a filter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It cannot be read.
    #[error("it {0}")]
    Malformed(String),
    /// The log has ended.
    #[error("the log has ended")]
    Gone,
}

impl LogFilter {
    /// A filter that is in force from the start, and its switch. The text was checked with the settings.
    pub(super) fn new<S>(configured: &str) -> (reload::Layer<EnvFilter, S>, Self)
    where
        EnvFilter: Layer<S>,
        S: tracing::Subscriber,
    {
        let filter = EnvFilter::try_new(configured).unwrap_or_else(|_| EnvFilter::new("info"));
        let (layer, handle) = reload::Layer::new(filter);
        let state = State { configured: configured.to_owned(), current: configured.to_owned(), reverting: None };
        (
            layer,
            Self { shared: Arc::new(Mutex::new(state)), apply: Arc::new(move |filter| handle.reload(filter).is_ok()) },
        )
    }

    /// What is in force.
    pub fn current(&self) -> String {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// Sets what is logged from now on; after `time`, if one is given, what the settings say holds again. Must be called
    /// within the runtime.
    pub fn set(&self, text: &str, time: Option<Duration>) -> Result<(), FilterError> {
        let filter = parse_log_filter(text).map_err(FilterError::Malformed)?;
        let former = self.current();
        // Whatever the filters say: a log that falls silent must have said why.
        self.put(TOLD, EnvFilter::new(TOLD))?;
        tracing::warn!(
            filter = text,
            former,
            for_s = time.map(|time| time.as_secs_f64()),
            "the log filter was changed"
        );
        self.put(text, filter)?;
        let reverting = time.map(|time| {
            let switch = self.clone();
            let revert = async move {
                tokio::time::sleep(time).await;
                let configured = switch.shared.lock().unwrap_or_else(PoisonError::into_inner).configured.clone();
                let filter = EnvFilter::try_new(&configured).unwrap_or_else(|_| EnvFilter::new("info"));
                if switch.put(&configured, filter).is_ok() {
                    tracing::info!(filter = configured, "the log filter is again what the settings say");
                }
            };
            tokio::spawn(revert).abort_handle()
        });
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = std::mem::replace(&mut state.reverting, reverting) {
            former.abort();
        }
        Ok(())
    }

    fn put(&self, text: &str, filter: EnvFilter) -> Result<(), FilterError> {
        let applied = (self.apply)(filter);
        if applied {
            text.clone_into(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner).current);
        }
        applied.then_some(()).ok_or(FilterError::Gone)
    }
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogFilter").field(&self.current()).finish()
    }
}
