//! What a failure of the driver means: what it is called, and whether anything may have been applied.

use mongodb::error::{
    Error, ErrorKind, NO_WRITES_PERFORMED, SYSTEM_OVERLOADED_ERROR, TRANSIENT_TRANSACTION_ERROR, WriteFailure,
};

use super::super::{Cause, ErrorType, StoreError};

/// What a command that failed may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it only reads, does the same however often it is done, or stands in a transaction that is not committed.
    None,
    /// It may have been applied.
    Write,
    /// Its transaction may have been committed.
    Commit,
}

const UNKNOWN_NAME: &str = "the server's name could not be resolved";

/// The server's codes that metrics tell apart.
pub(super) const KNOWN_CODES: [i32; 12] = [
    13,     // Unauthorized
    18,     // AuthenticationFailed
    50,     // MaxTimeMSExpired
    64,     // WriteConcernFailed
    91,     // ShutdownInProgress
    112,    // WriteConflict
    189,    // PrimarySteppedDown
    251,    // NoSuchTransaction
    10_107, // NotWritablePrimary
    11_000, // DuplicateKey
    11_600, // InterruptedAtShutdown
    11_602, // InterruptedDueToReplStateChange
];

/// Turns an error of the driver into the store's. Nothing of the driver's texts is taken over, for they hold host names
/// and whole replies of the server.
pub(super) fn classify(error: &Error, effect: Effect) -> StoreError {
    let cause = cause(error);
    let definite = match effect {
        Effect::None => true,
        Effect::Write => never_sent(error) || error.contains_label(NO_WRITES_PERFORMED) || refused(&cause),
        // The server gives this label only when it is certain that the transaction was not committed.
        Effect::Commit => error.contains_label(TRANSIENT_TRANSACTION_ERROR),
    };
    match cause.kind {
        _ if !definite => StoreError::OutcomeUnknown(cause),
        ErrorType::Conflict | ErrorType::DuplicateKey => StoreError::Conflict(cause),
        ErrorType::InvalidDocument => StoreError::Corrupt(cause),
        _ => StoreError::Unavailable(cause),
    }
}

/// What a command is whose deadline passed before its answer came.
pub(super) fn timed_out(effect: Effect) -> StoreError {
    match effect {
        Effect::None => StoreError::Unavailable(Cause::timeout()),
        Effect::Write | Effect::Commit => StoreError::OutcomeUnknown(Cause::timeout()),
    }
}

/// Is this a definite failure that may be gone at the next attempt?
pub(super) fn is_passing(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict(_) => true,
        StoreError::Unavailable(cause) => {
            matches!(
                cause.kind,
                ErrorType::ServerSelection
                    | ErrorType::Network
                    | ErrorType::NotPrimary
                    | ErrorType::Transaction
                    | ErrorType::Timeout
                    | ErrorType::MaxTime
            )
        }
        _ => false,
    }
}

/// Did no answer come, or none that could be read?
pub(super) fn is_unanswered(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorType::Network | ErrorType::Timeout | ErrorType::InvalidResponse)
        || matches!(error, StoreError::OutcomeUnknown(_))
}

/// Did it fail before the command left? Where the driver made a second attempt, it reports the first one's failure if
/// that one was sent, so this holds for both.
fn never_sent(error: &Error) -> bool {
    match *error.kind {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::Shutdown => true,
        // The driver's label for a connection that could not be made.
        ErrorKind::Io(_) => error.contains_label(SYSTEM_OVERLOADED_ERROR),
        _ => false,
    }
}

/// Does the code say that the rules of the database forbid the write, for every attempt at it alike? Not so the codes
/// of a server that is no primary (any more): an earlier attempt may have been applied before.
fn refused(cause: &Cause) -> bool {
    matches!(cause.kind, ErrorType::DuplicateKey | ErrorType::Authentication | ErrorType::Unauthorized)
        || (cause.kind == ErrorType::InvalidDocument && cause.code.is_some())
}

fn cause(error: &Error) -> Cause {
    match &*error.kind {
        ErrorKind::Command(failed) => {
            with_code(kind_of(failed.code, error), failed.code, Some(failed.code_name.as_str()))
        }
        ErrorKind::Write(WriteFailure::WriteError(failed)) => {
            with_code(kind_of(failed.code, error), failed.code, failed.code_name.as_deref())
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(failed)) => {
            with_code(ErrorType::WriteConcern, failed.code, Some(failed.code_name.as_str()))
        }
        ErrorKind::InsertMany(failed) => {
            if let Some(first) = failed.write_errors.as_ref().and_then(|errors| errors.first()) {
                return with_code(kind_of(first.code, error), first.code, first.code_name.as_deref());
            }
            match &failed.write_concern_error {
                Some(failed) => with_code(ErrorType::WriteConcern, failed.code, Some(failed.code_name.as_str())),
                None => Cause::new(ErrorType::Driver, "the insertion failed without a reason"),
            }
        }
        ErrorKind::ServerSelection { .. } => {
            Cause::new(ErrorType::ServerSelection, "no server of the set takes writes")
        }
        // A name that is not known is of no kind of the standard library's: it has these words, and "uncategorized error" else.
        ErrorKind::Io(io) if io.to_string().starts_with("failed to lookup address") => {
            Cause::new(ErrorType::Network, UNKNOWN_NAME)
        }
        ErrorKind::Io(io) => Cause::new(ErrorType::Network, io.kind().to_string()),
        ErrorKind::ConnectionPoolCleared { .. } => Cause::new(ErrorType::Network, "the server stopped answering"),
        ErrorKind::DnsResolve { .. } => Cause::new(ErrorType::Network, UNKNOWN_NAME),
        ErrorKind::Authentication { .. } => Cause::new(ErrorType::Authentication, "the server refused the credentials"),
        ErrorKind::InvalidTlsConfig { .. } => Cause::new(ErrorType::Tls, "the TLS settings are wrong"),
        ErrorKind::Bson(_) | ErrorKind::BsonDeserialization(_) | ErrorKind::BsonSerialization(_) => {
            Cause::new(ErrorType::InvalidDocument, "a document has another form than this program writes")
        }
        ErrorKind::InvalidResponse { .. } => {
            Cause::new(ErrorType::InvalidResponse, "the server's answer makes no sense")
        }
        ErrorKind::Shutdown => Cause::new(ErrorType::Closed, "the store was closed"),
        _ => Cause::new(ErrorType::Driver, "the driver refused the call"),
    }
}

fn with_code(kind: ErrorType, code: i32, name: Option<&str>) -> Cause {
    let detail = match name {
        Some(name) if !name.is_empty() => name,
        _ if kind == ErrorType::DuplicateKey => "DuplicateKey",
        _ => "the server refused the command",
    };
    Cause { kind, code: Some(code), detail: detail.to_owned() }
}

fn kind_of(code: i32, error: &Error) -> ErrorType {
    match code {
        11000 | 11001 => ErrorType::DuplicateKey,
        // WriteConflict, LockTimeout, SnapshotTooOld, SnapshotUnavailable
        112 | 24 | 239 | 246 => ErrorType::Conflict,
        // NotWritablePrimary and its kin, PrimarySteppedDown, the shutdowns, the interruptions of a step-down
        10107 | 13435 | 10058 | 189 | 91 | 11600 | 11602 | 13436 => ErrorType::NotPrimary,
        // MaxTimeMSExpired, ExceededTimeLimit
        50 | 262 => ErrorType::MaxTime,
        13 => ErrorType::Unauthorized,
        18 => ErrorType::Authentication,
        121 => ErrorType::InvalidDocument,
        // NoSuchTransaction: the server gave the transaction up
        251 => ErrorType::Transaction,
        _ if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => ErrorType::Transaction,
        _ => ErrorType::Command,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::ToSocketAddrs as _;

    use mongodb::bson::{self, doc};

    use super::*;

    fn command(code: i32, name: &str) -> Error {
        let reply = doc! { "code": code, "codeName": name, "errmsg": "secret host" };
        ErrorKind::Command(bson::deserialize_from_document(reply).unwrap()).into()
    }

    fn write_concern(code: i32, label: &str) -> Error {
        let reply = doc! { "code": code, "codeName": "Name", "errmsg": "secret host", "errorLabels": [label] };
        let failure = WriteFailure::WriteConcernError(bson::deserialize_from_document(reply).unwrap());
        ErrorKind::Write(failure).into()
    }

    fn network() -> Error {
        io::Error::new(io::ErrorKind::ConnectionReset, "secret host").into()
    }

    fn unknown(error: &StoreError) -> bool {
        matches!(error, StoreError::OutcomeUnknown(_))
    }

    #[test]
    fn a_name_that_nobody_knows_is_told_and_not_repeated() {
        // Nobody ever knows one of these (RFC 6761).
        let error: Error = ("db1.invalid", 27017).to_socket_addrs().unwrap_err().into();
        let told = classify(&error, Effect::None).to_string();
        assert!(told.ends_with(UNKNOWN_NAME) && !told.contains("db1"), "{told}");
    }

    #[test]
    fn what_was_sent_and_not_answered_is_unknown_for_writes_only() {
        assert!(unknown(&classify(&network(), Effect::Write)));
        assert!(unknown(&classify(&network(), Effect::Commit)));
        assert!(unknown(&timed_out(Effect::Write)) && unknown(&timed_out(Effect::Commit)));
        assert!(
            matches!(classify(&network(), Effect::None), StoreError::Unavailable(cause) if cause.kind == ErrorType::Network)
        );
        let timed_out = timed_out(Effect::None);
        assert!(
            matches!(&timed_out, StoreError::Unavailable(cause) if cause.kind == ErrorType::Timeout)
                && is_passing(&timed_out)
        );
    }

    #[test]
    fn a_server_that_is_no_primary_any_more_may_have_applied_an_earlier_attempt() {
        for code in [10107, 13435, 189, 91, 11600, 11602] {
            let error = command(code, "NotWritablePrimary");
            assert!(unknown(&classify(&error, Effect::Write)), "{code}");
            let read = classify(&error, Effect::None);
            assert_eq!((read.kind(), is_passing(&read)), (ErrorType::NotPrimary, true), "{code}");
        }
    }

    #[test]
    fn a_write_that_no_majority_confirmed_is_unknown() {
        let failed = classify(&write_concern(64, "RetryableWriteError"), Effect::Write);
        assert!(unknown(&failed));
        assert_eq!(failed.cause().unwrap().code, Some(64));
    }

    #[test]
    fn the_label_that_nothing_was_written_makes_a_write_definite() {
        let failed = classify(&write_concern(91, NO_WRITES_PERFORMED), Effect::Write);
        assert!(matches!(failed, StoreError::Unavailable(_)));
    }

    #[test]
    fn a_commit_is_definite_only_with_the_label_that_says_so() {
        assert!(unknown(&classify(&command(251, "NoSuchTransaction"), Effect::Commit)));
        assert!(unknown(&classify(&command(50, "MaxTimeMSExpired"), Effect::Commit)));
        let failed = classify(&write_concern(251, TRANSIENT_TRANSACTION_ERROR), Effect::Commit);
        assert!(matches!(failed, StoreError::Unavailable(_)));
    }

    #[test]
    fn conflicts_and_refusals_are_definite() {
        let conflict = classify(&command(112, "WriteConflict"), Effect::None);
        assert!(
            matches!(&conflict, StoreError::Conflict(cause) if cause.kind == ErrorType::Conflict)
                && is_passing(&conflict)
        );
        let duplicate = classify(&command(11000, "DuplicateKey"), Effect::Write);
        assert!(matches!(&duplicate, StoreError::Conflict(cause) if cause.kind == ErrorType::DuplicateKey));
        let invalid = classify(&command(121, "DocumentValidationFailure"), Effect::Write);
        assert!(matches!(invalid, StoreError::Corrupt(_)) && !is_passing(&invalid));
        assert_eq!(classify(&command(13, "Unauthorized"), Effect::Write).kind(), ErrorType::Unauthorized);
        assert!(!is_passing(&classify(&command(13, "Unauthorized"), Effect::Write)));
        assert_eq!(classify(&command(50, "MaxTimeMSExpired"), Effect::None).kind(), ErrorType::MaxTime);
    }

    #[test]
    fn an_answer_to_a_write_that_cannot_be_read_is_unknown() {
        let unreadable = bson::deserialize_from_document::<i32>(doc! {}).unwrap_err();
        assert!(unknown(&classify(&unreadable.clone().into(), Effect::Write)));
        assert!(matches!(classify(&unreadable.into(), Effect::None), StoreError::Corrupt(_)));
    }

    #[test]
    fn nothing_of_the_servers_texts_is_shown() {
        for error in [network(), command(112, "WriteConflict"), write_concern(64, "x")] {
            assert!(!format!("{:?}", classify(&error, Effect::Write)).contains("secret"));
        }
    }
}
