//! The two cookies of a sign-in, and nothing else: a token is never in one.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::auth::oauth::{Providers, flow};

/// How long a one-time code is good for, in seconds.
pub(super) const CODE_LIFETIME_S: u64 = 60;

/// A cookie of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie {
    /// With TLS, `__Host-` before it: then no other host of the domain can have set it.
    name: &'static str,
    same_site: &'static str,
    max_age_s: u64,
}

/// The sealed flow. `Lax`, for the browser comes back with it from another site.
pub(super) const FLOW: Cookie =
    Cookie { name: "counter_oauth_flow", same_site: "Lax", max_age_s: flow::LIFETIME.as_secs() };

/// The other half of the one-time code. `Strict`, for only our own page redeems it.
pub(super) const SIGN_IN: Cookie =
    Cookie { name: "counter_oauth_code", same_site: "Strict", max_age_s: CODE_LIFETIME_S };

impl Cookie {
    /// What sets it.
    pub(super) fn set(self, value: &str, providers: &Providers) -> Option<HeaderValue> {
        self.header(value, self.max_age_s, providers)
    }

    /// What takes it away.
    pub(super) fn clear(self, providers: &Providers) -> Option<HeaderValue> {
        self.header("", 0, providers)
    }

    /// Its value, if the browser sent it once. Of two, one is somebody else's.
    pub(super) fn of<'a>(self, headers: &'a HeaderMap, providers: &Providers) -> Option<&'a str> {
        let name = self.full_name(providers);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(known, value)| (known == name).then_some(value));
        values.next().filter(|_| values.next().is_none())
    }

    fn header(self, value: &str, max_age_s: u64, providers: &Providers) -> Option<HeaderValue> {
        let (name, same_site) = (self.full_name(providers), self.same_site);
        let secure = if providers.secure() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite={same_site}{secure}");
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    fn full_name(self, providers: &Providers) -> String {
        let prefix = if providers.secure() { "__Host-" } else { "" };
        format!("{prefix}{}", self.name)
    }
}
