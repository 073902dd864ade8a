//! What calls on counters take and answer, as the API's description shows it.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::{CounterName, CounterValue, Timestamp};
use crate::extract::Payload;
use crate::extract::fields::Fields;

/// The name of a counter in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct NameParam {
    /// The counter's name. It is made at its first use.
    #[param(rename = "name", value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", min_length = 1, max_length = 64, example = "orders")]
    _name: (),
}

/// How many numbers to take.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CountParam {
    /// Take this many at once, as one contiguous block. Where it is sent, the answer tells the block.
    #[param(rename = "count", value_type = Option<u32>, minimum = 1, maximum = 10_000, example = 5)]
    _count: (),
}

/// The idempotency key of a call.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct KeyParam {
    /// A call that is repeated with the same key, within 24 hours, is done once and answered the same
    /// (draft-ietf-httpapi-idempotency-key-header). 1 to 255 visible ASCII characters, bare or as a quoted string.
    #[param(
        rename = "Idempotency-Key", value_type = String, required = false, example = "order-4711",
        pattern = r#"^(?:[!#-~][!-~]{0,254}|"(?:[!#-\[\]-~]|\\["\\]){1,255}")$"#
    )]
    _key: (),
}

/// The condition of a set.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ConditionParam {
    /// Set only if the counter still has this ETag (RFC 9110 section 13.1.1).
    #[param(rename = "If-Match", value_type = String, required = false, example = "\"17\"",
        pattern = r#"^\*$|^(?:W/)?"[!#-~]*"(?: *, *(?:W/)?"[!#-~]*")*$"#)]
    _if_match: (),
}

/// Which page of the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many counters, 100 where it is not sent.
    #[param(rename = "limit", value_type = Option<u32>, minimum = 1, maximum = 1_000, example = 100)]
    _limit: (),
    /// `next` of the page before.
    #[param(rename = "cursor", value_type = String, required = false, pattern = "^[A-Za-z0-9_-]{2,86}$")]
    _cursor: (),
}

/// The numbers that were taken: one, or a block where `count` was sent.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = json!({"counter": "default", "value": 43, "previous": 42}))]
pub enum Taken {
    /// One number.
    One {
        /// The counter's name.
        #[schema(value_type = String)]
        counter: CounterName,
        /// The number: it is the caller's.
        #[schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
        value: CounterValue,
        /// What the counter stood at before.
        #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
        previous: CounterValue,
    },
    /// A block: `first` to `last`, both included.
    Block {
        /// The counter's name.
        #[schema(value_type = String)]
        counter: CounterName,
        /// The first number.
        #[schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
        first: CounterValue,
        /// The last number.
        #[schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
        last: CounterValue,
        /// How many they are.
        #[schema(minimum = 1, maximum = 10_000)]
        count: u32,
        /// What the counter stood at before.
        #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
        previous: CounterValue,
    },
}

/// What a counter stands at.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"counter": "default", "value": 43}))]
pub struct Current {
    /// The counter's name.
    #[schema(value_type = String)]
    pub(super) counter: CounterName,
    /// The number handed out last, or set.
    #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) value: CounterValue,
}

/// What to set a counter to.
#[derive(ToSchema)]
#[schema(example = json!({"current": 1000}))]
pub struct NewValue {
    /// The next number will be one more.
    #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) current: CounterValue,
}

impl Payload for NewValue {
    const FORM: bool = true;

    fn parse(fields: &mut Fields) -> Option<Self> {
        Some(Self { current: fields.counter_value("current")? })
    }
}

/// A counter that was set.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"counter": "default", "value": 1000, "previous": 43}))]
pub struct WasSet {
    /// The counter's name.
    #[schema(value_type = String)]
    pub(super) counter: CounterName,
    /// What it stands at now.
    #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) value: CounterValue,
    /// What it stood at before.
    #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) previous: CounterValue,
}

/// A page of a user's counters, in the order of their names.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "counters": [{"name": "default", "value": 43, "updated_at": "2026-11-25T09:00:00Z"}], "next": null
}))]
pub struct CounterPage {
    pub(super) counters: Vec<CounterRow>,
    /// The `cursor` of the next page; null where this is the last.
    pub(super) next: Option<String>,
}

/// A counter in a list.
#[derive(Serialize, ToSchema)]
pub struct CounterRow {
    /// The counter's name.
    #[schema(value_type = String)]
    pub(super) name: CounterName,
    /// What it stands at.
    #[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) value: CounterValue,
    /// When it was written last.
    #[schema(value_type = String, format = DateTime)]
    pub(super) updated_at: Timestamp,
}
