//! What was built, from what, with what: facts that `../build.rs` takes down.

use serde::Serialize;

/// Build facts, as `/version` and `counter_api_build_info` tell them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BuildInfo {
    /// The service's name.
    pub name: &'static str,
    /// The version of the crate.
    pub version: &'static str,
    /// The commit, or `unknown` outside of a checkout.
    pub revision: &'static str,
    /// The compiler.
    pub rustc: &'static str,
}

/// The facts of this binary.
pub const BUILD: BuildInfo = BuildInfo {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    rustc: env!("BUILD_RUSTC"),
};
