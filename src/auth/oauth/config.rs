//! What must be known of the providers, as the settings say it.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::ProviderName;

/// Sign-in through others.
#[derive(Debug, Clone)]
pub struct OauthConfig {
    /// Scheme, host and port where browsers reach the service; there where there is a provider.
    pub public_url: Option<String>,
    /// Deadline of one call to a provider.
    pub timeout: Duration,
    /// In the order of their names.
    pub providers: Vec<ProviderConfig>,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Its name in addresses.
    pub name: ProviderName,
    /// Its name for people.
    pub display_name: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// What it calls this service.
    pub client_id: String,
    /// The secret between it and this service.
    pub client_secret: SecretString,
    /// The issuer, or where its calls begin.
    pub issuer: String,
    /// What is asked for, separated by spaces.
    pub scopes: String,
}

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenID Connect, found by discovery.
    OpenId,
    /// GitHub's.
    GitHub,
    /// Facebook's.
    Facebook,
}
