//! Stores for the service under test: a redb file of its own or a database of its own in a shared replica set.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;

use super::mongod::ReplicaSet;
use super::process::Launch;

/// Which of the stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Redb,
    Mongodb,
}

impl Kind {
    /// The word for it in metrics and health checks.
    pub(crate) fn system(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Mongodb => "mongodb",
        }
    }
}

/// An empty store; several services may be pointed at one.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    database: String,
    directory: Arc<Directory>,
}

impl Store {
    /// An empty store of this kind. The MongoDB one is in the replica set that all tests share.
    pub(crate) async fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Redb => {
                let directory = Directory::new();
                let url = format!("redb:{}", directory.path().join("counter.redb").display());
                Self { kind, url, database: unique_name(), directory: Arc::new(directory) }
            }
            Kind::Mongodb => Self::in_mongodb(&shared_replica_set().await.uri()),
        }
    }

    /// An empty database in this MongoDB.
    pub(crate) fn in_mongodb(uri: &str) -> Self {
        let directory = Arc::new(Directory::new());
        Self { kind: Kind::Mongodb, url: uri.to_owned(), database: unique_name(), directory }
    }

    /// A directory of this store's own, removed with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The name of its database in MongoDB.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The settings that point the binary at this store.
    pub(crate) fn configure(&self, launch: Launch) -> Launch {
        launch.set("COUNTER_STORE_URL", &self.url).set("COUNTER_DATABASE", &self.database)
    }
}

/// The one replica set of three that all tests share which do no harm to it.
async fn shared_replica_set() -> &'static ReplicaSet {
    static SET: OnceCell<ReplicaSet> = OnceCell::const_new();
    SET.get_or_init(|| ReplicaSet::start(3)).await
}

/// A name that no other test uses, now or in another run.
pub(crate) fn unique_name() -> String {
    format!("it_{}", uuid::Uuid::now_v7().simple())
}

/// A directory that is removed when it is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = of_this_run().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// This run's directory. What runs that are over have left behind is removed first.
fn of_this_run() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
        std::fs::create_dir_all(&all).unwrap();
        for run in std::fs::read_dir(&all).unwrap().flatten() {
            if !Path::new("/proc").join(run.file_name()).exists() {
                // Another run may be removing it as well.
                let _ = std::fs::remove_dir_all(run.path());
            }
        }
        all.join(std::process::id().to_string())
    })
}
