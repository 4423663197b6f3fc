//! Arguments.
//!
//! Owns: the commands and their flags, with the words that `--help` shows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The router between your apps and the LLM providers.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// Write logs as JSON lines.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process with simulated providers and traffic: no keys, no etcd.
    Demo(DemoArgs),
    /// The control plane.
    Control(ConfigArgs),
    /// One proxy.
    Proxy(ConfigArgs),
    /// Control plane and one proxy in one process.
    All(ConfigArgs),
    /// Check a policy or a configuration file and say what is wrong, with lines.
    Check(CheckArgs),
    /// Read labelled prompts and outcomes into a history.
    Import(ImportArgs),
    /// Learn from a history and write a table.
    Train(TrainArgs),
    /// Measure a table on labelled prompts.
    Evaluate(EvaluateArgs),
    /// Predict quality and cost of every model for each prompt.
    Predict(PredictArgs),
    /// Choose a model for each prompt under a bar.
    Route(RouteArgs),
    /// Decide recorded requests again under another policy or table.
    Replay(ReplayArgs),
    /// Play recorded prompts through a Spillway over HTTP.
    Simulate(SimulateArgs),
    /// Look into table files.
    Table(TableArgs),
    /// Draw a key for a caller, and print what the policy says of it.
    Key(KeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// How the policy, the page and the records name it.
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the demo keeps its files; a temporary directory unless said.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Address apps connect to.
    #[arg(long, default_value = "127.0.0.1:8484")]
    pub(crate) listen: String,
    /// Address of the dashboard.
    #[arg(long, default_value = "127.0.0.1:8485")]
    pub(crate) dashboard: String,
    /// Simulated requests a second; 0 for none.
    #[arg(long, default_value_t = 4.0)]
    pub(crate) rps: f64,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The TOML file with its sections `control` and `proxy`.
    #[arg(long, default_value = "spillway.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A policy (it has `routes`) or a configuration (`control`, `proxy`).
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Directory of the history, or `s3://BUCKET/PREFIX`.
    #[arg(long)]
    pub(crate) history: PathBuf,
    #[command(flatten)]
    pub(crate) set: SetArgs,
    /// Name of this import; importing the same name again replaces it.
    #[arg(long)]
    pub(crate) source: Option<String>,
}

/// A labelled set on disk.
#[derive(Clone, Debug, Args)]
pub(crate) struct SetArgs {
    /// Prompts: .jsonl or .csv, also .gz or .zst, or .parquet.
    #[arg(long)]
    pub(crate) prompts: PathBuf,
    /// Outcomes: .jsonl or .csv, also .gz or .zst, or .parquet.
    #[arg(long)]
    pub(crate) outcomes: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Directory of the history, or `s3://BUCKET/PREFIX`.
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// Learn only from this split: train, test or all.
    #[arg(long, default_value = "train")]
    pub(crate) split: String,
    /// The table to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Where to write the run's report as JSON.
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A policy for catalogue and routes; without it every model of the history is a
    /// candidate of one route `auto`.
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// The table to measure. Without one, learn from the set's train split and compare
    /// with other routers on its test split.
    #[arg(long)]
    pub(crate) table: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) set: SetArgs,
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    /// Let the table see the prompts' own labels of the kind of work.
    #[arg(long, requires = "table")]
    pub(crate) with_slices: bool,
    /// Without a table: runs that are averaged.
    #[arg(long, default_value_t = 3, conflicts_with = "table")]
    pub(crate) seeds: u64,
    /// Without a table: cut 70 to 30 by a hash of the prompt ids, whatever splits the set
    /// itself names.
    #[arg(long, conflicts_with = "table")]
    pub(crate) resplit: bool,
    /// Without a table: leave one slice at a time out of training and route it.
    #[arg(long, conflicts_with = "table")]
    pub(crate) unseen: bool,
    /// Without a table: hide most labels of this model and see how few are enough.
    #[arg(long, conflicts_with = "table")]
    pub(crate) newcomer: Option<String>,
    /// Without a table: estimate other policies from made-up logs, and see how far off
    /// that is.
    #[arg(long, conflicts_with = "table")]
    pub(crate) off_policy: bool,
    /// Without a table: also draw audits many times and count how often ways to set a
    /// multiplier lose more than they promise.
    #[arg(long, conflicts_with = "table")]
    pub(crate) guarantee: bool,
    /// Without a table: where to write the cost-quality curves.
    #[arg(long, conflicts_with = "table")]
    pub(crate) svg: Option<PathBuf>,
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    #[arg(long)]
    pub(crate) table: PathBuf,
    #[arg(long)]
    pub(crate) prompts: PathBuf,
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    #[arg(long)]
    pub(crate) with_slices: bool,
    /// The JSON lines to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RouteArgs {
    #[arg(long)]
    pub(crate) table: PathBuf,
    #[arg(long)]
    pub(crate) prompts: PathBuf,
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    #[arg(long)]
    pub(crate) with_slices: bool,
    /// Share of the best single model's quality to keep on average.
    #[arg(long, default_value_t = 0.95)]
    pub(crate) bar: f64,
    /// The JSON lines to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Directory of the history, or `s3://BUCKET/PREFIX`.
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// A table file to decide with.
    #[arg(long)]
    pub(crate) table: PathBuf,
    /// Hours back from the newest recorded request.
    #[arg(long, default_value_t = 24)]
    pub(crate) hours: u64,
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) set: SetArgs,
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    /// The policy; without it every recorded model is a candidate of one route `auto`.
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
    /// Share of the best single model's quality to keep, where no policy is given.
    #[arg(long, default_value_t = 0.95)]
    pub(crate) bar: f64,
    /// A running Spillway's address, e.g. http://127.0.0.1:8484; repeat for several
    /// proxies. Without it an embedded one is trained on the other split and used.
    #[arg(long)]
    pub(crate) proxy: Vec<String>,
    /// The key that the running Spillway wants.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Where the recorded models are served, so that a running Spillway can call them.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) providers: String,
    /// Requests a second; without it as fast as answers come.
    #[arg(long)]
    pub(crate) rps: Option<f64>,
    /// Prompts to play; all of the split unless said.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) teach: TeachArgs,
}

/// A Spillway that starts without any label and teaches itself by audits.
#[derive(Debug, Args)]
pub(crate) struct TeachArgs {
    /// Start from no labels: prompts of --split are traffic, and audits teach. What was
    /// learnt is then measured on the other split.
    #[arg(long)]
    pub(crate) learn: bool,
    /// Share of the requests that is audited once there are labels enough.
    #[arg(long, default_value_t = 0.02, requires = "learn")]
    pub(crate) audits: f64,
    /// Share that is audited until then.
    #[arg(long, default_value_t = 0.4, requires = "learn")]
    pub(crate) starting_audits: f64,
    /// Callers name the kind of work: the prompts' tasks travel as slices.
    #[arg(long, requires = "learn")]
    pub(crate) with_slices: bool,
    /// What happens to the world: REQUEST:worse:MODEL:SHARE (so many answers are worth
    /// nothing from then on), REQUEST:price:MODEL:TIMES or REQUEST:appears:MODEL; repeat
    /// for several.
    #[arg(long, requires = "learn")]
    pub(crate) event: Vec<String>,
    /// Where to draw cost and quality over time.
    #[arg(long, requires = "learn")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(subcommand)]
    pub(crate) command: TableCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// What a table says.
    Show {
        file: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// What two tables say differently.
    Diff { old: PathBuf, new: PathBuf },
}
