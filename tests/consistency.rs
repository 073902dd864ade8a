//! Code, rules, dashboards, runbooks, manifests and documents agree: what one names, another has.
//!
//! A metric that is renamed in the code fails here with the file, and in a dashboard with the panel, that still uses it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "consistency/alerts.rs"]
mod alerts;
#[path = "consistency/documents.rs"]
mod documents;
#[path = "consistency/figures.rs"]
mod figures;
#[path = "consistency/metrics.rs"]
mod metrics;
#[path = "consistency/modules.rs"]
mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use counter_api::config::is_setting;
use counter_api::metrics::CATALOGUE;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What others wrote, and npm put there.
                if !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found.sort();
    found
}

/// A file as it is named from the root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The binary that the tests run is built with the dev-dependencies, and the one that is released is not.
#[test]
fn no_dev_dependency_changes_a_crate_of_the_service() {
    let named = |edges: &str| {
        let arguments = ["--depth", "1", "--edges", edges, "--prefix", "none", "--format", "{p} with {f}"];
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked"])
            .args(arguments)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        String::from_utf8(tree.stdout).unwrap().lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (released, tested) = (named("normal"), named("normal,dev"));
    let changed: Vec<_> = released.difference(&tested).collect();
    assert!(changed.is_empty(), "[dev-dependencies] of Cargo.toml switch on more than these: {changed:#?}");
}

/// Words of a text that look like this.
fn words<'a>(text: &'a str, prefix: &'a str, is_part: fn(char) -> bool) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter(move |(at, _)| !text[..*at].ends_with(|c: char| is_part(c))).map(
        move |(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|c: char| !is_part(c)).unwrap_or(rest.len())]
        },
    )
}

/// Every document for people.
fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let folders = ["docs", "dashboards", "kubernetes", "loadtest", "monitoring", "tests"];
    top.into_iter().chain(folders.iter().flat_map(|folder| files(folder, ".md"))).collect()
}

#[test]
fn what_is_deployed_is_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, text) in [
        ("Dockerfile", format!("\nARG VERSION={version}\n")),
        ("Dockerfile", format!("/counter-api:{version},")),
        ("kubernetes/overlays/production/kustomization.yaml", format!(" newTag: {version}\n")),
        ("kubernetes/README.md", format!("/counter-api:{version},")),
        ("CHANGELOG.md", format!("\n## [{version}] - 20")),
        ("CHANGELOG.md", format!("\n[{version}]: ")),
        ("docs/upgrading.md", format!("\n### {version}\n")),
    ] {
        assert!(
            read(&root().join(file)).contains(&text),
            "{file} has no {text:?}: the version of Cargo.toml stands there too"
        );
    }
}

#[test]
fn metrics_and_settings_named_in_documents_exist() {
    let ours = metrics::ours();
    let mut faults = Vec::new();
    for file in documents().into_iter().chain(files("monitoring", ".yaml")) {
        let text = read(&file);
        for name in words(&text, "counter_api_", |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            let is_metric = ours.contains_key(name) || CATALOGUE.iter().any(|metric| metric.name == name);
            // A name that ends in an underscore stands for all that begin with it.
            let is_prefix = name.ends_with('_') && ours.keys().any(|other| other.starts_with(name));
            if !is_metric && !is_prefix {
                faults.push(format!("{}: there is no metric {name} (src/metrics/catalogue.rs)", shown(&file)));
            }
        }
        for name in words(&text, "COUNTER_", |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            // What Kubernetes makes for a Service of this name; and what stands before a name that is the reader's own.
            let foreign = matches!(name, "COUNTER_" | "COUNTER_OAUTH_") || name.starts_with("COUNTER_API_");
            if !is_setting(name) && !foreign {
                faults.push(format!("{}: there is no setting {name} (src/config/catalogue.rs)", shown(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
