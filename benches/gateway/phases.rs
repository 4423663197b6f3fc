//! What is measured of a gateway, phase by phase.
//!
//! Owns: rates, lengths, numbers of connections, and which figure follows from what was
//! seen. Every measuring has a fresh gateway that has been warmed up, so that none inherits
//! another's heap; figures over direct are over the direct run of the same round.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::driver::{Load, Measured, Provider};
use crate::gateways::{Gateway, Kind};
use crate::load::Mode;
use crate::machine::{descriptors, resident_kib};
use crate::report::{Records, Row};
use crate::requests::{Target, hostile, prose};

/// Requests a second: the first that is below [`LOAD_MAX`] of what the gateway can do.
const RATES: [u32; 8] = [500, 200, 100, 50, 20, 10, 5, 2];
const LOAD_MAX: f64 = 0.7;
/// Where only gateways that are nearly as cheap as a plain proxy come along: what a request
/// costs is compared at one rate, since waking an idle core for each costs more.
const BUSY_RATE: u32 = 5_000;
const LONG_RATE: u32 = 100;
const FAILOVER_RATE: u32 = 50;
/// A request with failover costs several.
const FAILOVER_SHARE: f64 = 0.25;
const CONNECTIONS: u64 = 64;
const STREAMS: u64 = 100;
const TOKENS: u64 = 200;
const GAP_MS: u64 = 20;
/// Streams at one pace: the case, their tokens, and over how many seconds they begin, which
/// is no multiple of the gap, so that they do not speak all at once. Both have as many
/// tokens a second; of the short ones as many begin as there are requests at the first of
/// the rates.
const PACED: [(&str, u64, f64); 2] = [("25 streams/s", TOKENS, 1.73), ("500 streams/s", 10, 0.173)];
const HELD: u64 = 2_000;
/// Nothing comes on a held stream for so long.
const SILENCE_MS: u64 = 600_000;
const SOAK_PARTS: u64 = 4;
const WARM_REQUESTS: u64 = 4_000;
const SHORT_PROMPT: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Phase {
    Rate,
    Bodies,
    Max,
    Unpaced,
    Paced,
    Idle,
    Failover,
    Cold,
    Soak,
}

impl Phase {
    pub(crate) fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Rate | Self::Bodies | Self::Max | Self::Unpaced | Self::Paced => true,
            Self::Idle | Self::Failover | Self::Cold => kind != Kind::Direct,
            Self::Soak => matches!(kind, Kind::Nginx | Kind::Spillway),
        }
    }
}

/// Everything that a measuring is given.
pub(crate) struct Bench<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) records: Records,
    pub(crate) folder: &'a Path,
    pub(crate) quick: bool,
    pub(crate) run: usize,
}

/// The highest of the rates up to `wanted` that a gateway can bear.
fn bearable(wanted: u32, capacity: f64) -> u32 {
    let borne = |rate: &u32| *rate <= wanted && f64::from(*rate) <= capacity * LOAD_MAX;
    RATES.into_iter().find(borne).unwrap_or(2)
}

impl Bench<'_> {
    /// One phase of one gateway, from its start to its end.
    pub(crate) async fn measure(&mut self, phase: Phase, kind: Kind) -> Result<()> {
        let folder = self.folder.join(kind.name());
        let mut gateway = Gateway::start(kind, self.provider.ports, &folder).await?;
        let result = self.one(phase, &mut gateway).await;
        gateway.stop().await;
        result
    }

    async fn one(&mut self, phase: Phase, gateway: &mut Gateway) -> Result<()> {
        self.provider.script(1, 0, 0).await?;
        if phase == Phase::Cold {
            return self.cold(gateway).await;
        }
        let capacity = self.warm(gateway).await?;
        match phase {
            Phase::Rate => self.rate(gateway, capacity).await,
            Phase::Bodies => self.bodies(gateway).await,
            Phase::Max => self.max(gateway).await,
            Phase::Unpaced => self.unpaced(gateway).await,
            Phase::Paced => self.paced(gateway).await,
            Phase::Idle => self.idle(gateway).await,
            Phase::Failover => self.failover(gateway, capacity).await,
            Phase::Soak => self.soak(gateway).await,
            Phase::Cold => Ok(()),
        }
    }

    /// A length of time, shorter where the bench is only tried.
    fn seconds(&self, full: f64) -> f64 {
        if self.quick {
            (full * 0.3).max(1.0)
        } else {
            full
        }
    }

    fn load<'r>(&self, mode: Mode, target: &Target, request: &'r [u8]) -> Load<'r> {
        Load {
            mode,
            to: target.to,
            request,
            rate: 1.0,
            connections: CONNECTIONS,
            seconds: 1.0,
            warm: 0.0,
            ramp: 0.0,
            requests: None,
            tokens: 0,
        }
    }

    fn row(&self, gateway: Kind, phase: Phase, case: &str, rate: u32) -> Row {
        Row::new(self.run, gateway, phase, case, rate)
    }

    /// Some requests before anything counts; returns how many a second it can do.
    async fn warm(&self, gateway: &Gateway) -> Result<f64> {
        let request = gateway.plain.request(&prose(SHORT_PROMPT), false);
        let mut load = self.load(Mode::Closed, &gateway.plain, &request);
        load.connections = 8;
        load.seconds = self.seconds(4.0);
        load.requests = Some(WARM_REQUESTS);
        let seen = load.run(self.folder, gateway.pid).await?;
        ensure!(
            seen.number("/answered") > 0.0,
            "nothing was answered: {}",
            seen.told
        );
        Ok(seen.number("/per_second"))
    }

    async fn rate(&mut self, gateway: &Gateway, capacity: f64) -> Result<()> {
        let rate = bearable(RATES[0], capacity);
        let prompt = prose(SHORT_PROMPT);
        self.open(gateway, Phase::Rate, ("1 KB", &prompt), rate, 10.0)
            .await?;
        if f64::from(BUSY_RATE) > capacity * LOAD_MAX {
            return Ok(());
        }
        self.open(
            gateway,
            Phase::Rate,
            ("1 KB, busy", &prompt),
            BUSY_RATE,
            6.0,
        )
        .await
    }

    async fn bodies(&mut self, gateway: &Gateway) -> Result<()> {
        let cases = [
            ("30 KB", prose(30_000), RATES[0]),
            ("300 KB", prose(300_000), LONG_RATE),
            ("300 KB hostile", hostile(300_000), LONG_RATE),
        ];
        for (case, prompt, wanted) in &cases {
            let request = gateway.plain.request(prompt, false);
            let mut load = self.load(Mode::Closed, &gateway.plain, &request);
            load.connections = 8;
            let seen = load.run(self.folder, gateway.pid).await?;
            let rate = bearable(*wanted, seen.number("/per_second"));
            self.open(gateway, Phase::Bodies, (case, prompt), rate, 6.0)
                .await?;
        }
        Ok(())
    }

    /// Requests at a rate, and what they took longer than direct ones.
    async fn open(
        &mut self,
        gateway: &Gateway,
        phase: Phase,
        (case, prompt): (&str, &str),
        rate: u32,
        seconds: f64,
    ) -> Result<()> {
        let mut row = self
            .at_rate(gateway, phase, (case, prompt), rate, seconds)
            .await?;
        if gateway.kind == Kind::Direct {
            self.records.add(row)?;
            return Ok(());
        }
        let row_of_direct = self
            .records
            .find(self.run, Kind::Direct, phase, case, Some(rate));
        let base = match row_of_direct {
            Some(row) => row.clone(),
            None => {
                let direct = Gateway::start(Kind::Direct, self.provider.ports, self.folder).await?;
                let row = self
                    .at_rate(&direct, phase, (case, prompt), rate, seconds)
                    .await?;
                self.records.add(row.clone())?;
                row
            }
        };
        for name in ["p50_us", "p99_us"] {
            row.set(&format!("added_{name}"), row.get(name) - base.get(name));
        }
        self.records.add(row)
    }

    async fn at_rate(
        &self,
        gateway: &Gateway,
        phase: Phase,
        (case, prompt): (&str, &str),
        rate: u32,
        seconds: f64,
    ) -> Result<Row> {
        let request = gateway.plain.request(prompt, false);
        let mut load = self.load(Mode::Open, &gateway.plain, &request);
        load.rate = f64::from(rate);
        load.warm = self.seconds(1.5);
        load.seconds = self.seconds(seconds);
        let seen = load.run(self.folder, gateway.pid).await?;
        let mut row = self.row(gateway.kind, phase, case, rate);
        row.set("p50_us", seen.number("/latency_us/p50"));
        row.set("p99_us", seen.number("/latency_us/p99"));
        row.set("lag_p50_us", seen.number("/lag_us/p50"));
        row.set("lag_p99_us", seen.number("/lag_us/p99"));
        if gateway.pid.is_some() {
            row.set("cpu_us", seen.cpu_us("/all"));
        }
        common(&mut row, &seen);
        Ok(row)
    }

    async fn max(&mut self, gateway: &Gateway) -> Result<()> {
        let request = gateway.plain.request(&prose(SHORT_PROMPT), false);
        let mut load = self.load(Mode::Closed, &gateway.plain, &request);
        load.warm = 1.0;
        load.seconds = self.seconds(6.0);
        let seen = load.run(self.folder, gateway.pid).await?;
        let mut row = self.row(gateway.kind, Phase::Max, "1 KB", 0);
        row.set("per_second", seen.number("/per_second"));
        row.set("p50_us", seen.number("/latency_us/p50"));
        row.set("p99_us", seen.number("/latency_us/p99"));
        if gateway.pid.is_some() {
            row.set("cpu_us", seen.cpu_us("/all"));
            row.set("one_core", 1e6 / seen.cpu_us("/all"));
            row.set("core_percent", 100.0 * seen.cpu_seconds / seen.wall);
        }
        common(&mut row, &seen);
        self.records.add(row)
    }

    async fn unpaced(&mut self, gateway: &Gateway) -> Result<()> {
        self.provider.script(TOKENS, 0, 0).await?;
        let request = gateway.plain.request(&prose(SHORT_PROMPT), true);
        let mut load = self.load(Mode::Streams, &gateway.plain, &request);
        (load.connections, load.tokens) = (STREAMS, TOKENS);
        load.warm = 1.0;
        load.seconds = self.seconds(6.0).max(1.5);
        let seen = load.run(self.folder, gateway.pid).await?;
        self.records
            .add(self.of_streams(gateway, Phase::Unpaced, "", &seen))
    }

    async fn paced(&mut self, gateway: &Gateway) -> Result<()> {
        for (case, tokens, ramp) in PACED {
            self.provider.script(tokens, GAP_MS, GAP_MS).await?;
            let request = gateway.plain.request(&prose(SHORT_PROMPT), true);
            let mut load = self.load(Mode::Streams, &gateway.plain, &request);
            (load.connections, load.tokens, load.ramp) = (STREAMS, tokens, ramp);
            // They are watched once all speak, for at least one of each connection.
            load.warm = ramp + 0.5;
            load.seconds = self.seconds(6.0).max(4.5);
            let seen = load.run(self.folder, gateway.pid).await?;
            let mut row = self.of_streams(gateway, Phase::Paced, case, &seen);
            let direct = self
                .records
                .find(self.run, Kind::Direct, Phase::Paced, case, None);
            for name in ["first_token", "transit"] {
                for share in ["p50", "p99"] {
                    let us = seen.number(&format!("/{name}_us/{share}"));
                    row.set(&format!("{name}_{share}_us"), us);
                    if let Some(direct) = direct.filter(|_| gateway.kind != Kind::Direct) {
                        let base = direct.get(&format!("{name}_{share}_us"));
                        row.set(&format!("added_{name}_{share}_us"), us - base);
                    }
                }
            }
            self.records.add(row)?;
        }
        Ok(())
    }

    /// What is told of all streams.
    fn of_streams(&self, gateway: &Gateway, phase: Phase, case: &str, seen: &Measured) -> Row {
        let mut row = self.row(gateway.kind, phase, case, 0);
        row.set("tokens_per_second", seen.number("/tokens_per_second"));
        if gateway.pid.is_some() {
            row.set("cpu_us", seen.cpu_us("/all_tokens"));
            row.set("core_percent", 100.0 * seen.cpu_seconds / seen.wall);
        }
        common(&mut row, seen);
        row
    }

    async fn idle(&mut self, gateway: &Gateway) -> Result<()> {
        let pid = gateway.pid.context("a process")?;
        let wanted = if self.quick { HELD / 4 } else { HELD };
        let needed = 2 * wanted as usize + 200;
        ensure!(
            descriptors() >= needed,
            "{needed} open files are needed: ulimit -n {needed}"
        );
        self.provider.script(2, 0, SILENCE_MS).await?;
        let request = gateway.plain.request(&prose(SHORT_PROMPT), true);
        let mut load = self.load(Mode::Hold, &gateway.plain, &request);
        load.connections = wanted;
        let before = resident_kib(pid);
        let (held, after) = load.hold(self.folder, || resident_kib(pid)).await?;
        let mut row = self.row(gateway.kind, Phase::Idle, "", 0);
        row.set("held", held);
        row.set("before_mib", before / 1024.0);
        row.set("after_mib", after / 1024.0);
        row.set("kib_each", (after - before) / held);
        self.records.add(row)
    }

    async fn failover(&mut self, gateway: &Gateway, capacity: f64) -> Result<()> {
        let target = gateway
            .failover
            .as_ref()
            .context("a route that fails over")?;
        let rate = bearable(FAILOVER_RATE, capacity * FAILOVER_SHARE);
        let request = target.request(&prose(SHORT_PROMPT), false);
        let mut load = self.load(Mode::Open, target, &request);
        load.rate = f64::from(rate);
        load.seconds = self.seconds(10.0);
        self.provider.forget().await?;
        let seen = load.run(self.folder, gateway.pid).await?;
        let bad = self.provider.bad_requests().await?;
        let mut row = self.row(gateway.kind, Phase::Failover, "503", rate);
        row.set("p50_us", seen.number("/latency_us/p50"));
        row.set("p99_us", seen.number("/latency_us/p99"));
        row.set("touched_percent", 100.0 * bad / seen.number("/all"));
        common(&mut row, &seen);
        self.records.add(row)
    }

    async fn cold(&mut self, gateway: &mut Gateway) -> Result<()> {
        let folder = self.folder.join("cold");
        for (case, took) in gateway.cold_starts(&folder).await? {
            let mut row = self.row(gateway.kind, Phase::Cold, &case, 0);
            row.set("ms", took.as_secs_f64() * 1e3);
            self.records.add(row)?;
        }
        Ok(())
    }

    async fn soak(&mut self, gateway: &Gateway) -> Result<()> {
        let pid = gateway.pid.context("a process")?;
        let each = if self.quick { 5_000 } else { 50_000 };
        let request = gateway.plain.request(&prose(SHORT_PROMPT), false);
        let mut load = self.load(Mode::Closed, &gateway.plain, &request);
        (load.requests, load.seconds) = (Some(each), 120.0);
        let mut row = self.row(gateway.kind, Phase::Soak, "", 0);
        row.set("mib_0", resident_kib(pid) / 1024.0);
        let (mut requests, mut failed) = (0.0, 0.0);
        for part in 1..=SOAK_PARTS {
            let seen = load.run(self.folder, gateway.pid).await?;
            requests += seen.number("/all");
            failed += seen.failed();
            row.set(&format!("mib_{part}"), resident_kib(pid) / 1024.0);
            common(&mut row, &seen);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        row.set("requests", requests);
        row.set("failed", failed);
        row.set("mib_rested", resident_kib(pid) / 1024.0);
        self.records.add(row)
    }
}

/// What is noted of every use of the generator.
fn common(row: &mut Row, seen: &Measured) {
    row.set("failed", seen.failed());
    row.set("noise_cores", seen.noise);
}
