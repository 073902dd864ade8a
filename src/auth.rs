//! Who is calling: passwords, tokens, and whether a token still counts.

pub mod password;
pub mod session;
pub mod token;
