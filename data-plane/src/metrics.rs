//! Every metric of the proxy, one struct, one line of help each.
//!
//! Owns: names, labels and buckets. Labels come only from the table's own names, so a
//! caller cannot make series; whatever the table does not know is `other`.

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// For whatever the table does not know.
pub(crate) const OTHER: &str = "other";

/// Every metric's name; boards are tested against it.
pub const NAMES: &[&str] = &[
    "spillway_requests_total",
    "spillway_attempts_total",
    "spillway_request_seconds",
    "spillway_first_token_seconds",
    "spillway_decision_seconds",
    "spillway_cost_usd_total",
    "spillway_baseline_usd_total",
    "spillway_tokens_total",
    "spillway_failovers_total",
    "spillway_abstained_total",
    "spillway_lane_open",
    "spillway_lane_in_flight",
    "spillway_table_version",
    "spillway_table_age_seconds",
    "spillway_table_refused_total",
    "spillway_feed_connected",
    "spillway_outcomes_queued",
    "spillway_outcomes_dropped_total",
    "spillway_token_estimate_error_ratio",
    "spillway_audits_total",
    "spillway_audit_usd_total",
    "spillway_audits_waiting",
    "spillway_starts_total",
    "spillway_start_wait_seconds",
    "spillway_overflow_total",
    "spillway_overflow_usd_total",
    "spillway_lane_waiting",
    "spillway_queue_wait_seconds",
    "spillway_limited_total",
    "spillway_billed_tokens_ratio",
];

/// From a tenth of a second to the longest deadline.
const SECONDS: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0, 600.0,
];
/// A decision takes microseconds.
const DECISION_SECONDS: &[f64] = &[
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2,
];
/// Waits at lanes that sell them, up to a quarter of an hour.
const START_SECONDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 900.0,
];
/// Share by which the estimate missed.
const ERRORS: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0];

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) attempts: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) first_token_seconds: HistogramVec,
    pub(crate) decision_seconds: Histogram,
    pub(crate) cost_usd: CounterVec,
    pub(crate) baseline_usd: CounterVec,
    pub(crate) tokens: IntCounterVec,
    pub(crate) failovers: IntCounterVec,
    pub(crate) abstained: IntCounterVec,
    pub(crate) billed_ratio: GaugeVec,
    pub(crate) lane_open: IntGaugeVec,
    pub(crate) lane_in_flight: IntGaugeVec,
    pub(crate) table_version: IntGauge,
    pub(crate) table_age_seconds: Gauge,
    pub(crate) table_refused: IntCounter,
    pub(crate) feed_connected: IntGauge,
    pub(crate) outcomes_queued: IntGauge,
    pub(crate) outcomes_dropped: IntCounter,
    pub(crate) estimate_error: HistogramVec,
    pub(crate) audits: IntCounterVec,
    pub(crate) audit_usd: Counter,
    pub(crate) audits_waiting: IntGauge,
    pub(crate) starts: IntCounterVec,
    pub(crate) start_wait: HistogramVec,
    pub(crate) overflowed: IntCounterVec,
    pub(crate) overflow_usd: CounterVec,
    pub(crate) lane_waiting: IntGaugeVec,
    pub(crate) queue_wait: HistogramVec,
    pub(crate) limited: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        Ok(Self {
            requests: make.counters(0, "Requests, by ending.", &["route", "model", "ending"])?,
            attempts: make.counters(1, "Calls to lanes, by result.", &["lane", "result"])?,
            request_seconds: make.histograms(2, "Whole requests.", SECONDS, &["route"])?,
            first_token_seconds: make.histograms(
                3,
                "Arrival to first content.",
                SECONDS,
                &["route"],
            )?,
            decision_seconds: make.histogram(4, "Facts to plan.", DECISION_SECONDS)?,
            cost_usd: make.money(5, "What requests cost.", &["route", "model"])?,
            baseline_usd: make.money(6, "What the baseline would have cost.", &["route"])?,
            tokens: make.counters(7, "Tokens, by kind.", &["model", "kind"])?,
            failovers: make.counters(8, "Requests served by a fallback.", &["route"])?,
            abstained: make.counters(9, "Decisions the heads declined to make.", &["route"])?,
            lane_open: make.gauges(10, "1 while the lane's breaker is open.")?,
            lane_in_flight: make.gauges(11, "Requests under way.")?,
            table_version: make.gauge(12, "The table being served; 0 for none.")?,
            table_age_seconds: make.seconds(13, "Since the table was made.")?,
            table_refused: make.counter(14, "Tables that were refused.")?,
            feed_connected: make.gauge(15, "1 while the source of tables answers.")?,
            outcomes_queued: make.gauge(16, "Outcomes that wait for the control plane.")?,
            outcomes_dropped: make.counter(
                17,
                "Outcomes lost to a full queue or refused as unreadable.",
            )?,
            estimate_error: make.histograms(
                18,
                "Share by which the estimate of input tokens missed.",
                ERRORS,
                &["family"],
            )?,
            audits: make.counters(19, "Requests audited, by how that ended.", &["ended"])?,
            audit_usd: make.sum(20, "What audits cost, the judge included.")?,
            audits_waiting: make.gauge(21, "Requests picked for an audit and not done.")?,
            starts: make.counters(
                22,
                "Requests at lanes that make them wait: started or late.",
                &["lane", "result"],
            )?,
            start_wait: make.histograms(
                23,
                "Waits for a start at such lanes.",
                START_SECONDS,
                &["lane"],
            )?,
            overflowed: make.counters(
                24,
                "Requests served by their route's overflow lane.",
                &["route", "cause"],
            )?,
            overflow_usd: make.money(25, "What those cost.", &["route", "cause"])?,
            lane_waiting: make.gauges(26, "Requests in the lane's queue.")?,
            queue_wait: make.histograms(27, "Waits in lanes' queues.", SECONDS, &["lane"])?,
            limited: make.counters(28, "Requests beyond their key's limits.", &["limit"])?,
            billed_ratio: make.ratios(
                29,
                "Input tokens that are billed for one that was counted.",
                "upstream",
            )?,
            registry,
        })
    }

    /// In Prometheus' text form.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Registers metrics under the names of [`NAMES`].
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> Result<M, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(
        &self,
        name: usize,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(NAMES[name], help), labels)?)
    }

    fn counter(&self, name: usize, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(NAMES[name], help)?)
    }

    fn money(
        &self,
        name: usize,
        help: &str,
        labels: &[&str],
    ) -> Result<CounterVec, prometheus::Error> {
        self.register(CounterVec::new(Opts::new(NAMES[name], help), labels)?)
    }

    fn sum(&self, name: usize, help: &str) -> Result<Counter, prometheus::Error> {
        self.register(Counter::new(NAMES[name], help)?)
    }

    fn gauges(&self, name: usize, help: &str) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(NAMES[name], help), &["lane"])?)
    }

    fn ratios(&self, name: usize, help: &str, label: &str) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Opts::new(NAMES[name], help), &[label])?)
    }

    fn gauge(&self, name: usize, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(NAMES[name], help)?)
    }

    fn seconds(&self, name: usize, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(NAMES[name], help)?)
    }

    fn histograms(
        &self,
        name: usize,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(NAMES[name], help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }

    fn histogram(
        &self,
        name: usize,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(NAMES[name], help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_metric_is_registered_once() {
        let metrics = Metrics::new().unwrap();
        metrics
            .requests
            .with_label_values(&["auto", "m", "answered"])
            .inc();
        assert!(metrics.text().unwrap().contains("spillway_requests_total"));
        let unlabelled = ["spillway_table_version", "spillway_feed_connected"];
        assert!(
            unlabelled
                .iter()
                .all(|name| metrics.text().unwrap().contains(name))
        );
    }
}
