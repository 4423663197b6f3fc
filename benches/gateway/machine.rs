//! The machine underneath: clock, cores, processes, and what they take of both.
//!
//! Owns: everything read from /proc, pinning, and that a process which was started here
//! ends with all its children. Knows nothing of gateways or requests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};

/// Provider, generator, and whatever is in no request's path.
pub(crate) const SIDE_CORE: usize = 0;
/// The gateway, and nothing else of ours.
pub(crate) const GATEWAY_CORE: usize = 1;
/// Clock ticks a second of /proc, fixed by Linux's user interface.
const TICKS: f64 = 100.0;
/// How long a process has to end when it is asked to.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Nanoseconds of the clock that all processes of a machine share.
pub(crate) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

/// A variable of the environment; empty ones count as none.
pub(crate) fn variable(name: &str) -> Option<String> {
    let mut all = std::env::vars();
    let value = all.find(|(key, _)| key == name)?.1;
    (!value.is_empty()).then_some(value)
}

/// Where a program is, by PATH unless it is a path already.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = variable("PATH")?;
    let mut places = path.split(':').map(|place| Path::new(place).join(name));
    places.find(|file| file.exists())
}

/// Moves this process, which has one thread yet, and its children to the side's core.
pub(crate) fn pin_to_side() -> Result<()> {
    ensure!(
        program("taskset").is_some(),
        "taskset is needed (util-linux)"
    );
    let cores = fs::read_to_string("/proc/stat")?;
    let cores = cores.lines().filter(|line| line.starts_with("cpu")).count() - 1;
    ensure!(cores > GATEWAY_CORE, "two cores are needed, {cores} found");
    let own = std::process::id().to_string();
    let moved = std::process::Command::new("taskset")
        .args(["-pc", &SIDE_CORE.to_string(), &own])
        .stdout(Stdio::null())
        .status()?;
    ensure!(moved.success(), "core {SIDE_CORE} is not ours to use");
    Ok(())
}

/// Moves a process that runs, with all its threads, to the gateway's core.
pub(crate) async fn move_to_gateway_core(pid: u32) -> Result<()> {
    let moved = Command::new("taskset")
        .args(["-apc", &GATEWAY_CORE.to_string(), &pid.to_string()])
        .stdout(Stdio::null())
        .status()
        .await?;
    ensure!(moved.success(), "process {pid} could not be moved");
    Ok(())
}

/// Lets a process have only what nobody else wants of its core: in production it is on
/// another machine, and here it would hold the generator up.
pub(crate) async fn step_back(pid: u32) -> Result<()> {
    let stepped = Command::new("chrt")
        .args(["--all-tasks", "--idle", "--pid", "0", &pid.to_string()])
        .status()
        .await?;
    ensure!(stepped.success(), "process {pid} could not step back");
    Ok(())
}

/// One line on the machine.
pub(crate) fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let mut names = info.lines().filter(|line| line.starts_with("model name"));
    let cores = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = names.next().and_then(|line| line.split_once(':'));
    let model = model.map_or("unknown CPU", |(_, name)| name.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} x {model}, Linux {}", kernel.trim())
}

/// How many files a process may have open.
pub(crate) fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    soft.unwrap_or(0)
}

/// Fields of a process's `stat` from its state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// A process and all that descend from it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let parent = stat(pid).and_then(|fields| fields.get(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// When a process started, in ticks since the machine did.
fn born(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// CPU seconds of a process and its descendants, also of those that have ended; in steps of
/// 10 ms.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let ticks = |pid| {
        let fields = stat(pid)?;
        let ticks = fields.get(11..15)?.iter();
        Some(ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>())
    };
    tree(root).into_iter().filter_map(ticks).sum::<f64>() / TICKS
}

/// Resident memory of a process and its descendants, in KiB.
pub(crate) fn resident_kib(root: u32) -> f64 {
    let resident = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    tree(root).into_iter().filter_map(resident).sum()
}

/// CPU seconds that all cores have been busy.
pub(crate) fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or("");
    let fields: Vec<f64> = first.split_whitespace().flat_map(str::parse).collect();
    // User, nice, system, then idle and waiting, then interrupts and what a host took.
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    (fields.iter().take(8).sum::<f64>() - idle) / TICKS
}

/// A process on the gateway's core, with what it prints in a file.
pub(crate) struct Spawned {
    child: Child,
    pub(crate) pid: u32,
    log: PathBuf,
}

impl Spawned {
    /// Starts it in `folder`, where its output goes to `out.log`.
    pub(crate) fn start(
        words: &[String],
        folder: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("out.log");
        let output = fs::File::create(&log)?;
        let child = Command::new("taskset")
            .args(["-c", &GATEWAY_CORE.to_string()])
            .args(words)
            .current_dir(folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| words.join(" "))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self { child, pid, log })
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it printed, for whoever must say why it does not work.
    pub(crate) fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended ({status}):\n{}", self.last_words());
        }
        Ok(())
    }

    /// Asks it to end; what has not within [`END_WITHIN`] is killed on drop.
    pub(crate) async fn stop(mut self) {
        let children: Vec<_> = tree(self.pid)[1..].iter().map(|p| (*p, born(*p))).collect();
        signal("-TERM", &[self.pid]);
        let _ = tokio::time::timeout(END_WITHIN, self.child.wait()).await;
        // A number may be another process's by now.
        let left = children.into_iter().filter(|(pid, at)| born(*pid) == *at);
        let left: Vec<u32> = left
            .filter(|(_, at)| at.is_some())
            .map(|(p, _)| p)
            .collect();
        signal("-KILL", &left);
    }
}

impl Drop for Spawned {
    /// Its children must not survive it, as nginx's worker would survive its master.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("-KILL", &tree(self.pid));
        }
    }
}

fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    // Some may be gone already, which is what is wanted.
    let _ = std::process::Command::new("kill")
        .arg(name)
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
}
