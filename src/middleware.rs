//! What surrounds every handler, from the outside in: `observe` (span, metrics, log line), `deadline` with panics caught,
//! CORS, `contract` (methods, query, Accept), then for some routes `authenticate` and `limits`.

pub mod authenticate;
pub mod contract;
pub mod deadline;
pub mod limits;
pub mod observe;
