//! Reading `/metrics`.

use super::service::{Service, http_client};

/// One scrape of a service, in the text format 0.0.4.
pub(crate) struct Scrape(String);

impl Scrape {
    pub(crate) async fn of(service: &Service) -> Self {
        let answer = http_client().get(service.admin_url("/metrics")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        Self(answer.text().await.unwrap())
    }

    /// One scrape in OpenMetrics, with exemplars.
    pub(crate) async fn open_metrics(service: &Service) -> Self {
        let scrape = http_client().get(service.admin_url("/metrics")).header("accept", "application/openmetrics-text");
        let answer = scrape.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        Self(answer.text().await.unwrap())
    }

    /// The text as it was scraped.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The lines that are samples.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// The sum of a metric's samples that bear all of these labels.
    pub(crate) fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let bears = |line: &str| labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")));
        let of_metric = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = self.0.lines().filter(of_metric).filter(|line| bears(line));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}
