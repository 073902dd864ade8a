//! The words of the domain: parsed once at the edge, never validated twice.
//!
//! A value of one of these types is valid by construction, so nothing below the edge checks again. Each parser says in
//! its error what would be right, in words that can be shown to the caller, and never repeats what it was given.

mod identity;
mod timestamp;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

pub use identity::{Identity, ProviderName, Subject};
pub use timestamp::Timestamp;

/// Why a text is not a value of the domain: a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// A user's identity: a UUIDv7 (RFC 9562), so that users sort by their time of registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(Uuid);

impl UserId {
    /// A new identity that no other user has.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Uuid::parse_str(text).map(Self).map_err(|_| Invalid("must be a UUID"))
    }
}

/// An e-mail address: trimmed, in lower case (addresses are compared without case), 3 to 254 characters (RFC 5321).
///
/// Only the shape is checked (one `@` between a non-empty local part and a domain with a dot, no white space or control
/// characters): whether somebody reads mail there is something no pattern can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Email(String);

impl Email {
    /// The longest address, in bytes (RFC 5321 section 4.5.3.1, as corrected by erratum 1690).
    pub const MAX_LEN: usize = 254;

    /// The address in the form that is stored and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl FromStr for Email {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const SHAPE: Invalid = Invalid("must be an e-mail address such as ada@example.com");
        let email = text.trim().to_lowercase();
        if email.len() > Self::MAX_LEN {
            return Err(Invalid("must have at most 254 characters"));
        }
        let (local, domain) = email.rsplit_once('@').ok_or(SHAPE)?;
        let domain_fits = domain.contains('.')
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            });
        let local_fits = !local.is_empty()
            && local.len() <= 64
            && local.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"@<>()[],;:\\\"".contains(c));
        if domain_fits && local_fits { Ok(Self(email)) } else { Err(SHAPE) }
    }
}

/// The name of a counter: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterName(Arc<str>);

impl CounterName {
    const DEFAULT: &'static str = "default";

    /// The counter that every user has, used by the calls that name none.
    pub fn default_counter() -> Self {
        Self(Self::DEFAULT.into())
    }

    /// Is this the counter that every user has?
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CounterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CounterName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl FromStr for CounterName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = matches!(text.len(), 1..=64)
            && text.bytes().all(|b| alphanumeric(b) || b == b'_' || b == b'-')
            && text.bytes().next().is_some_and(alphanumeric);
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(Invalid("must have 1 to 64 characters, a-z, 0-9, _ and -, and begin with a letter or a digit"))
        }
    }
}

/// One counter of one user. Its text, `<user id>/<name>`, is its key in both stores: a user's counters stand together
/// there, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId {
    /// Whose counter it is.
    pub user: UserId,
    /// Which of the user's counters it is.
    pub name: CounterName,
}

impl fmt::Display for CounterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.name)
    }
}

/// What a counter stands at: 0 to 2^53 − 1, the integers that are exact in every JSON reader (RFC 8259 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(try_from = "u64")]
pub struct CounterValue(u64);

impl CounterValue {
    /// The top: 9,007,199,254,740,991.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The value, or nothing where it lies above [`CounterValue::MAX`].
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The value as a plain integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The value `count` steps up, or nothing where that lies above the top.
    pub fn checked_add(self, count: u64) -> Option<Self> {
        self.0.checked_add(count).and_then(Self::new)
    }
}

impl TryFrom<u64> for CounterValue {
    type Error = Invalid;

    fn try_from(value: u64) -> Result<Self, Invalid> {
        Self::new(value).ok_or(Invalid("must be at most 9007199254740991"))
    }
}

impl fmt::Display for CounterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An `Idempotency-Key`: 1 to 255 visible ASCII characters. The draft's quoted form and the bare form are the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The key as text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WRONG: Invalid = Invalid("must have 1 to 255 visible ASCII characters, bare or as a quoted string");
        let key = match text.strip_prefix('"') {
            // A string of RFC 9651 section 3.3.3, with its escapes \" and \\.
            Some(rest) => {
                let mut characters = rest.strip_suffix('"').ok_or(WRONG)?.chars();
                let mut key = String::with_capacity(rest.len());
                while let Some(c) = characters.next() {
                    match c {
                        '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\')).ok_or(WRONG)?),
                        '"' => return Err(WRONG),
                        c => key.push(c),
                    }
                }
                key
            }
            None => text.to_owned(),
        };
        if matches!(key.len(), 1..=255) && key.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(key.into()))
        } else {
            Err(WRONG)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_trimmed_and_compared_without_case() {
        assert_eq!("  Ada@Example.COM ".parse::<Email>().unwrap().as_str(), "ada@example.com");
        for bad in
            ["", "ada", "@example.com", "ada@", "ada@example", "a b@example.com", "ada@exa..mple.com", "a@b@c.de"]
        {
            assert!(bad.parse::<Email>().is_err(), "{bad:?} was taken for an address");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<Email>().is_err());
        assert!(format!("a@{}.com", "b".repeat(250)).parse::<Email>().is_err());
    }

    #[test]
    fn a_counter_name_keeps_to_its_pattern() {
        for good in ["a", "0", "orders-2026_eu", &"a".repeat(64)] {
            assert!(good.parse::<CounterName>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", "-a", "_a", "A", "a/b", "a.b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<CounterName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_quoted_and_the_bare_idempotency_key_are_the_same() {
        let bare: IdempotencyKey = "8e03978e-40d5".parse().unwrap();
        assert_eq!(bare, "\"8e03978e-40d5\"".parse().unwrap());
        assert_eq!(r#""a\"b\\c""#.parse::<IdempotencyKey>().unwrap().as_str(), r#"a"b\c"#);
        for bad in ["", "\"\"", "\"open", "a b", "\"a\"b\"", "\"a\\n\"", "é", &"x".repeat(256)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn values_end_at_two_to_the_53rd_minus_one() {
        assert_eq!(CounterValue::MAX.get(), 9_007_199_254_740_991);
        assert_eq!(CounterValue::new(1 << 53), None);
        assert_eq!(CounterValue::MAX.checked_add(1), None);
    }

    #[test]
    fn what_is_stored_is_read_by_the_same_rules() {
        let top: CounterValue = serde_json::from_str("9007199254740991").unwrap();
        assert_eq!((top, serde_json::to_string(&top).unwrap().as_str()), (CounterValue::MAX, "9007199254740991"));
        assert!(serde_json::from_str::<CounterValue>("9007199254740992").is_err());
        let email: Email = serde_json::from_str("\"ada@example.com\"").unwrap();
        assert_eq!(serde_json::to_string(&email).unwrap(), "\"ada@example.com\"");
        assert!(serde_json::from_str::<Email>("\"ada\"").is_err());
        assert_eq!(serde_json::from_str::<Subject>("\"7\"").unwrap().as_str(), "7");
        assert!(serde_json::from_str::<Subject>("\"\"").is_err());
    }
}
