//! Each alert has what belongs to it: a test, a runbook, a fault of the drill, its place in the tables; and is seen silent while all is well.

use std::collections::BTreeSet;

use super::metrics::{Used, alert_names, metric, ours, queries_of_rules, rules};
use super::{files, read, root, shown, words};

/// Where runbooks are, as alerts link to them.
const RUNBOOKS: &str = "https://github.com/counter-api/counter-api/blob/main/monitoring/runbooks/";

/// The files that name every alert. Nothing is wrong when the watchdog fires, so the drill has no fault for it.
const NAMED_IN: [(&str, &[&str]); 3] =
    [("monitoring/README.md", &[]), ("monitoring/runbooks/README.md", &[]), ("tests/drill/faults.py", &["Watchdog"])];

#[test]
fn every_alert_has_what_belongs_to_it() {
    let tests: String = files("monitoring/prometheus/tests", ".yaml").iter().map(|file| read(file)).collect();
    let mut runbooks: BTreeSet<String> = files("monitoring/runbooks", ".md")
        .iter()
        .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect();
    let mut faults = Vec::new();
    for alert in alert_names() {
        if !tests.contains(&format!("alertname: {alert}\n")) {
            faults.push(format!("monitoring/prometheus/tests/: no test of {alert}"));
        }
        let runbook = format!("monitoring/runbooks/{alert}.md");
        if runbooks.remove(&alert) {
            let text = read(&root().join(&runbook));
            let missing = |heading: &&str| !text.contains(&format!("\n## {heading}\n"));
            let headings = ["Meaning", "Impact", "Diagnosis", "Mitigation"].into_iter().filter(missing);
            faults.extend(headings.map(|heading| format!("{runbook}: no heading {heading}")));
        } else {
            faults.push(format!("{runbook} is missing"));
        }
        for (file, without) in NAMED_IN {
            let text = read(&root().join(file));
            let is_named = words(&text, &alert, |c| c.is_ascii_alphanumeric()).any(|word| word == alert);
            if !is_named && !without.contains(&alert.as_str()) {
                faults.push(format!("{file} does not name {alert}"));
            }
        }
    }
    faults.extend(runbooks.iter().map(|runbook| format!("monitoring/runbooks/{runbook}.md: there is no such alert")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_alert_says_what_it_must() {
    for rule in rules() {
        let Some(alert) = rule.text("alert") else { continue };
        let severity = rule.yaml["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info", "none"].contains(&severity), "{alert}: severity {severity:?}");
        assert_eq!(rule.yaml["labels"]["service"].as_str(), Some("counter-api"), "{alert}: the label service");
        for name in ["summary", "description"] {
            assert!(rule.yaml["annotations"][name].as_str().is_some_and(|text| !text.is_empty()), "{alert}: no {name}");
        }
        let runbook = rule.yaml["annotations"]["runbook_url"].as_str().unwrap_or_default();
        assert_eq!(runbook, format!("{RUNBOOKS}{alert}.md"), "{alert}: runbook_url");
    }
}

/// The alert on a full pool reckons with the connections that the service leaves to commits and pings.
#[test]
fn the_alert_on_the_pool_knows_what_is_reserved() {
    let code: String = files("src/store", ".rs").iter().map(|file| read(file)).collect();
    let (_, reserved) = code.split_once("const RESERVED_CONNECTIONS: u32 = ").unwrap();
    let (reserved, _) = reserved.split_once(';').unwrap();
    let rule = rules().into_iter().find(|rule| rule.text("alert") == Some("CounterApiPoolSaturated")).unwrap();
    let expression = rule.text("expr").unwrap();
    let told = format!("(1 - {reserved} / (db_client_connection_max > {reserved}))");
    assert!(
        expression.contains(&told),
        "{}: CounterApiPoolSaturated does not reckon with {told}:\n{expression}",
        shown(&rule.file)
    );
}

/// A rule over series that are not there is silent whatever it says, so four quiet hours without them prove nothing of it.
#[test]
fn what_rules_look_at_is_there_in_the_quiet_hours() {
    let quiet = read(&root().join("scripts/simulate-quiet"));
    let ours = ours();
    let mut faults = BTreeSet::new();
    for query in queries_of_rules() {
        for selector in &Used::by(&query).selectors {
            let Some(name) = metric(selector).filter(|name| ours.contains_key(*name)) else { continue };
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            if !quiet.contains(name) && !family.is_some_and(|family| quiet.contains(family)) {
                faults.insert(format!("scripts/simulate-quiet has no {name}, which {} looks at", query.at));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}
