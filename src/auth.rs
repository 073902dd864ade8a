//! Who is calling: passwords, tokens, whether a token still counts, and what others say of somebody.

pub mod oauth;
pub mod password;
pub mod session;
pub mod token;
