//! Entity tags, as `If-Match` and `If-None-Match` list them (RFC 9110 section 8.8.3).

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::store::Condition;

/// A line of one of these headers.
#[derive(Debug, PartialEq, Eq)]
pub enum EntityTags<'a> {
    /// `*`
    Any,
    /// These.
    Of(Vec<EntityTag<'a>>),
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// It is never equal where strong comparison is asked for.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a str,
}

impl<'a> EntityTags<'a> {
    /// Reads a line; nothing where it is none.
    pub fn parse(line: &'a str) -> Option<Self> {
        if line.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = line.trim();
        loop {
            let (weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
            let (opaque, after) = tag.strip_prefix('"')?.split_once('"')?;
            tags.push(EntityTag { weak, opaque });
            match after.trim_start().strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if after.trim().is_empty() => return Some(Self::Of(tags)),
                None => return None,
            }
        }
    }
}

/// `If-Match` (RFC 9110 section 13.1.1): `*` or entity tags. Weak tags, and tags that were never ours, match nothing.
#[derive(Debug)]
pub struct IfMatch(pub Condition);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut lines = parts.headers.get_all(IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Ok(Self(Condition::Always));
        }
        let mut versions = Vec::new();
        for line in lines {
            match line.to_str().ok().and_then(EntityTags::parse) {
                Some(EntityTags::Any) => return Ok(Self(Condition::Exists)),
                Some(EntityTags::Of(tags)) => versions.extend(tags.iter().filter_map(version)),
                None => {
                    return Err(ApiError::field("If-Match", "must be * or ETags such as \"17\", separated by commas"));
                }
            }
        }
        Ok(Self(Condition::VersionIn(versions)))
    }
}

/// The version that a tag stands for. Tags are compared by character: `017` is none of ours.
fn version(tag: &EntityTag<'_>) -> Option<u64> {
    tag.opaque.parse().ok().filter(|version: &u64| !tag.weak && version.to_string() == tag.opaque)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_read_as_rfc_9110_writes_them() {
        let tag = |weak, opaque| EntityTag { weak, opaque };
        assert_eq!(EntityTags::parse(" * "), Some(EntityTags::Any));
        assert_eq!(EntityTags::parse("\"17\""), Some(EntityTags::Of(vec![tag(false, "17")])));
        let several = vec![tag(false, "1"), tag(true, "2"), tag(false, "a,b")];
        assert_eq!(EntityTags::parse("\"1\", W/\"2\" ,\"a,b\""), Some(EntityTags::Of(several)));
        for bad in ["17", "\"17", "\"1\" \"2\"", "\"1\",", ""] {
            assert_eq!(EntityTags::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tag_is_a_version_only_as_it_was_sent() {
        let version = |opaque| version(&EntityTag { weak: false, opaque });
        assert_eq!((version("17"), version("0")), (Some(17), Some(0)));
        for never in ["+17", "017", "00", "-1", " 17", "", "18446744073709551616"] {
            assert_eq!(version(never), None, "{never:?}");
        }
        assert_eq!(super::version(&EntityTag { weak: true, opaque: "17" }), None);
    }
}
