//! The members of a JSON object or a form, taken by name, with every fault reported by the field's name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::{CounterValue, Invalid};
use crate::error::{ApiError, Code, FieldError};

/// The most fields that a body may have: every fault of theirs is told, and a body of a few bytes a field must not be answered
/// with many.
const MAX_FIELDS: usize = 32;

/// What a body holds, until it is taken.
pub struct Fields {
    members: Vec<(String, Member)>,
    faults: Vec<FieldError>,
}

/// What a member holds.
enum Member {
    /// JSON, as it was written: a number that is parsed any earlier may be rounded.
    Json(Box<RawValue>),
    /// The text of a form, which has no other kind of value.
    Text(String),
}

/// The members of an object in their order; a name may come twice here, which `serde_json::Map` would hide.
struct Members(Vec<(String, Member)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.push((name, Member::Json(value)));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Fields {
    /// Reads a JSON object.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        let malformed = |detail: String| ApiError::new(Code::MalformedBody).with_detail(detail);
        if bytes.is_empty() {
            return Err(malformed("The body is empty; a JSON object is due.".into()));
        }
        match serde_json::from_slice::<Members>(bytes) {
            Ok(Members(members)) => Self::new(members),
            // Where the fault is says nothing of what was sent; serde_json's own text might.
            Err(error) if error.is_data() => Err(malformed("The body must be a JSON object.".into())),
            Err(error) => {
                Err(malformed(format!("The body is no JSON: line {}, column {}.", error.line(), error.column())))
            }
        }
    }

    /// Reads a form (application/x-www-form-urlencoded).
    pub fn from_form(bytes: &[u8]) -> Result<Self, ApiError> {
        // As `curl -d` sends JSON. Read as a form, all of it would be the name of one field, which the answer would repeat: a
        // password in it as well.
        if bytes.trim_ascii_start().starts_with(b"{") {
            let detail = "The body looks like JSON, and Content-Type says that it is a form: send application/json, as curl --json does.";
            return Err(ApiError::new(Code::MalformedBody).with_detail(detail));
        }
        let pairs = pairs(bytes).map_err(|detail| ApiError::new(Code::MalformedBody).with_detail(detail))?;
        Self::new(pairs.into_iter().map(|(name, value)| (name, Member::Text(value))).collect())
    }

    fn new(members: Vec<(String, Member)>) -> Result<Self, ApiError> {
        if members.len() > MAX_FIELDS {
            let detail = format!("The body has more than {MAX_FIELDS} fields.");
            return Err(ApiError::new(Code::MalformedBody).with_detail(detail));
        }
        let mut faults = Vec::new();
        for (i, (name, _)) in members.iter().enumerate() {
            if members[..i].iter().any(|(earlier, _)| earlier == name) {
                faults.push(fault(name.clone(), "must come once"));
            }
        }
        Ok(Self { members, faults })
    }

    fn take(&mut self, name: &'static str) -> Option<Member> {
        let place = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.swap_remove(place);
        // What comes twice is reported already; not as an unknown field as well.
        self.members.retain(|(other, _)| other != name);
        Some(value)
    }

    /// Notes what is wrong with a field.
    pub fn fault<T>(&mut self, name: &'static str, message: impl Into<Cow<'static, str>>) -> Option<T> {
        self.faults.push(fault(name, message));
        None
    }

    /// A text.
    fn string(&mut self, name: &'static str) -> Option<String> {
        match self.take(name).map(Member::into_text) {
            Some(Some(text)) => Some(text),
            Some(None) => self.fault(name, "must be a string"),
            None => self.fault(name, "is required"),
        }
    }

    /// A text that is a value of the domain.
    pub fn parsed<T: FromStr<Err = Invalid>>(&mut self, name: &'static str) -> Option<T> {
        match self.string(name)?.parse() {
            Ok(value) => Some(value),
            Err(Invalid(message)) => self.fault(name, message),
        }
    }

    /// A secret of `least` to `most` characters.
    pub fn secret(&mut self, name: &'static str, least: usize, most: usize) -> Option<SecretString> {
        let text = self.string(name)?;
        if (least..=most).contains(&text.chars().count()) {
            return Some(text.into());
        }
        self.fault(name, format!("must have {least} to {most} characters"))
    }

    /// A truth value.
    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = match self.take(name) {
            Some(Member::Json(json)) => serde_json::from_str(json.get()).ok(),
            Some(Member::Text(text)) => text.parse().ok(),
            None => return self.fault(name, "is required"),
        };
        value.or_else(|| self.fault(name, "must be true or false"))
    }

    /// What `take` takes, where the field was sent at all.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        take: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if self.members.iter().any(|(known, _)| known == name) { take(self, name) } else { None }
    }

    /// What a counter can stand at. In JSON, `1000.0` and `1e3` are the integer 1000 as well (JSON Schema 2020-12,
    /// section 6.1.1).
    pub fn counter_value(&mut self, name: &'static str) -> Option<CounterValue> {
        let value = match self.take(name) {
            Some(Member::Json(number)) => integer(number.get()),
            Some(Member::Text(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Some(Member::Text(_)) => None,
            None => return self.fault(name, "is required"),
        };
        match value.and_then(CounterValue::new) {
            Some(value) => Some(value),
            None => self.fault(name, format!("must be an integer from 0 to {}", CounterValue::MAX)),
        }
    }

    /// The value, unless there is any fault: an unknown field is one too.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, ApiError> {
        self.faults.extend(self.members.into_iter().map(|(name, _)| fault(name, "is not a field of this call")));
        match value.filter(|_| self.faults.is_empty()) {
            Some(value) => Ok(value),
            None => Err(ApiError::fields(self.faults)),
        }
    }
}

fn fault(name: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> FieldError {
    FieldError { field: name.into(), message: message.into() }
}

impl Member {
    fn into_text(self) -> Option<String> {
        match self {
            Self::Json(json) => serde_json::from_str(json.get()).ok(),
            Self::Text(text) => Some(text),
        }
    }
}

/// The value of a JSON number, if it is a whole one, however it is written; exact, where a float would round.
fn integer(literal: &str) -> Option<u64> {
    let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = if whole == "-0" { "0" } else { whole };
    // The digits without the point, and how many zeros are to be added or taken away.
    let digits = format!("{whole}{fraction}");
    let shift = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return digits.bytes().all(|byte| byte == b'0').then_some(0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let zeros = u32::try_from(shift.checked_add(i64::try_from(trailing).ok()?)?).ok()?;
    significant.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(zeros)?)
}

/// The pairs of a query string or a form, decoded strictly: what other parsers would replace is an error here.
pub fn pairs(encoded: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let decode = |part: &[u8]| {
        let escapes_fit = part
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'%')
            .all(|(at, _)| part.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
        if !escapes_fit {
            return Err("A % must be followed by two hexadecimal digits.");
        }
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
        String::from_utf8(decoded).map_err(|_| "The text must be UTF-8.")
    };
    encoded
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Email;

    fn value(json: &str) -> Result<CounterValue, ApiError> {
        let mut fields = Fields::from_json(json.as_bytes())?;
        let value = fields.counter_value("current");
        fields.finish(value)
    }

    #[test]
    fn integers_are_taken_in_every_way_that_json_writes_them() {
        for good in ["1000", "1000.0", "1e3", "1E+3", "0.1e4", "100000e-2", "1000.000"] {
            assert_eq!(value(&format!("{{\"current\":{good}}}")).unwrap().get(), 1000);
        }
        assert_eq!(value("{\"current\":9007199254740991}").unwrap(), CounterValue::MAX);
        for zero in ["0", "-0", "0.0", "-0.0e5", "0e99999"] {
            assert_eq!(value(&format!("{{\"current\":{zero}}}")).unwrap().get(), 0, "{zero}");
        }
        for bad in [
            "-1",
            "1.5",
            "1.00000000000000000001",
            "4503599627370497.5",
            "1e-1",
            "1e99999999999999999999",
            "-1e3",
            "9007199254740992",
            "1e300",
            "\"1\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert_eq!(value(&format!("{{\"current\":{bad}}}")).unwrap_err().code(), Code::InvalidField, "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        let crowd = format!("{{{}}}", (0..=MAX_FIELDS).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","));
        for bad in [&crowd, "", "{", "{} x", "[]", "\"x\"", "null", "{\"current\":1,}"] {
            assert_eq!(value(bad).unwrap_err().code(), Code::MalformedBody, "{bad}");
        }
    }

    #[test]
    fn every_fault_is_named() {
        let mut fields = Fields::from_json(br#"{"email":{"$gt":""},"password":"short","x":1,"x":2}"#).unwrap();
        let (email, password) = (fields.parsed::<Email>("email"), fields.secret("password", 8, 128));
        assert!(email.is_none() && password.is_none());
        let names: Vec<_> = fields.finish::<()>(None).unwrap_err().into_fields().into_iter().map(|f| f.field).collect();
        assert_eq!(names, ["x", "email", "password", "x", "x"]);
    }

    #[test]
    fn json_that_came_as_a_form_is_not_repeated() {
        for json in [r#"{"password":"correct horse"}"#, "\n { \"password\": \"correct horse"] {
            let error = Fields::from_form(json.as_bytes()).err().expect("it is no form");
            assert_eq!(error.code(), Code::MalformedBody);
            let told = format!("{error:?}");
            assert!(told.contains("application/json") && !told.contains("horse"), "{told}");
        }
    }

    #[test]
    fn a_form_is_decoded_strictly() {
        assert_eq!(
            pairs(b"a=1+2&b=%C3%A9&c").unwrap(),
            [("a".into(), "1 2".into()), ("b".into(), "é".into()), ("c".into(), String::new())]
        );
        assert!(pairs(b"a=%").is_err() && pairs(b"a=%zz").is_err() && pairs(b"a=%ff").is_err());
    }
}
