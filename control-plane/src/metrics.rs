//! Every metric of the control plane, one struct, one line of help each.
//!
//! Owns: names, labels and the registry. Knows nothing of what is counted.

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All names, for the test that boards name only metrics that exist.
pub const NAMES: [&str; 9] = [
    "spillway_outcomes_stored_total",
    "spillway_verdicts_stored_total",
    "spillway_training_runs_total",
    "spillway_tables_published_total",
    "spillway_fleet_proxies",
    "spillway_history_write_seconds",
    "spillway_store_connected",
    "spillway_audits_stored_total",
    "spillway_alarms_total",
];

/// See the module.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub outcomes_stored: IntCounter,
    pub verdicts_stored: IntCounter,
    pub training_runs: IntCounterVec,
    pub tables_published: IntCounter,
    pub fleet_proxies: IntGaugeVec,
    pub history_write_seconds: Histogram,
    pub store_connected: Gauge,
    pub audits_stored: IntCounter,
    pub alarms: IntCounterVec,
}

impl Metrics {
    /// # Errors
    ///
    /// If two metrics had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let metrics = Self {
            registry: Registry::new(),
            outcomes_stored: counter(NAMES[0], "Outcomes that are durable")?,
            verdicts_stored: counter(NAMES[1], "Verdicts that are durable")?,
            training_runs: IntCounterVec::new(
                Opts::new(NAMES[2], "Training runs by result"),
                &["result"],
            )?,
            tables_published: counter(NAMES[3], "Tables published by this process")?,
            fleet_proxies: IntGaugeVec::new(Opts::new(NAMES[4], "Proxies by state"), &["state"])?,
            history_write_seconds: Histogram::with_opts(HistogramOpts::new(
                NAMES[5],
                "Time until a batch is durable",
            ))?,
            store_connected: Gauge::new(NAMES[6], "1 while the store of tables answers")?,
            audits_stored: counter(NAMES[7], "Sampled audits that are durable")?,
            alarms: IntCounterVec::new(Opts::new(NAMES[8], "Alarms by kind"), &["kind"])?,
        };
        let all: [Box<dyn prometheus::core::Collector>; 9] = [
            Box::new(metrics.outcomes_stored.clone()),
            Box::new(metrics.verdicts_stored.clone()),
            Box::new(metrics.training_runs.clone()),
            Box::new(metrics.tables_published.clone()),
            Box::new(metrics.fleet_proxies.clone()),
            Box::new(metrics.history_write_seconds.clone()),
            Box::new(metrics.store_connected.clone()),
            Box::new(metrics.audits_stored.clone()),
            Box::new(metrics.alarms.clone()),
        ];
        all.into_iter()
            .try_for_each(|metric| metrics.registry.register(metric))?;
        Ok(metrics)
    }

    /// The text form that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing into memory fails only for metrics without a name, which `new` rules out.
        if TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .is_err()
        {
            text.clear();
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
