//! Secrets that are kept in files.

use std::path::Path;

use secrecy::SecretString;

/// The contents of a secret's file, without the line end that editors add.
pub fn read_file(path: &Path) -> Result<SecretString, std::io::Error> {
    std::fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).into())
}
