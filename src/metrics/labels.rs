//! Labels whose values are bounded by their type.

/// An enum whose values are the values of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value of the label.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

label! {
    /// Why the server ended a connection.
    ConnectionEnd {
        /// No request came within the header deadline.
        NoRequest = "no_request",
        /// No request for longer than the idle deadline.
        Idle = "idle",
        /// It was still busy when the drain timeout passed.
        DrainTimeout = "drain_timeout",
    }
}

label! {
    /// What was refused for too many were waiting.
    Overload {
        /// The sequencer's queue.
        Queue = "queue",
        /// The password hashes.
        Password = "password",
    }
}

label! {
    /// What somebody proved, or tried to prove.
    AuthKind {
        /// A registration.
        Register = "register",
        /// A login with a password.
        Login = "login",
        /// A token.
        Token = "token",
        /// What a provider of sign-ins says, or the one-time code that stands for it.
        Oauth = "oauth",
    }
}

label! {
    /// How an attempt ended.
    AuthOutcome {
        /// It was accepted.
        Success = "success",
        /// It was refused.
        Failure = "failure",
    }
}

label! {
    /// How a sign-in through a provider ended well.
    SignIn {
        /// A new account.
        SignUp = "sign_up",
        /// An account that it opens.
        SignIn = "sign_in",
        /// It opens, from now on, an account that had a password before.
        Linked = "linked",
        /// Its address is that of an account with a password: the person is asked what to do.
        LinkRequired = "link_required",
    }
}

label! {
    /// Why a sign-in through a provider did not come about: the person is told the same word. It is counted by it where that is
    /// more than what the browser brought ([`ANSWER_REFUSED`]).
    SignInFailure {
        /// The person said no at the provider.
        AccessDenied = "access_denied",
        /// This browser has no sign-in under way, or not any more.
        FlowExpired = "flow_expired",
        /// The answer belongs to another sign-in, browser or provider.
        FlowMismatch = "flow_mismatch",
        /// The provider does not answer, or too slowly.
        ProviderUnavailable = "provider_unavailable",
        /// The provider refuses the code, or us.
        ProviderRefused = "provider_refused",
        /// What the provider says cannot be believed.
        ProviderInvalid = "provider_invalid",
        /// Too many from one address.
        RateLimited = "rate_limited",
        /// The database does not answer.
        StoreUnavailable = "store_unavailable",
        /// A bug.
        Internal = "internal",
    }
}

/// How a sign-in failed whose only fault is what the browser brought: an error, no code, or a code that is worth nothing. Anybody
/// can bring such, so it does not count as one of the failures that say something of the provider.
pub const ANSWER_REFUSED: &str = "answer_refused";

impl SignInFailure {
    /// Has somebody tried to prove what is not so? All others are nobody's fault, or the provider's.
    pub fn is_suspicious(self) -> bool {
        matches!(self, Self::FlowMismatch | Self::ProviderInvalid)
    }
}

label! {
    /// What a provider of sign-ins is asked for.
    Endpoint {
        /// What it says of itself.
        Discovery = "discovery",
        /// The keys of its signatures.
        Keys = "keys",
        /// Tokens for a code.
        Token = "token",
        /// Who somebody is, by OpenID Connect.
        UserInfo = "userinfo",
        /// Who somebody is, by the provider's own API.
        User = "user",
        /// Somebody's addresses, by GitHub's API.
        Emails = "emails",
    }
}

label! {
    /// Why the store did not do what it was asked for.
    ErrorType {
        /// The server refused the credentials.
        Authentication = "authentication",
        /// The attempt was given up.
        Cancelled = "cancelled",
        /// The store was closed.
        Closed = "closed",
        /// The server refused the command.
        Command = "command",
        /// Another writer.
        Conflict = "conflict",
        /// A record of the embedded store is not as this program writes it.
        Corrupted = "corrupted",
        /// There is no room to write.
        DiskFull = "disk_full",
        /// The driver refused the call.
        Driver = "driver",
        /// A unique index has the key already.
        DuplicateKey = "duplicate_key",
        /// Another account with a password has the address.
        EmailTaken = "email_taken",
        /// A record cannot be written.
        Encoding = "encoding",
        /// Another account is opened by the identity.
        IdentityTaken = "identity_taken",
        /// A bug.
        Internal = "internal",
        /// A document of MongoDB is not as this program writes it.
        InvalidDocument = "invalid_document",
        /// The server's answer makes no sense.
        InvalidResponse = "invalid_response",
        /// The disk failed.
        Io = "io",
        /// Another call was keeping the record of the same idempotency key.
        KeyConflict = "key_conflict",
        /// The file must be opened again.
        Lost = "lost",
        /// The server gave up at the deadline.
        MaxTime = "max_time",
        /// The connection failed.
        Network = "network",
        /// A turn at making counters did not come: the batch is split at once, so that whoever shares it with a user who
        /// is held up does not wait with them.
        NoTurn = "no_turn",
        /// The replica set has not been initiated.
        NotInitiated = "not_initiated",
        /// The store was not made ready yet.
        NotPrepared = "not_prepared",
        /// The server takes no writes, or not any more.
        NotPrimary = "not_primary",
        /// A panic.
        Panic = "panic",
        /// A panic before.
        Poisoned = "poisoned",
        /// Every place was taken for too long.
        PoolTimeout = "pool_timeout",
        /// The disk failed before.
        PreviousIo = "previous_io",
        /// The call did not leave by its deadline.
        QueueTimeout = "queue_timeout",
        /// Whatever else redb says.
        Redb = "redb",
        /// No server of the set takes writes.
        ServerSelection = "server_selection",
        /// The deadline passed.
        Timeout = "timeout",
        /// The TLS settings are wrong.
        Tls = "tls",
        /// The transaction was given up.
        Transaction = "transaction",
        /// The user lacks rights.
        Unauthorized = "unauthorized",
        /// No majority confirmed the write.
        WriteConcern = "write_concern",
    }
}

label! {
    /// How a commit ended.
    CommitOutcome {
        /// It was applied.
        Committed = "committed",
        /// It was definitely not applied.
        Refused = "refused",
        /// Nobody knows.
        Unknown = "unknown",
        /// It met another writer again and again, was not applied, and went on in two halves.
        Split = "split",
    }
}

label! {
    /// What a server of the replica set is.
    ServerKind {
        /// Takes the writes.
        Primary = "primary",
        /// Follows the primary.
        Secondary = "secondary",
        /// Votes and holds no data.
        Arbiter = "arbiter",
        /// Starting, recovering, or of no replica set.
        Other = "other",
        /// Not reached.
        Unknown = "unknown",
    }
}

label! {
    /// What leaves by OTLP.
    Signal {
        /// Spans.
        Spans = "spans",
        /// Log records.
        Logs = "logs",
    }
}
