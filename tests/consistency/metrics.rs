//! What rules and dashboards ask of Prometheus: each metric and label is there, and each metric is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use counter_api::metrics::{CATALOGUE, Kind, Metric};
use promql_parser::label::Matchers;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::{files, read, shown};

/// Metrics of others, by what they begin with.
const FOREIGN: [&str; 7] = ["up", "ALERTS", "probe_", "kube_", "container_", "k6_", "scrape_"];

/// Labels that no metric of ours has by itself: Prometheus, its service discovery, and other programs put them there.
const OTHERS: [&str; 14] = [
    "job",
    "instance",
    "namespace",
    "service",
    "pod",
    "container",
    "le",
    "region",
    "slo",
    "alertname",
    "alertstate",
    "severity",
    "deployment",
    "window",
];

/// Metrics that no rule and no dashboard uses, and why.
const UNUSED: [(&str, &str); 1] = [("target_info", "it is there to be joined with traces by whoever has them")];

/// An expression, and where it stands.
pub(super) struct Query {
    pub(super) at: String,
    text: String,
}

/// A rule of Prometheus.
pub(super) struct Rule {
    pub(super) file: PathBuf,
    pub(super) yaml: Yaml,
}

impl Rule {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.yaml[key].as_str()
    }
}

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for file in files("monitoring/prometheus/rules", ".yaml") {
        for document in YamlLoader::load_from_str(&read(&file)).unwrap() {
            for group in document["groups"].as_vec().unwrap() {
                let of_group = group["rules"].as_vec().unwrap().iter().cloned();
                rules.extend(of_group.map(|yaml| Rule { file: file.clone(), yaml }));
            }
        }
    }
    rules
}

pub(super) fn alert_names() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| rule.text("alert").map(str::to_owned)).collect()
}

pub(super) fn queries_of_rules() -> Vec<Query> {
    let query = |rule: &Rule| {
        let name = rule.text("alert").or(rule.text("record")).unwrap();
        Query { at: format!("{}: {name}", shown(&rule.file)), text: rule.text("expr").unwrap().to_owned() }
    };
    rules().iter().map(query).collect()
}

/// Every expression of the rules and of the dashboards' panels and variables.
fn queries() -> Vec<Query> {
    let mut queries = queries_of_rules();
    for file in files("dashboards", ".json") {
        let dashboard: Value = serde_json::from_str(&read(&file)).unwrap();
        panel_queries(&shown(&file), &dashboard, &mut queries);
    }
    queries
}

fn panel_queries(at: &str, value: &Value, queries: &mut Vec<Query>) {
    match value {
        Value::Object(members) => {
            let title = members.get("title").and_then(Value::as_str);
            let at = title.map_or(at.to_owned(), |title| format!("{at}: {title}"));
            if let Some(text) = members.get("expr").and_then(Value::as_str) {
                queries.push(Query { at: at.clone(), text: text.to_owned() });
            }
            members.values().for_each(|member| panel_queries(&at, member, queries));
        }
        Value::Array(items) => items.iter().for_each(|item| panel_queries(at, item, queries)),
        _ => {}
    }
}

impl Query {
    /// The expression, with Grafana's own variables as durations.
    fn parse(&self) -> Expr {
        let mut text = self.text.clone();
        for variable in ["$__rate_interval", "$__interval", "$__range", "${__range}"] {
            text = text.replace(variable, "5m");
        }
        parser::parse(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.at))
    }
}

/// What an expression selects, and by which labels it groups.
#[derive(Default)]
pub(super) struct Used {
    pub(super) selectors: Vec<VectorSelector>,
    grouped_by: BTreeSet<String>,
}

impl Used {
    pub(super) fn by(query: &Query) -> Self {
        let mut used = Self::default();
        used.visit(&query.parse());
        used
    }

    fn visit(&mut self, expr: &Expr) {
        match expr {
            Expr::Aggregate(aggregate) => {
                self.group(aggregate.modifier.as_ref());
                self.visit(&aggregate.expr);
                aggregate.param.iter().for_each(|param| self.visit(param));
            }
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.group(modifier.matching.as_ref());
                }
                self.visit(&binary.lhs);
                self.visit(&binary.rhs);
            }
            Expr::Unary(unary) => self.visit(&unary.expr),
            Expr::Paren(paren) => self.visit(&paren.expr),
            Expr::Subquery(subquery) => self.visit(&subquery.expr),
            Expr::Call(call) => call.args.args.iter().for_each(|argument| self.visit(argument)),
            Expr::VectorSelector(selector) => self.selectors.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.selectors.push(matrix.vs.clone()),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            self.grouped_by.extend(labels.labels.iter().cloned());
        }
    }
}

fn matchers(matchers: &Matchers) -> impl Iterator<Item = (&str, &str)> {
    let all = matchers.matchers.iter().chain(matchers.or_matchers.iter().flatten());
    all.map(|matcher| (matcher.name.as_str(), matcher.value.as_str()))
}

/// The metric that is selected, if it is named.
pub(super) fn metric(selector: &VectorSelector) -> Option<&str> {
    let by_label = || matchers(&selector.matchers).find(|(name, _)| *name == "__name__").map(|(_, value)| value);
    selector.name.as_deref().or_else(by_label)
}

/// The names under which a metric can be selected.
fn selectable(metric: &Metric) -> impl Iterator<Item = String> {
    let suffixes: &[&str] =
        if matches!(metric.kind, Kind::Histogram(_)) { &["_bucket", "_sum", "_count"] } else { &[""] };
    suffixes.iter().map(|suffix| format!("{}{suffix}", metric.name))
}

/// Every name under which a metric of ours can be selected, with its labels.
pub(super) fn ours() -> BTreeMap<String, BTreeSet<&'static str>> {
    let labels = |metric: &Metric| metric.labels.iter().copied().collect::<BTreeSet<_>>();
    CATALOGUE.iter().flat_map(|metric| selectable(metric).map(move |name| (name, labels(metric)))).collect()
}

#[test]
fn rules_and_dashboards_use_metrics_and_labels_that_exist() {
    let ours = ours();
    let recorded: BTreeSet<String> = rules().iter().filter_map(|rule| rule.text("record").map(str::to_owned)).collect();
    let all_labels: BTreeSet<&str> = CATALOGUE.iter().flat_map(|metric| metric.labels).copied().chain(OTHERS).collect();
    let mut used_names = BTreeSet::new();
    let mut faults = Vec::new();
    for query in queries() {
        let used = Used::by(&query);
        for selector in &used.selectors {
            let Some(name) = metric(selector) else { continue };
            used_names.insert(name.to_owned());
            let foreign =
                FOREIGN.iter().any(|prefix| name == *prefix || (prefix.len() > 2 && name.starts_with(prefix)));
            match ours.get(name) {
                Some(labels) => {
                    for (label, value) in matchers(&selector.matchers) {
                        if !labels.contains(label) && !OTHERS.contains(&label) && label != "__name__" {
                            faults.push(format!("{}: {name} has no label {label} (src/metrics/catalogue.rs)", query.at));
                        }
                        // It is written le="1" in one format and le="1.0" in the other.
                        if label == "le" && value.parse::<u32>().is_ok() {
                            faults.push(format!("{}: le={value:?} is not found in OpenMetrics", query.at));
                        }
                    }
                }
                None if foreign || recorded.contains(name) => {}
                None => faults.push(format!(
                    "{}: there is no metric {name}: not in src/metrics/catalogue.rs, not recorded by a rule, and not in FOREIGN",
                    query.at
                )),
            }
        }
        for label in used.grouped_by.iter().filter(|label| !all_labels.contains(label.as_str())) {
            // What comes from other programs' metrics has labels of its own.
            if used.selectors.iter().all(|selector| selector.name.as_ref().is_some_and(|name| ours.contains_key(name)))
            {
                faults.push(format!("{}: there is no label {label}", query.at));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let mut faults = Vec::new();
    for metric in CATALOGUE {
        let is_used = selectable(metric).any(|name| used_names.contains(&name));
        let is_excused = UNUSED.iter().any(|(name, _)| *name == metric.name);
        match (is_used, is_excused) {
            (false, false) => faults.push(format!(
                "{}: no dashboard and no rule uses it. Show it (dashboards/source/, then `make dashboards-json`), use it in a rule, \
                 or say why neither in UNUSED of tests/consistency/metrics.rs",
                metric.name
            )),
            (true, true) => {
                faults.push(format!("{}: it is used: take it out of UNUSED of tests/consistency/metrics.rs", metric.name));
            }
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
