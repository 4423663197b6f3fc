//! What was measured, as lines of JSON and as tables.
//!
//! Owns: the rows, medians over the runs, ratios to nginx of the same run, and what each
//! table shows. Knows nothing of how a figure came about.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::gateways::Kind;
use crate::phases::Phase;

/// More cores than this busy with other work make a run doubtful.
const NOISE_MAX: f64 = 0.2;

/// The figures of one gateway in one case of one run.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    run: usize,
    kind: Kind,
    phase: Phase,
    case: String,
    /// Requests a second, where that was ours to say; else 0.
    rate: u32,
    values: BTreeMap<String, f64>,
}

impl Row {
    pub(crate) fn new(run: usize, kind: Kind, phase: Phase, case: &str, rate: u32) -> Self {
        Self {
            run,
            kind,
            phase,
            case: case.to_owned(),
            rate,
            values: BTreeMap::new(),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "run": self.run, "gateway": self.kind.name(),
            "phase": format!("{:?}", self.phase).to_lowercase(),
            "case": self.case, "rate": self.rate, "values": self.values,
        })
    }
}

/// All rows, also in a file as they come.
pub(crate) struct Records {
    rows: Vec<Row>,
    file: File,
    pub(crate) path: PathBuf,
}

impl Records {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            rows: Vec::new(),
            file,
            path: path.to_owned(),
        })
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<()> {
        writeln!(self.file, "{}", row.json())?;
        self.rows.push(row);
        Ok(())
    }

    /// The row of a gateway in a run, at a rate if that matters.
    pub(crate) fn find(
        &self,
        run: usize,
        kind: Kind,
        phase: Phase,
        case: &str,
        rate: Option<u32>,
    ) -> Option<&Row> {
        self.rows.iter().find(|row| {
            (row.run, row.kind, row.phase, &*row.case) == (run, kind, phase, case)
                && rate.is_none_or(|rate| row.rate == rate)
        })
    }

    /// What nginx had in the same run.
    fn of_nginx(&self, row: &Row, name: &str) -> f64 {
        // Some gateways have cases of their own.
        let nginx = self
            .find(row.run, Kind::Nginx, row.phase, &row.case, None)
            .or_else(|| self.find(row.run, Kind::Nginx, row.phase, "", None));
        nginx.map_or(f64::NAN, |nginx| nginx.get(name))
    }

    /// Every table that has rows.
    pub(crate) fn tables(&self) -> String {
        let mut text: String = TABLES.iter().map(|table| self.table(table)).collect();
        let noisy = self
            .rows
            .iter()
            .filter(|row| row.get("noise_cores") > NOISE_MAX);
        let noisy = noisy.count();
        if noisy > 0 {
            text.push_str(&format!(
                "\n{noisy} of {} measurings had more than {NOISE_MAX} cores taken by other \
                 work: trust ratios above 2 only.\n",
                self.rows.len()
            ));
        }
        text
    }

    fn table(&self, table: &Table) -> String {
        let mut groups: Vec<(&str, Kind, u32, Vec<&Row>)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.phase == table.phase) {
            let key = (&*row.case, row.kind, row.rate);
            match groups
                .iter_mut()
                .find(|group| (group.0, group.1, group.2) == key)
            {
                Some(group) => group.3.push(row),
                None => groups.push((key.0, key.1, key.2, vec![row])),
            }
        }
        if groups.is_empty() {
            return String::new();
        }
        // The cases stay in their order, those without a name before them, and within one
        // the gateways in theirs.
        let cases: Vec<&str> = groups.iter().map(|group| group.0).collect();
        let named = |case: &str| cases.iter().position(|other| *other == case);
        let place = |case: &str| named(case).filter(|_| !case.is_empty());
        groups.sort_by_key(|group| (place(group.0), group.1 as usize, u32::MAX - group.2));
        let mut text = format!("\n### {}\n\n| gateway | case |", table.title);
        for column in table.columns {
            text.push_str(&format!(" {} |", column.title));
        }
        let columns = table.columns.len() + 2;
        text.push_str(&format!("\n|{}\n", "---|".repeat(columns)));
        for (case, kind, rate, rows) in groups {
            let rate = (rate > 0).then(|| format!("{rate}/s"));
            let case = Some(case.to_owned()).filter(|case| !case.is_empty());
            let case: Vec<String> = case.into_iter().chain(rate).collect();
            text.push_str(&format!("| {} | {} |", kind.name(), case.join(", ")));
            for column in table.columns {
                text.push_str(&format!(" {} |", self.cell(column, &rows)));
            }
            text.push('\n');
        }
        text
    }

    fn cell(&self, column: &Column, rows: &[&Row]) -> String {
        let value = |row: &&Row| {
            let (own, nginx) = (row.get(column.value), self.of_nginx(row, column.value));
            match column.shown {
                Shown::Alone => own,
                Shown::TimesNginx => own / nginx,
                Shown::OverNginx => own - nginx,
            }
        };
        let mut values: Vec<f64> = rows.iter().map(value).filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (values.first(), values.last()) else {
            return "–".to_owned();
        };
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        let digits = column.digits;
        if values.len() == 1 {
            return format!("{median:.digits$}");
        }
        format!("{median:.digits$} [{least:.digits$}–{most:.digits$}]")
    }
}

/// How a value is shown.
#[derive(Clone, Copy)]
enum Shown {
    Alone,
    TimesNginx,
    OverNginx,
}

struct Column {
    title: &'static str,
    value: &'static str,
    digits: usize,
    shown: Shown,
}

const fn is(title: &'static str, value: &'static str, digits: usize) -> Column {
    Column {
        title,
        value,
        digits,
        shown: Shown::Alone,
    }
}

const fn times_nginx(value: &'static str) -> Column {
    Column {
        title: "x nginx",
        value,
        digits: 1,
        shown: Shown::TimesNginx,
    }
}

const fn over_nginx(title: &'static str, value: &'static str) -> Column {
    Column {
        title,
        value,
        digits: 0,
        shown: Shown::OverNginx,
    }
}

struct Table {
    phase: Phase,
    title: &'static str,
    columns: &'static [Column],
}

const LATENCIES: &[Column] = &[
    is("p50 µs", "p50_us", 0),
    is("p99 µs", "p99_us", 0),
    is("added p50 µs", "added_p50_us", 0),
    times_nginx("added_p50_us"),
    is("added p99 µs", "added_p99_us", 0),
    times_nginx("added_p99_us"),
    is("CPU µs", "cpu_us", 0),
    times_nginx("cpu_us"),
    is("failed", "failed", 0),
];

const LONGER: &[Column] = &[
    is("p50 µs", "p50_us", 0),
    is("p99 µs", "p99_us", 0),
    is("added p50 µs", "added_p50_us", 0),
    over_nginx("over nginx", "added_p50_us"),
    is("added p99 µs", "added_p99_us", 0),
    over_nginx("over nginx", "added_p99_us"),
    is("CPU µs", "cpu_us", 0),
    is("failed", "failed", 0),
];

const TABLES: [Table; 9] = [
    Table {
        phase: Phase::Rate,
        title: "Latency at a fixed rate, from when a request was due; added is over direct",
        columns: LATENCIES,
    },
    Table {
        phase: Phase::Bodies,
        title: "Longer prompts",
        columns: LONGER,
    },
    Table {
        phase: Phase::Max,
        title: "As much as 64 connections carry",
        columns: &[
            is("requests/s", "per_second", 0),
            is("CPU µs per request", "cpu_us", 1),
            times_nginx("cpu_us"),
            is("one core could do", "one_core", 0),
            is("its core busy %", "core_percent", 0),
            is("p50 µs", "p50_us", 0),
            is("p99 µs", "p99_us", 0),
            is("failed", "failed", 0),
        ],
    },
    Table {
        phase: Phase::Unpaced,
        title: "Streams as fast as they pass: 100 connections, 200 tokens each",
        columns: &[
            is("tokens/s", "tokens_per_second", 0),
            is("its core busy %", "core_percent", 0),
            is("CPU µs per token", "cpu_us", 2),
            times_nginx("cpu_us"),
            is("failed", "failed", 0),
        ],
    },
    Table {
        phase: Phase::Paced,
        title: "100 streams at 50 tokens/s, by how many begin; first token less the provider's own wait",
        columns: &[
            is("first token p50 µs", "first_token_p50_us", 0),
            is("added p50 µs", "added_first_token_p50_us", 0),
            times_nginx("added_first_token_p50_us"),
            is("added p99 µs", "added_first_token_p99_us", 0),
            is("transit p50 µs", "transit_p50_us", 0),
            is("transit p99 µs", "transit_p99_us", 0),
            is("CPU µs per token", "cpu_us", 1),
            times_nginx("cpu_us"),
            is("failed", "failed", 0),
        ],
    },
    Table {
        phase: Phase::Idle,
        title: "Streams held open in silence",
        columns: &[
            is("held", "held", 0),
            is("RSS before, MiB", "before_mib", 1),
            is("RSS after, MiB", "after_mib", 1),
            is("KiB per stream", "kib_each", 1),
            times_nginx("kib_each"),
        ],
    },
    Table {
        phase: Phase::Failover,
        title: "Two lanes, of which the preferred one always answers 503",
        columns: &[
            is("p50 µs", "p50_us", 0),
            times_nginx("p50_us"),
            is("p99 µs", "p99_us", 0),
            is("bad lane asked, % of requests", "touched_percent", 1),
            is("failed", "failed", 0),
        ],
    },
    Table {
        phase: Phase::Cold,
        title: "From start to the first answer",
        columns: &[is("ms", "ms", 0), times_nginx("ms")],
    },
    Table {
        phase: Phase::Soak,
        title: "Memory over many requests, RSS in MiB",
        columns: &[
            is("requests", "requests", 0),
            is("before", "mib_0", 1),
            is("after a quarter", "mib_1", 1),
            is("a half", "mib_2", 1),
            is("three quarters", "mib_3", 1),
            is("all", "mib_4", 1),
            is("2 s later", "mib_rested", 1),
            is("failed", "failed", 0),
        ],
    },
];
