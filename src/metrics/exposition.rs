//! How metrics are shown: Prometheus' text format 0.0.4, or OpenMetrics 1.0 with exemplars.
//!
//! The recorder writes the former. The latter is made of it line by line: names of families, bounds and the end are written
//! otherwise, and there is room for exemplars.

use std::collections::HashMap;
use std::fmt::Write as _;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;

use super::catalogue::Kind;
use super::{exemplars, process};

/// A form in which metrics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The form for these media ranges and their weights: the one with the higher weight; text where neither is asked for, and
    /// OpenMetrics where both are alike, for it says more.
    pub fn accepted(ranges: impl IntoIterator<Item = (String, f32)>) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for (range, weight) in ranges {
            match range.as_str() {
                "application/openmetrics-text" => open_metrics = open_metrics.max(weight),
                "text/plain" | "text/*" => text = text.max(weight),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Shows the metrics of this process.
#[derive(Debug, Clone)]
pub struct Exposition {
    recorder: PrometheusHandle,
}

impl Exposition {
    pub(super) fn new(recorder: PrometheusHandle) -> Self {
        Self { recorder }
    }

    /// Brings the histograms up to date: observations pile up otherwise.
    pub fn run_upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// Every metric, in this form. It takes milliseconds of a core. Must be called within the runtime.
    pub fn render(&self, format: Format) -> String {
        let mut text = self.recorder.render();
        for (metric, value) in process::read(&Handle::current()) {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let (name, help) = (metric.name, metric.help);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
        match format {
            Format::Text => text,
            Format::OpenMetrics => open_metrics(&text, &exemplars::written()),
        }
    }
}

/// Text 0.0.4 as OpenMetrics, with these exemplars.
fn open_metrics(text: &str, exemplars: &HashMap<String, Vec<Option<String>>>) -> String {
    let mut written = String::with_capacity(text.len() + text.len() / 4);
    // The series whose buckets are being written, and how many of them have been.
    let mut series: Option<(&str, usize)> = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            write_comment(&mut written, comment);
        } else if let Some((labels, bound, value)) = bucket(line) {
            let index = match series {
                Some((same, index)) if same == labels => index + 1,
                _ => 0,
            };
            series = Some((labels, index));
            // Bounds are floating-point numbers there: 1 is 1.0.
            let point = if bound.contains(['.', 'I', 'e']) { "" } else { ".0" };
            let exemplar = exemplars.get(labels).and_then(|buckets| buckets.get(index)?.as_deref()).unwrap_or_default();
            let _ = writeln!(written, "{labels}le=\"{bound}{point}\"}} {value}{exemplar}");
        } else {
            written.push_str(line);
            written.push('\n');
        }
    }
    written.push_str("# EOF\n");
    written
}

/// The line of a bucket: everything before `le`, its bound, and its value.
fn bucket(line: &str) -> Option<(&str, &str, &str)> {
    let (series, value) = line.rsplit_once("\"} ")?;
    let (labels, bound) = series.rsplit_once("le=\"")?;
    labels.ends_with(['{', ',']).then_some((labels, bound, value))
}

/// `HELP name text` and `TYPE name kind`: a family is named without its suffix, and `…_info` is a kind of its own.
fn write_comment(written: &mut String, comment: &str) {
    let mut words = comment.splitn(3, ' ');
    let (Some(keyword), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else { return };
    let family = name.strip_suffix("_total").or_else(|| name.strip_suffix("_info")).unwrap_or(name);
    let _ = match keyword {
        "TYPE" if name.ends_with("_info") => writeln!(written, "# TYPE {family} info"),
        // There quotes are escaped in it; the recorder has escaped backslashes and line ends.
        "HELP" => writeln!(written, "# HELP {family} {}", rest.replace('"', "\\\"")),
        _ => writeln!(written, "# {keyword} {family} {rest}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_openmetrics() {
        let text = "# HELP calls_total Calls, \"all\".\n# TYPE calls_total counter\ncalls_total 3\n\n\
                    # HELP target_info Who.\n# TYPE target_info gauge\ntarget_info{service_name=\"c\"} 1\n\n\
                    # HELP d_seconds D.\n# TYPE d_seconds histogram\n\
                    d_seconds_bucket{route=\"/le=\",le=\"0.5\"} 1\nd_seconds_bucket{route=\"/le=\",le=\"1\"} 2\n\
                    d_seconds_bucket{route=\"/le=\",le=\"+Inf\"} 2\nd_seconds_sum{route=\"/le=\"} 1.2\nd_seconds_count{route=\"/le=\"} 2\n\n";
        let exemplars = HashMap::from([(
            "d_seconds_bucket{route=\"/le=\",".to_owned(),
            vec![None, Some(" # {trace_id=\"a\"} 0.7 1.500".to_owned()), None],
        )]);
        let expected = "# HELP calls Calls, \\\"all\\\".\n# TYPE calls counter\ncalls_total 3\n\
                        # HELP target Who.\n# TYPE target info\ntarget_info{service_name=\"c\"} 1\n\
                        # HELP d_seconds D.\n# TYPE d_seconds histogram\n\
                        d_seconds_bucket{route=\"/le=\",le=\"0.5\"} 1\n\
                        d_seconds_bucket{route=\"/le=\",le=\"1.0\"} 2 # {trace_id=\"a\"} 0.7 1.500\n\
                        d_seconds_bucket{route=\"/le=\",le=\"+Inf\"} 2\nd_seconds_sum{route=\"/le=\"} 1.2\n\
                        d_seconds_count{route=\"/le=\"} 2\n# EOF\n";
        assert_eq!(open_metrics(text, &exemplars), expected);
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let accepted = |ranges: &[(&str, f32)]| {
            Format::accepted(ranges.iter().map(|(range, weight)| ((*range).to_owned(), *weight)))
        };
        let (open_metrics, text) = ("application/openmetrics-text", "text/plain");
        let prometheus = [(open_metrics, 0.5), (open_metrics, 0.4), (text, 0.3), ("*/*", 0.2)];
        assert_eq!(accepted(&prometheus), Format::OpenMetrics);
        assert_eq!(accepted(&[("text/html", 1.0), (open_metrics, 1.0)]), Format::OpenMetrics);
        for other in
            [&[][..], &[("*/*", 1.0)], &[(text, 1.0)], &[(open_metrics, 0.0)], &[(open_metrics, 0.1), (text, 1.0)]]
        {
            assert_eq!(accepted(other), Format::Text, "{other:?}");
        }
    }
}
