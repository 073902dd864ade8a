//! How each kind of setting is written. An error says what would be right; the reader adds the setting's name.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::auth::oauth::secure_url;
use crate::domain::CounterValue;

/// So many in each period, with bursts of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many: 1 to 1,000,000.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

pub(super) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A MongoDB database's name: 1 to 63 characters, and none that MongoDB forbids.
pub(super) fn database(text: &str) -> Result<String, String> {
    let fits = matches!(text.len(), 1..=63)
        && !text.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']);
    if fits { Ok(text.to_owned()) } else { Err("must be a MongoDB database's name of 1 to 63 characters".to_owned()) }
}

pub(super) fn integer(text: &str, least: u64, most: u64) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be an integer from {least} to {most}"))
}

pub(super) fn counter_value(text: &str) -> Result<CounterValue, String> {
    text.parse()
        .ok()
        .and_then(CounterValue::new)
        .ok_or_else(|| format!("must be an integer from 0 to {}", CounterValue::MAX))
}

/// `250ms`, `10s`, `5m`, `1h` or `7d`, within bounds written in the same way.
pub fn duration(text: &str, least: &str, most: &str) -> Result<Duration, String> {
    match (plain_duration(text), plain_duration(least), plain_duration(most)) {
        (Some(value), Some(low), Some(high)) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!("must be a duration from {least} to {most} such as 250ms, 10s, 5m, 1h")),
    }
}

fn plain_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// `10/s`, `10/m` or `10/h`; `off` is no limit.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "off" {
        return Ok(None);
    }
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let period = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        let count: NonZeroU32 = count.parse().ok()?;
        (count.get() <= 1_000_000).then_some(Rate { count, period: Duration::from_secs(period) })
    });
    parsed.map(Some).ok_or_else(|| "must be a rate such as 10/s, 10/m or 10/h, of 1 to 1000000, or off".to_owned())
}

/// Values separated by commas; an empty text is an empty list.
pub(super) fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect()
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    IpNet::from_str(text)
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()))
        .map_err(|_| "must be addresses or CIDRs such as 10.0.0.0/8, separated by commas".to_owned())
}

/// `*`, or a scheme and an authority (RFC 6454 section 7).
pub(super) fn origin(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = text == "*"
        || authority.is_some_and(|a| {
            !a.is_empty() && a.bytes().all(|b| b.is_ascii_graphic()) && !a.contains(['/', '?', '#', '@'])
        });
    if fits {
        Ok(text.to_owned())
    } else {
        Err("must be * or origins such as https://app.example.com, separated by commas".to_owned())
    }
}

/// [`secure_url`] with nothing behind the host and the port; without the last slash.
pub(super) fn public_url(text: &str) -> Result<Option<String>, String> {
    const RIGHT: &str =
        "must be an https:// URL (http:// on loopback only) without a path, such as https://counter.example.com";
    if text.is_empty() {
        return Ok(None);
    }
    let url = secure_url(text).map_err(|_| RIGHT.to_owned())?;
    if url.path() == "/" && url.query().is_none() {
        Ok(Some(url.origin().ascii_serialization()))
    } else {
        Err(RIGHT.to_owned())
    }
}

/// An issuer's identifier (OpenID Connect Discovery section 3): [`secure_url`] without a query, as it was written, for it is
/// compared byte by byte.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let url = secure_url(text)?;
    if url.query().is_none() { Ok(text.to_owned()) } else { Err("must have no query".to_owned()) }
}

pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("must be {}", words.join(" or "))
    })
}

/// A filter that says something: EnvFilter takes a slip of the pen for the name of a module, and shows that alone.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let says_a_level = |directive: &str| {
        let (target, level) = directive.rsplit_once('=').unwrap_or(("", directive));
        is_level(level.trim()) && !target.contains('=')
    };
    let mut directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).peekable();
    let is_clear = directives.peek().is_some() && directives.all(says_a_level);
    let filter = EnvFilter::try_new(text).ok().filter(|_| is_clear);
    filter.ok_or_else(|| "must be a filter such as info or info,counter_api=debug".to_owned())
}
