//! The store's file: made, locked, checked, and refused with a sentence that says what to do.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::rc::Rc;

use ::redb::backends::FileBackend;
use ::redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError};

use super::error::is_full;
use super::tables;

/// redb's own default is 1 GiB. The kernel caches the file as well, so a small cache costs little speed, and the whole
/// service is to idle below 30 MB.
const CACHE_BYTES: usize = 8 << 20;

/// redb's own: the file is a whole number of them.
const PAGE_BYTES: usize = 4096;

/// No file system's blocks are smaller. A write that found the disk full may have left holes in its page.
const BLOCK_BYTES: usize = 512;

/// Why the file could not be opened: a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or this one has opened it already.
    #[error("The store {} is in use by {holder}; stop it first, or give this one another COUNTER_STORE_URL.", .path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
        /// `process 1234`, or `another process` where its number cannot be read.
        holder: String,
    },
    /// The operating system refuses.
    #[error("The store {} cannot be opened: {source}. Its folder must exist or be possible to make, and this user must be allowed to read and write there.", .path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is damaged, or no database at all.
    #[error("The store {} is damaged or is no store of this service ({reason}); restore it from a backup, or give this service another COUNTER_STORE_URL.", .path.display())]
    Unreadable {
        /// The store's file.
        path: PathBuf,
        /// What redb said.
        reason: String,
    },
    /// Another version of this service wrote it.
    #[error("The store {} has layout {found}, and this version of the service knows layout {known} only; run the version that wrote it.", .path.display())]
    Layout {
        /// The store's file.
        path: PathBuf,
        /// The layout of the file.
        found: u64,
        /// The layout that this version writes.
        known: u64,
    },
}

/// Opens the file, which is made if it is not there, locks it, checks it and leaves this process's number beside it.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    // By a process that did not close it.
    let is_left = pid_file(path).exists();
    let database = start(path, make(path), is_left)?;
    sign(path);
    Ok(database)
}

/// Opens a file that was open before. Never makes one: where it has vanished (a volume that is no longer mounted, say),
/// a new one would hand out every number a second time.
pub(super) fn reopen(path: &Path) -> Result<Database, OpenError> {
    start(path, OpenOptions::new().read(true).write(true).open(path).and_then(refuse_empty), true)
}

fn start(path: &Path, file: io::Result<File>, is_left: bool) -> Result<Database, OpenError> {
    let refused = |source| OpenError::Io { path: path.to_owned(), source };
    let file = file.map_err(refused)?;
    let backend = |file| FileBackend::new(file).map_err(|error| failed(path, error));
    // The copy shares the lock of the original.
    let again = if is_left { Some(backend(file.try_clone().map_err(refused)?)?) } else { None };
    open_backend(path, backend(file)?, again)
}

/// Opens and checks what `backend` holds. `again` is the same storage once more, where it may have been left by an I/O
/// error: it is then [written again](write_again) first.
pub(super) fn open_backend<B: StorageBackend>(
    path: &Path,
    backend: B,
    again: Option<B>,
) -> Result<Database, OpenError> {
    let (again, fault) = (Cell::new(again), Rc::new(Cell::new(None)));
    let noted = Rc::clone(&fault);
    let opened = Builder::new()
        .set_cache_size(CACHE_BYTES)
        // Otherwise redb trusts the file, and may panic over a damaged one in the middle of the work.
        .set_check_integrity_on_open(true)
        // Called several times; first when the file is locked and nothing was built on what it holds.
        .set_repair_callback(move |session| {
            if let Some(Err(error)) = again.take().map(|storage| write_again(&storage)) {
                noted.set(Some(error));
                session.abort();
            }
        })
        .create_with_backend(backend);
    let database = match (opened, fault.take()) {
        (_, Some(source)) => return Err(OpenError::Io { path: path.to_owned(), source }),
        (opened, None) => opened.map_err(|error| failed(path, error))?,
    };
    match layout(&database) {
        Ok(None | Some(tables::OLDEST_LAYOUT..=tables::LAYOUT)) => Ok(database),
        Ok(Some(found)) => Err(OpenError::Layout { path: path.to_owned(), found, known: tables::LAYOUT }),
        Err(error) => Err(OpenError::Unreadable { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Writes everything again where it stands. When a sync fails, the kernel may give up what it could not write and yet
/// go on showing it, and no later sync would write it or tell. Only this makes durable what is read from now on.
fn write_again(storage: &impl StorageBackend) -> io::Result<()> {
    let mut page = [0; PAGE_BYTES];
    let len = storage.len()?;
    for offset in (0..len).step_by(PAGE_BYTES) {
        storage.read(offset, &mut page)?;
        if page == [0; PAGE_BYTES] {
            continue;
        }
        for (at, block) in (offset..).step_by(BLOCK_BYTES).zip(page.chunks(BLOCK_BYTES)) {
            match storage.write(at, block) {
                // A hole, which can stay one.
                Err(error) if is_full(&error) && block == [0; BLOCK_BYTES] => {}
                written => written?,
            }
        }
    }
    storage.sync_data()
}

fn layout(database: &Database) -> Result<Option<u64>, ::redb::Error> {
    Ok(tables::layout(&database.begin_read()?)?)
}

/// Leaves this process's number beside the file: who has it, and that it was not closed yet.
pub(super) fn sign(path: &Path) {
    if let Err(error) = fs::write(pid_file(path), process::id().to_string()) {
        tracing::warn!(%error, "the process's number cannot be left beside the embedded store");
    }
}

/// Takes this process's number away.
pub(super) fn withdraw(path: &Path) {
    if let Err(error) = fs::remove_file(pid_file(path)) {
        tracing::debug!(%error, "the file with the process's number stays behind");
    }
}

/// Opens the file for reading and writing. A new one is for its owner alone, for it holds password hashes.
fn make(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let is_new = !path.try_exists()?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    if is_new && cfg!(unix) {
        // A file whose name did not reach the disk is gone after a power failure, whatever was synced in it.
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

fn refuse_empty(file: File) -> io::Result<File> {
    if file.metadata()?.len() == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(file) }
}

fn failed(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            let holder = holder(&path);
            OpenError::InUse { path, holder }
        }
        // redb says so of a file without its magic number or shorter than its header.
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            OpenError::Io { path, source }
        }
        error => OpenError::Unreadable { path, reason: error.to_string() },
    }
}

fn holder(path: &Path) -> String {
    let pid = fs::read_to_string(pid_file(path)).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn pid_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pid");
    name.into()
}
