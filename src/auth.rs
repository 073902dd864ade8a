//! Who is calling: passwords, tokens, whether a token still counts, and what others say of somebody.

pub mod keyring;
pub mod oauth;
pub mod password;
pub mod session;
pub mod token;

use sha2::{Digest, Sha256};

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
