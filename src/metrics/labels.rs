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
