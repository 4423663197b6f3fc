//! Figures as Markdown, and where they come from.
//!
//! Owns: the machine's description, peaks of memory, and tables with growth factors.

use std::path::Path;

/// What was measured on.
pub(crate) fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |line| line.trim_start_matches([' ', '\t', ':']));
    let memory = kib(Path::new("/proc/meminfo"), "MemTotal:") >> 20;
    let cores = std::thread::available_parallelism().unwrap();
    format!(
        "{cores} cores ({model}), {memory} GiB of memory. Growth factors are in brackets: this \
         size against the one above."
    )
}

/// The peak of a process's resident memory so far, in MiB.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    kib(Path::new(&format!("/proc/{pid}/status")), "VmHWM:") as f64 / 1_024.0
}

/// What this process has taken of the cores so far: what other work on the machine does
/// not change much.
pub(crate) fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks = times.map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

fn kib(path: &Path, field: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// How a column is written.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// What the row is about.
    Size(&'static str),
    /// A figure, by how many digits, and how much more it is than in the row above.
    Grown(&'static str, usize),
    /// A figure alone.
    Plain(&'static str, usize),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Size(name) | Self::Grown(name, _) | Self::Plain(name, _) => name,
        }
    }

    fn cell(self, value: f64, above: Option<f64>) -> String {
        match self {
            Self::Size(_) => grouped(value),
            Self::Plain(_, digits) => figure(value, digits),
            Self::Grown(_, digits) => match above {
                Some(above) if !value.is_nan() => {
                    format!("{} (×{:.1})", figure(value, digits), value / above)
                }
                _ => figure(value, digits),
            },
        }
    }
}

fn figure(value: f64, digits: usize) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if digits == 0 {
        grouped(value)
    } else {
        format!("{value:.digits$}")
    }
}

/// With commas between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Prints a table that grows by its rows.
pub(crate) struct Table {
    columns: Vec<Column>,
    above: Option<Vec<f64>>,
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[Column]) -> Self {
        let names = columns.iter().map(|column| column.name());
        let names: Vec<&str> = names.collect();
        println!("\n## {title}\n\n| {} |", names.join(" | "));
        println!("|{}", "---:|".repeat(names.len()));
        Self {
            columns: columns.to_vec(),
            above: None,
        }
    }

    pub(crate) fn row(&mut self, values: &[f64]) {
        let cells = self.columns.iter().zip(values).enumerate();
        let above = |i: usize| self.above.as_ref().map(|above| above[i]);
        let cells = cells.map(|(i, (column, value))| column.cell(*value, above(i)));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        self.above = Some(values.to_vec());
    }
}

/// The value that a share of the sorted ones does not exceed.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}
