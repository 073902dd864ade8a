//! What documents name is there: links and their headings, files, targets of `make`, alerts. Each document can be found, and what there
//! is, they describe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use counter_api::metrics::ErrorType;

use super::metrics::alert_names;
use super::{documents, read, root, shown, words};

/// Folders of the project, by which a file's name is known for one in a text.
const FOLDERS: [&str; 10] = [
    "benches/",
    "compose/",
    "dashboards/",
    "docs/",
    "kubernetes/",
    "loadtest/",
    "monitoring/",
    "scripts/",
    "src/",
    "tests/",
];

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut faults = Vec::new();
    for file in documents() {
        for target in links(&read(&file)) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let there = target_of(&file, path);
            if !there.exists() {
                faults.push(format!("{}: {target} is not there", shown(&file)));
            } else if !heading.is_empty() && !headings(&there).contains(heading) {
                faults.push(format!("{}: {target}: no such heading", shown(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let mut unseen: BTreeSet<PathBuf> = documents().into_iter().map(|file| file.canonicalize().unwrap()).collect();
    let mut next = vec![root().join("README.md").canonicalize().unwrap()];
    while let Some(file) = next.pop() {
        if unseen.remove(&file) {
            let paths =
                links(&read(&file)).into_iter().map(|target| target.split('#').next().unwrap_or_default().to_owned());
            next.extend(paths.filter_map(|path| target_of(&file, &path).canonicalize().ok()));
        }
    }
    assert!(unseen.is_empty(), "no link leads from README.md to {unseen:?}");
}

/// Where a document's links lead within the project.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).map(str::to_owned).collect()
}

fn target_of(file: &Path, path: &str) -> PathBuf {
    if path.is_empty() { file.to_owned() } else { file.parent().unwrap_or(root()).join(path) }
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// The names by which a document's headings are linked to.
fn headings(document: &Path) -> BTreeSet<String> {
    let text = read(document);
    let lines = prose(&text);
    let titles = lines.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[test]
fn files_named_in_documents_exist() {
    let mut faults = Vec::new();
    for file in documents() {
        let text = read(&file);
        for folder in FOLDERS {
            let part = |c: char| c.is_ascii_alphanumeric() || "-_./*{}<>…$".contains(c);
            for name in words(&text, folder, part) {
                let name = name.trim_end_matches(['.', '/']);
                // What is written for many, or made by the reader.
                if name.contains(['*', '{', '<', '…', '$']) || folder.trim_end_matches('/') == name {
                    continue;
                }
                if !root().join(name).exists() && !file.parent().unwrap_or(root()).join(name).exists() {
                    faults.push(format!("{}: {name} is not there", shown(&file)));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn documents_are_what_the_binary_prints() {
    for (what, file) in [("settings", "configuration.md"), ("metrics", "metrics.md"), ("errors", "errors.md")] {
        let is_up_to_date = read(&root().join("docs").join(file)) == counter_api::cli::reference(what);
        assert!(is_up_to_date, "docs/{file} is out of date: run `make reference`");
    }
}

#[test]
fn every_call_is_described_for_people() {
    let mut faults = Vec::new();
    for file in ["README.md", "docs/api.md"] {
        let text = read(&root().join(file));
        for path in counter_api::router::description().paths.paths.keys() {
            // In full, or by its end beside another one with the same beginning.
            let end = path.rsplit('/').next().unwrap();
            let written = [format!(" {path}`"), format!("`{path}`"), format!(" {path}?"), format!("`…/{end}`")];
            if !written.iter().any(|written| text.contains(written)) {
                faults.push(format!("{file} does not describe {path}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whoever meets a word on a dashboard or in a log finds what it means.
#[test]
fn every_error_of_the_store_is_explained() {
    let text = read(&root().join("monitoring/runbooks/README.md"));
    let (_, section) = text.split_once("\n## What the database errors are called\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let mut told: Vec<_> = rows.flat_map(|(words, _)| words.split(['`', ',', ' ']).filter(|w| !w.is_empty())).collect();
    let mut words: Vec<_> = ErrorType::ALL.iter().map(|kind| kind.as_str()).collect();
    told.sort_unstable();
    words.sort_unstable();
    assert_eq!(
        told, words,
        "left: the table of monitoring/runbooks/README.md; right: ErrorType of src/metrics/labels.rs"
    );
}

#[test]
fn targets_and_alerts_named_in_documents_exist() {
    let makefile = read(&root().join("Makefile"));
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':').map(|it| it.0)).collect();
    let alerts = alert_names();
    let mut faults = Vec::new();
    for file in documents() {
        let text = read(&file);
        for code in text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("make ")) {
            let named = code.split_whitespace().take_while(|word| !word.contains(['=', ':', '(']));
            faults.extend(
                named
                    .filter(|name| !targets.contains(name))
                    .map(|name| format!("{}: the Makefile has no target {name}", shown(&file))),
            );
        }
        for name in words(&text, "CounterApi", |c| c.is_ascii_alphanumeric()) {
            if name != "CounterApi" && !alerts.contains(name) {
                faults.push(format!("{}: there is no alert {name}", shown(&file)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
