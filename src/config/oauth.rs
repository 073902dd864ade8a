//! Providers of sign-ins: as many as the environment names.

use std::collections::BTreeSet;

use super::catalogue::{OAUTH_TIMEOUT, PUBLIC_URL};
use super::parse;
use super::read::Reader;
use crate::auth::oauth::{Dialect, OauthConfig, ProviderConfig};
use crate::domain::ProviderName;

/// What is known of a provider by its name.
struct Preset {
    dialect: Dialect,
    display_name: &'static str,
    issuer: &'static str,
    scopes: &'static str,
}

impl Preset {
    fn of(name: &str) -> Self {
        let preset = |dialect, display_name, issuer, scopes| Self { dialect, display_name, issuer, scopes };
        match name {
            "github" => preset(Dialect::GitHub, "GitHub", "https://github.com", "read:user user:email"),
            "google" => preset(Dialect::OpenId, "Google", "https://accounts.google.com", "openid email"),
            "facebook" => preset(Dialect::Facebook, "Facebook", "https://www.facebook.com", "public_profile email"),
            _ => preset(Dialect::OpenId, "", "", "openid email"),
        }
    }
}

/// The longer first: each is the end of the one before.
const ENDS: [&str; 6] = ["_CLIENT_SECRET_FILE", "_CLIENT_SECRET", "_CLIENT_ID", "_ISSUER", "_SCOPES", "_DISPLAY_NAME"];

/// The provider that a variable is about, as it stands there; nothing where it is about none.
pub(super) fn provider(variable: &str) -> Option<&str> {
    let rest = variable.strip_prefix("COUNTER_OAUTH_")?;
    ENDS.iter().find_map(|end| rest.strip_suffix(end)).filter(|name| !name.is_empty())
}

impl Reader<'_> {
    /// Every provider that the environment names.
    pub(super) fn oauth(&mut self) -> Option<OauthConfig> {
        let public_url = self.get(&PUBLIC_URL, parse::public_url);
        let timeout = self.get(&OAUTH_TIMEOUT, |t| parse::duration(t, "100ms", "30s"));
        let environment = self.sources.environment.iter().filter(|(_, value)| !value.is_empty());
        let names: BTreeSet<String> =
            environment.filter_map(|(name, _)| provider(name.to_str()?).map(str::to_owned)).collect();
        if !names.is_empty() && public_url == Some(None) {
            self.fault_of(
                "COUNTER_PUBLIC_URL is required where people sign in through a provider; for example https://counter.example.com"
                    .to_owned(),
            );
        }
        // Collected first, so that the faults of all of them are found.
        let providers: Vec<_> = names.iter().map(|name| self.provider(name)).collect();
        Some(OauthConfig {
            public_url: public_url?,
            timeout: timeout?,
            providers: providers.into_iter().collect::<Option<_>>()?,
        })
    }

    fn provider(&mut self, upper: &str) -> Option<ProviderConfig> {
        let variable = |end: &str| format!("COUNTER_OAUTH_{upper}_{end}");
        // Of these alone, no two variables make the same name.
        let parsed = if upper.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
            upper.to_ascii_lowercase().replace('_', "-").parse::<ProviderName>().map_err(|invalid| invalid.0.to_owned())
        } else {
            Err("must be capitals, digits and _".to_owned())
        };
        let name = match parsed {
            Ok(name) => name,
            Err(right) => {
                self.fault_of(format!("COUNTER_OAUTH_{upper}_…: the provider's name {right}"));
                return None;
            }
        };
        let preset = Preset::of(name.as_str());
        let client_id = self.get_or(&variable("CLIENT_ID"), "", client_id);
        let given = self.faults.len();
        let client_secret = self.secret_or(&variable("CLIENT_SECRET"), "");
        if client_secret.is_none() && self.faults.len() == given {
            self.fault_of(format!("{} is required", variable("CLIENT_SECRET")));
        }
        let issuer = self.get_or(&variable("ISSUER"), preset.issuer, |text| match text {
            "" => Err("is required: the provider's issuer, such as https://login.example.com".to_owned()),
            text => parse::issuer(text),
        });
        let scopes = self.get_or(&variable("SCOPES"), preset.scopes, |text| scopes(text, preset.dialect));
        let made = if preset.display_name.is_empty() { titled(name.as_str()) } else { preset.display_name.to_owned() };
        let display_name = self.get_or(&variable("DISPLAY_NAME"), &made, display_name);
        Some(ProviderConfig {
            name,
            display_name: display_name?,
            dialect: preset.dialect,
            client_id: client_id?,
            client_secret: client_secret?.0,
            issuer: issuer?,
            scopes: scopes?,
        })
    }
}

fn client_id(text: &str) -> Result<String, String> {
    // RFC 6749 appendix A.1.
    let fits = matches!(text.len(), 1..=255) && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if fits { Ok(text.to_owned()) } else { Err("is required: 1 to 255 printable ASCII characters".to_owned()) }
}

fn scopes(text: &str, dialect: Dialect) -> Result<String, String> {
    // RFC 6749 appendix A.4.
    let token = |scope: &str| scope.bytes().all(|b| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~'));
    let scopes: Vec<_> = text.split_ascii_whitespace().collect();
    if !scopes.iter().all(|scope| token(scope)) {
        return Err("must be scopes separated by spaces".to_owned());
    }
    if dialect == Dialect::OpenId && !scopes.contains(&"openid") {
        return Err("must hold openid".to_owned());
    }
    Ok(scopes.join(" "))
}

fn display_name(text: &str) -> Result<String, String> {
    let fits = matches!(text.chars().count(), 1..=64) && !text.chars().any(char::is_control) && text.trim() == text;
    if fits { Ok(text.to_owned()) } else { Err("must have 1 to 64 characters".to_owned()) }
}

/// `my-company` as `My Company`.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect::<Vec<_>>().join(" ")
}
