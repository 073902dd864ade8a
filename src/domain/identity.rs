//! Who somebody is at a provider of sign-ins.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

/// The name of a provider of sign-ins, as the settings give it: `[a-z][a-z0-9-]{0,31}`. Part of addresses and a label of
/// metrics, so there are as many as the settings name and no more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderName(Arc<str>);

impl ProviderName {
    /// What stands where a provider's name could stand, in `/v1/oauth/…` and among the ways to sign in.
    const RESERVED: [&'static str; 3] = ["password", "providers", "token"];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = matches!(text.len(), 1..=32)
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if !fits {
            return Err(Invalid("must have 1 to 32 characters, a-z, 0-9 and -, and begin with a letter"));
        }
        if Self::RESERVED.contains(&text) {
            return Err(Invalid("must not be password, providers or token"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProviderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProviderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Somebody's account at a provider: it is what opens the account here, never an e-mail address, for those change hands. It is
/// found by issuer and subject. The provider's name is only what it is called here: the settings may let it mean another issuer
/// one day, whose subjects are other people.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Who vouches for it: the issuer of OpenID Connect, the address of the site elsewhere. An identity that was stored without
    /// one opens nothing.
    #[serde(default)]
    pub issuer: String,
    /// What the provider was called when it was linked: it is shown by this name, and unlinked.
    pub provider: ProviderName,
    /// What the issuer calls it, for ever: `sub` of OpenID Connect, a number elsewhere.
    pub subject: Subject,
}

/// The provider's own name for one of its accounts: 1 to 255 printable ASCII characters (OpenID Connect Core section 2).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Subject(String);

impl Subject {
    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl FromStr for Subject {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if matches!(text.len(), 1..=255) && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid("must have 1 to 255 printable ASCII characters"))
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The subject leads to a person.
        write!(f, "Identity({}, [hidden])", self.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_name_keeps_to_its_pattern_and_to_what_is_free() {
        for good in ["github", "my-company", "a1"] {
            assert!(good.parse::<ProviderName>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", "GitHub", "1a", "-a", "a_b", "a/b", "password", "token", "providers", &"a".repeat(33)] {
            assert!(bad.parse::<ProviderName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_identity_that_was_stored_without_an_issuer_is_read_and_is_nobody_elses() {
        let stored: Identity = serde_json::from_str(r#"{"provider":"github","subject":"7"}"#).unwrap();
        let of_today = Identity { issuer: "https://github.com".to_owned(), ..stored.clone() };
        assert!(stored.issuer.is_empty() && stored != of_today);
    }

    #[test]
    fn a_subject_is_what_openid_connect_allows() {
        assert!("auth0|5f7c".parse::<Subject>().is_ok());
        for bad in ["", "é", "a\nb", &"x".repeat(256)] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?} was taken");
        }
    }
}
