//! Three replicas of the service, and the way to them that a load balancer would give its callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use crate::support::PATIENCE;
use crate::support::client::{Client, User};
use crate::support::mongod::free_port;
use crate::support::process::Launch;
use crate::support::service::{Service, http_client, launch};
use crate::support::stores::Store;

pub(crate) const REPLICAS: usize = 3;

/// How often the load balancer asks the replicas whether they are ready.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// The replicas, each on a port that it keeps over restarts.
pub(crate) struct Fleet {
    store: Store,
    launches: Vec<Launch>,
    services: Vec<Service>,
    pub(crate) front: Arc<Front>,
    _probes: JoinSet<()>,
}

impl Fleet {
    pub(crate) async fn start(store: &Store, settings: &[(&str, &str)]) -> Self {
        let usual = launch(store)
            .set("COUNTER_DRAIN_DELAY", "1s")
            // No line for each request: they would all be kept in memory.
            .set("RUST_LOG", "warn,counter_api::service=info");
        let usual = settings.iter().fold(usual, |launch, (name, value)| launch.set(name, *value));
        let launches: Vec<Launch> =
            (0..REPLICAS).map(|_| usual.clone().set("COUNTER_LISTEN", format!("127.0.0.1:{}", free_port()))).collect();
        let (mut services, mut replicas) = (Vec::new(), Vec::new());
        for launch in &launches {
            let service = Service::start(launch, store).await;
            replicas.push(Replica { client: service.client().await, ready: AtomicBool::new(true) });
            services.push(service);
        }
        let front = Arc::new(Front { replicas });
        let mut probes = JoinSet::new();
        for (i, service) in services.iter().enumerate() {
            probes.spawn(probe(front.clone(), i, service.url("/readyz")));
        }
        Self { store: store.clone(), launches, services, front, _probes: probes }
    }

    /// A running replica.
    pub(crate) fn service(&self, i: usize) -> &Service {
        &self.services[i]
    }

    /// Starts a replica again that has ended, and waits until it listens.
    pub(crate) async fn start_again(&mut self, i: usize) {
        self.services[i] = Service::start_unready(&self.launches[i], &self.store).await;
    }

    /// Replaces one replica after the other, as a deployment does.
    pub(crate) async fn rolling_restart(&mut self) {
        for i in 0..REPLICAS {
            self.services[i].sigterm();
            assert_eq!(self.services[i].wait_exit(PATIENCE).await, Some(0), "{}", self.services[i].output());
            self.start_again(i).await;
            self.services[i].ready().await;
        }
    }

    /// Kills all replicas and starts them again.
    pub(crate) async fn kill_and_start_all(&mut self) {
        self.services.iter().for_each(|service| service.kill9());
        for i in 0..REPLICAS {
            self.start_again(i).await;
        }
    }
}

/// The replicas as callers see them.
pub(crate) struct Front {
    replicas: Vec<Replica>,
}

struct Replica {
    client: Client,
    ready: AtomicBool,
}

impl Front {
    /// A new account, as it is used at each of the replicas.
    pub(crate) async fn register(&self) -> Vec<User> {
        let user = self.replicas[0].client.register().await;
        self.replicas.iter().map(|replica| user.at(&replica.client)).collect()
    }

    /// A replica that is ready, where there is one, and any otherwise.
    pub(crate) fn pick(&self, rng: &mut StdRng) -> usize {
        let ready: Vec<usize> = (0..REPLICAS).filter(|i| self.replicas[*i].ready.load(Ordering::Acquire)).collect();
        if ready.is_empty() { rng.random_range(0..REPLICAS) } else { ready[rng.random_range(0..ready.len())] }
    }
}

async fn probe(front: Arc<Front>, i: usize, url: String) {
    let http = http_client();
    loop {
        let answer = tokio::time::timeout(PROBE_EVERY * 10, http.get(&url).send()).await;
        let ready = answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200));
        front.replicas[i].ready.store(ready, Ordering::Release);
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
