//! What the store does with files that it cannot use, disks that fail, and deadlines that pass.

use std::fs::OpenOptions;
use std::sync::atomic::AtomicU8;
use std::thread;

use ::redb::backends::FileBackend;
use ::redb::{ReadableDatabase as _, ReadableTable as _, StorageBackend};

use super::*;

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let folder = Folder::new();
    fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
    for content in [&b"no database"[..], &[7; 100_000]] {
        fs::write(folder.file(), content).unwrap();
        let refusal = folder.refusal();
        assert!(refusal.contains("is damaged or is no store of this service"), "{refusal}");
        assert_eq!(fs::read(folder.file()).unwrap(), content);
    }
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    assert!(folder.refusal().contains("cannot be opened"), "{}", folder.refusal());
}

#[tokio::test]
async fn a_damaged_or_newer_file_and_anothers_are_refused() {
    let folder = Folder::new();
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    take(&store, &counter, 1).await;
    store.close().await;
    let whole = fs::read(folder.file()).unwrap();

    let mut damaged = whole.clone();
    damaged[4096..].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(folder.file(), damaged).unwrap();
    assert!(folder.refusal().contains("is damaged"), "{}", folder.refusal());

    fs::write(folder.file(), &whole).unwrap();
    change_layout(&folder, |layout| {
        layout.insert("layout", 7).unwrap();
    });
    assert!(folder.refusal().contains("has layout 7, and this version of the service knows layout 3 only"));

    change_layout(&folder, |layout| {
        layout.remove("layout").unwrap();
    });
    assert!(folder.refusal().contains("is no store of this service"), "{}", folder.refusal());
}

#[tokio::test]
async fn a_record_of_a_key_that_is_spoilt_is_corrupt_and_keeps_no_account() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    let counter = id(ada, "default");
    assert_eq!(commit_one(&store, &counter, keyed("k")).await.outcome, taken(1, 1));
    store.close().await;
    let database = ::redb::Database::create(folder.file()).unwrap();
    let txn = database.begin_write().unwrap();
    let mut keys = txn.open_table(tables::KEYS).unwrap();
    let key = format!("{ada}/k");
    let record = keys.get(key.as_str()).unwrap().map(|bytes| bytes.value().to_vec()).unwrap();
    let record = String::from_utf8(record).unwrap();
    // A number above the top.
    let spoilt = record.replace("\"last\":1", "\"last\":9007199254740992");
    assert_ne!(spoilt, record);
    keys.insert(key.as_str(), spoilt.as_bytes()).unwrap();
    drop(keys);
    txn.commit().unwrap();
    drop(database);

    let store = folder.open().await;
    let repeat = store.commit(&one(&counter, keyed("k"))).await;
    assert!(matches!(repeat, Err(StoreError::Corrupt(_))), "{repeat:?}");
    assert_eq!(store.delete_user(ada).await, Ok(true));
    assert!(store.user(ada).await.unwrap().is_none());
    // What is left of the key is pruned with the others.
    let counter = id(new_user(&store, "bea@example.com").await, "default");
    store.commit(&Batch { now: NOW + KEY_LIFETIME, ..one(&counter, keyed("l")) }).await.unwrap();
    assert_eq!(rows(&store).await, (1, 1, 1));
}

#[tokio::test]
async fn a_file_of_the_layout_before_is_brought_up() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    store.close().await;
    // As it was: no identities anywhere.
    let database = ::redb::Database::create(folder.file()).unwrap();
    let txn = database.begin_write().unwrap();
    let mut users = txn.open_table(tables::USERS).unwrap();
    let record = users.get(ada.to_string().as_str()).unwrap().map(|bytes| bytes.value().to_vec()).unwrap();
    let record = String::from_utf8(record).unwrap().replace(",\"identities\":[]", "");
    assert!(!record.contains("identities"));
    users.insert(ada.to_string().as_str(), record.as_bytes()).unwrap();
    drop(users);
    txn.open_table(tables::META).unwrap().insert("layout", 1).unwrap();
    txn.delete_table(tables::IDENTITIES).unwrap();
    txn.delete_table(tables::LOGINS).unwrap();
    txn.commit().unwrap();
    drop(database);

    let store = folder.open().await;
    let identity = Identity {
        issuer: "https://github.com".to_owned(),
        provider: "github".parse().unwrap(),
        subject: "7".parse().unwrap(),
    };
    assert!(store.user_by_identity(&identity).await.unwrap().is_none());
    assert!(store.add_identity(ada, &identity).await.unwrap());
    assert_eq!(store.user_by_identity(&identity).await.unwrap().unwrap().id, ada);
    store.close().await;
    let database = ::redb::Database::create(folder.file()).unwrap();
    assert_eq!(tables::layout(&database.begin_read().unwrap()).unwrap(), Some(tables::LAYOUT));
}

fn change_layout(folder: &Folder, change: impl FnOnce(&mut ::redb::Table<'_, &'static str, u64>)) {
    let database = ::redb::Database::create(folder.file()).unwrap();
    let txn = database.begin_write().unwrap();
    change(&mut txn.open_table(tables::META).unwrap());
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_not_repeated() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ada = new_user(&store, "ada@example.com").await;
    let broken = move |txn: &WriteTransaction| {
        txn.open_table(tables::USERS)?.insert(ada.to_string().as_str(), &b"{\"email\":\"secret\"}"[..])?;
        let too_high = (u64::MAX, 1, 1);
        txn.open_table(tables::COUNTERS)?.insert(format!("{ada}/default").as_str(), too_high)?;
        Ok(Verdict::Commit(()))
    };
    store.write("update", USERS, broken).await.unwrap();
    let error = store.user(ada).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)) && !error.to_string().contains("secret"), "{error}");
    let error = store.commit(&one(&id(ada, "default"), op(Action::Take(1)))).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    store.ping().await.unwrap();
}

/// A file whose syncs fail or take their time.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Arc<AtomicU8>,
}

const SYNC_FAILS: u8 = 1;
const SYNC_IS_SLOW: u8 = 2;

impl StorageBackend for Faulty {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        match self.fault.load(Ordering::Acquire) {
            SYNC_FAILS => return Err(std::io::ErrorKind::StorageFull.into()),
            SYNC_IS_SLOW => thread::sleep(Duration::from_secs(2)),
            _ => {}
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.file.write(offset, data)
    }
}

/// A store with a user and a counter on a faulty file, and the switch of the fault.
async fn faulty(folder: &Folder, timeout: Duration) -> (RedbStore, CounterId, Arc<AtomicU8>) {
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    take(&store, &counter, 1).await;
    store.close().await;

    let (path, fault) = (folder.file(), Arc::new(AtomicU8::new(0)));
    let (again, switch) = (path.clone(), Arc::clone(&fault));
    let open = move || {
        let file = OpenOptions::new().read(true).write(true).open(&again).unwrap();
        let twice = [file.try_clone().unwrap(), file];
        let [one, two] = twice.map(|file| Faulty { file: FileBackend::new(file).unwrap(), fault: Arc::clone(&switch) });
        file::open_backend(&again, one, Some(two))
    };
    let handle = Handle::new(&path, open().unwrap(), Box::new(open));
    let store = RedbStore::with(handle, &path, RULES, timeout);
    store.prepare().await.unwrap();
    (store, counter, fault)
}

#[tokio::test]
async fn a_failed_commit_is_of_unknown_outcome_and_the_store_works_again_when_the_disk_does() {
    let folder = Folder::new();
    let (store, counter, fault) = faulty(&folder, TIMEOUT).await;
    fault.store(SYNC_FAILS, Ordering::Release);
    let error = store.commit(&one(&counter, keyed("k"))).await.unwrap_err();
    assert!(matches!(&error, StoreError::OutcomeUnknown(cause) if cause.kind == ErrorType::DiskFull), "{error:?}");
    for error in [store.ping().await.unwrap_err(), store.commit(&one(&counter, keyed("k"))).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    assert!(matches!(current(&store, &counter).await, Err(StoreError::Unavailable(_))));

    fault.store(0, Ordering::Release);
    // A moment after a trial that failed, nothing is tried.
    while store.ping().await.is_err() {}
    // Done or not, the key makes it one number.
    assert_eq!(commit_one(&store, &counter, keyed("k")).await.outcome, taken(2, 2));
    assert_eq!(take(&store, &counter, 1).await, taken(3, 3));
}

#[tokio::test]
async fn a_deadline_is_definite_while_queueing_and_unknown_during_the_commit() {
    let folder = Folder::new();
    let (store, counter, fault) = faulty(&folder, Duration::from_secs(1)).await;
    fault.store(SYNC_IS_SLOW, Ordering::Release);
    let batch = one(&counter, op(Action::Take(1)));
    let (first, second) = tokio::join!(store.commit(&batch), store.commit(&batch));
    assert_eq!(first, Err(StoreError::OutcomeUnknown(Cause::timeout())));
    assert_eq!(second, Err(StoreError::Unavailable(Cause::timeout())));
    fault.store(0, Ordering::Release);
    while store.ping().await.is_err() {}
    assert_eq!(take(&store, &counter, 1).await, taken(3, 3), "the first was applied, the second was not");
}

#[test]
fn a_file_that_vanished_is_not_made_anew() {
    let folder = Folder::new();
    assert!(matches!(file::reopen(&folder.file()), Err(OpenError::Io { .. })));
    fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
    fs::write(folder.file(), "").unwrap();
    assert!(matches!(file::reopen(&folder.file()), Err(OpenError::Io { .. })));
    assert_eq!(fs::metadata(folder.file()).unwrap().len(), 0);
}

#[tokio::test]
async fn a_panic_within_a_transaction_harms_no_other() {
    let folder = Folder::new();
    let store = folder.open().await;
    let counter = id(new_user(&store, "ada@example.com").await, "default");
    let error = store.write::<()>("update", USERS, |_| panic!("on purpose")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(cause) if cause.kind == ErrorType::Panic), "{error:?}");
    assert_eq!(take(&store, &counter, 1).await, taken(1, 1));
}
