//! `spillway simulate --learn`: a Spillway that starts without any label and teaches
//! itself by audits, while the world may change under it.
//!
//! Owns: the order of playing, learning and looking for drift. Traffic stands still while
//! it learns: in life, hours lie between two runs. What judges the answers is a simulated
//! judge that knows the recorded scores.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use spillway_classifier::price::{Charge, price_of};
use spillway_control_plane::control::{Control, now};
use spillway_control_plane::{alarms, training};
use spillway_routing::catalogue::Price;
use spillway_routing::outcome::{Answer, Audit, Split};
use spillway_simulator::{
    Answerer, Load, Recorded, ServedModel, Simulator, SliceLabel, TrafficConfig, play,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::event::{Change, Event};
use super::planes::Planes;
use super::{CONCURRENCY, SEED, held_out, picture, simulator};
use crate::command::SimulateArgs;
use crate::offline::recorded::{self, PROVIDER};
use crate::offline::set::{self, Part};
use crate::output::say;

/// Requests between two looks at what was learnt.
const WINDOW: u64 = 250;
/// Labels that a first run wants, and how many more than last time the next one does.
const LABELS_FIRST: u64 = 300;
const LABELS_GROWTH: f64 = 1.2;
/// What notes of runs begin with.
pub(super) const TRAINED: &str = "trained";
/// The simulated judge, and its price in nano-dollars a token: that of a small model.
const JUDGE: &str = "judge";
const JUDGE_PRICE: (u64, u64) = (150, 600);
/// The money for audits is no limit here; it is counted.
const AUDITS_USD: f64 = 1e6;

/// What happened to some requests in a row, and what the best model would have made of
/// the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) until: u64,
    requests: u64,
    failed: u64,
    quality: f64,
    cost: f64,
    audit_cost: f64,
    best_quality: f64,
    best_cost: f64,
    labels: u64,
    table: u64,
    pub(super) notes: Vec<String>,
}

impl Window {
    pub(super) fn quality_share(&self) -> f64 {
        self.quality / self.best_quality
    }

    pub(super) fn cost_share(&self) -> f64 {
        self.cost / self.best_cost
    }

    pub(super) fn cost_share_with_audits(&self) -> f64 {
        (self.cost + self.audit_cost) / self.best_cost
    }

    fn json(&self) -> Value {
        json!({
            "until": self.until,
            "failed": self.failed,
            "quality": self.quality,
            "cost_usd": self.cost,
            "audit_usd": self.audit_cost,
            "best_quality": self.best_quality,
            "best_cost_usd": self.best_cost,
            "labels": self.labels,
            "table": self.table,
            "notes": self.notes,
        })
    }
}

/// The world as it is played.
struct World {
    recorded: Arc<Recorded>,
    /// With the prices that explain what was charged.
    models: Vec<(String, Price)>,
    best: String,
    bar: f64,
    audits: (f64, f64),
    /// Whether callers name the kind of work.
    slices: bool,
    events: Vec<Event>,
}

pub(super) async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    ensure!(
        args.proxy.is_empty() && args.policy.is_none(),
        "--learn stands up its own Spillway with its own policy; leave out --proxy and --policy"
    );
    let (world, held_out, train) = tokio::task::block_in_place(|| load(&args))?;
    let listener = TcpListener::bind(&args.providers).await?;
    let names: Vec<String> = world.models.iter().map(|(name, _)| name.clone()).collect();
    let mut served = simulator(&world.recorded, &names);
    for provider in &mut served.providers {
        let (input, output) = JUDGE_PRICE;
        provider.models.push(ServedModel::new(JUDGE, input, output));
    }
    let providers = Simulator::start(served, listener)?;
    let stop = CancellationToken::new();
    let planes = Planes::start(&providers.base_url(PROVIDER), &stop).await?;
    let total = args.limit.unwrap_or(world.recorded.prompts().len() as u64);
    let told: fn(&Window) = if args.json { |_| () } else { tell_of };
    let windows = play_all(&world, &planes, total, told).await?;
    let current = planes.control.publisher.current().await?;
    stop.cancel();
    planes.ended().await?;
    providers.stop().await?;
    let mut summary = json!({ "windows": windows.iter().map(Window::json).collect::<Vec<_>>() });
    if let (Some(current), true) = (current, world.events.is_empty()) {
        let set = held_out::Set {
            held_out: &held_out,
            train: &train,
            best: &world.best,
            bar: world.bar,
            policy: &world.policy(total),
            slices: world.slices,
        };
        let compared = tokio::task::block_in_place(|| set.compare(current.table.draft()));
        summary["held_out"] = compared?;
    }
    if let Some(path) = &args.teach.svg {
        let svg = picture::svg(&windows, world.bar)?;
        std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        held_out::print(&summary["held_out"]);
    }
    Ok(())
}

/// The world, the audits that measure, and those of the prompts that are played.
fn load(args: &SimulateArgs) -> anyhow::Result<(World, Vec<Audit>, Vec<Audit>)> {
    let Part::Only(split) = Part::parse(&args.split)? else {
        anyhow::bail!("--learn plays one split and measures on the other: say train or test");
    };
    let other = match split {
        Split::Train => Split::Test,
        Split::Test => Split::Train,
    };
    let slices = args.teach.with_slices;
    let part = |split| set::audits(&args.set, Part::Only(split), slices, now());
    let (held_out, train) = (part(other)?, part(split)?);
    let set = &args.set;
    let recorded = Recorded::load(&set.prompts, &set.outcomes, Some(split.name()))?;
    // Files are often in the order of their tasks; traffic is not.
    let recorded = recorded.shuffled(SEED);
    let ranked = recorded::ranked(&train);
    let (best, _) = ranked
        .first()
        .context("no model answered the prompts that are played")?;
    let priced =
        |(name, _): &(String, f64)| Some((name.clone(), price_of(&charges(&train, name))?));
    let models: Vec<(String, Price)> = ranked.iter().filter_map(priced).collect();
    let events: Vec<Event> = args
        .teach
        .event
        .iter()
        .map(|text| text.parse())
        .collect::<anyhow::Result<_>>()?;
    for event in &events {
        let known = models.iter().any(|(name, _)| *name == event.model);
        ensure!(
            known,
            "no recorded model with a price is called {:?}",
            event.model
        );
    }
    let world = World {
        best: best.clone(),
        recorded: Arc::new(recorded),
        models,
        bar: args.bar,
        audits: (args.teach.audits, args.teach.starting_audits),
        slices: args.teach.with_slices,
        events,
    };
    Ok((world, held_out, train))
}

impl World {
    /// The policy after so many requests.
    fn policy(&self, played: u64) -> String {
        let happened = |event: &&Event| event.at <= played;
        let mut text = String::from("version = 1\n");
        let mut names = Vec::new();
        for (model, price) in &self.models {
            let own = || self.events.iter().filter(|event| event.model == *model);
            let hidden = own().any(|e| e.change == Change::Appears && e.at > played);
            if hidden {
                continue;
            }
            let times = own()
                .filter(happened)
                .rev()
                .find_map(|event| match event.change {
                    Change::Price(times) => Some(times),
                    Change::Worse(_) | Change::Appears => None,
                });
            let times = times.unwrap_or(1.0);
            let rates = &price.rates;
            let usd = [rates.input.usd(), rates.output.usd(), price.per_call.usd()];
            served(&mut text, model, usd.map(|usd| usd * times));
            names.push(recorded::quoted(model));
        }
        let (input, output) = JUDGE_PRICE;
        served(
            &mut text,
            JUDGE,
            [input as f64 / 1e3, output as f64 / 1e3, 0.0],
        );
        let (share, starting) = self.audits;
        let _ = write!(
            text,
            "\n[routes.auto]\nmodels = [{}]\nbaseline = {}\nbar = {}\n\n[audits]\nshare = {share}\n\
             starting_share = {starting}\nusd_per_day = {AUDITS_USD:.1}\njudge = \"{JUDGE}\"\n",
            names.join(", "),
            recorded::quoted(&self.best),
            self.bar,
        );
        text
    }

    /// What operators hear of between two moments.
    fn happened(&self, from: u64, until: u64) -> Vec<&Event> {
        let due = |event: &&Event| (from..until).contains(&event.at);
        let told = |event: &&Event| !matches!(event.change, Change::Worse(_));
        self.events.iter().filter(due).filter(told).collect()
    }

    /// What happens between two moments, in words.
    fn happens(&self, from: u64, until: u64) -> Vec<String> {
        let due = |event: &&Event| (from..until).contains(&event.at);
        let happen = |event: &Event| {
            let model = &event.model;
            match event.change {
                Change::Worse(share) => {
                    self.recorded.spoil(model, share);
                    format!("{model} grows worse")
                }
                Change::Price(times) => {
                    self.recorded.reprice(model, times);
                    format!("{model} costs {times} times as much")
                }
                Change::Appears => format!("{model} appears"),
            }
        };
        self.events.iter().filter(due).map(happen).collect()
    }

    /// What the best model would have made of some prompts: mean quality, summed cost.
    fn best_of(&self, from: u64, count: u64) -> (f64, f64) {
        let prompts = (from..from + count).filter_map(|i| self.recorded.prompt(i));
        let (mut quality, mut cost) = (0.0, 0.0);
        for prompt in prompts {
            quality += self.recorded.score(&self.best, &prompt.text).unwrap_or(0.0);
            cost += self
                .recorded
                .cost_usd(&self.best, &prompt.text)
                .unwrap_or(0.0);
        }
        (quality / count as f64, cost)
    }
}

/// A model with its price: dollars per million tokens in and out, and per call.
fn served(text: &mut String, model: &str, [input, output, call]: [f64; 3]) {
    let name = recorded::quoted(model);
    let _ = write!(
        text,
        "\n[[upstreams]]\nprovider = \"{PROVIDER}\"\nmodels = [{name}]\n\
         prices.standard = {{ input = {input:?}, output = {output:?}, per_call = {call:?} }}\n"
    );
}

/// What a model charged for each prompt.
fn charges(audits: &[Audit], model: &str) -> Vec<Charge> {
    let answers = audits.iter().flat_map(|audit| &audit.answers);
    let own = answers.filter(|answer| answer.model.as_str() == model);
    let charge = |answer: &Answer| {
        Some(Charge {
            input: f64::from(answer.input.0),
            output: f64::from(answer.output.0),
            cost: answer.cost?.usd(),
        })
    };
    own.filter_map(charge).collect()
}

async fn play_all(
    world: &World,
    planes: &Planes,
    total: u64,
    told: fn(&Window),
) -> anyhow::Result<Vec<Window>> {
    let control = &planes.control;
    let (mut windows, mut played, mut learnt_from) = (Vec::new(), 0, 0);
    let mut policy = 0;
    while played < total {
        let count = WINDOW.min(total - played);
        let mut notes = world.happens(played, played + count);
        if policy == 0 || !notes.is_empty() {
            // Operators learn of new models and prices; that one grows worse nobody says.
            (policy, _) = control
                .put_policy(&world.policy(played + count - 1), policy, "simulate")
                .await?;
        }
        planes.until_current().await?;
        let mut window = play_some(world, planes, played, count).await?;
        played += count;
        window.until = played;
        window.labels = control.history.counts().await?.audits.rows;
        for alarm in alarms::step(control).await? {
            notes.push(format!("alarm: {} {}", alarm.kind, alarm.subject));
        }
        let enough = window.labels as f64 >= learnt_from as f64 * LABELS_GROWTH;
        // Another policy wants other multipliers.
        let stale = !world.happened(played - count, played).is_empty();
        let wanted = (enough || stale) && window.labels >= LABELS_FIRST;
        if wanted || control.runs.going().is_some() {
            notes.push(learn(control).await?);
            learnt_from = window.labels;
        } else if learnt_from > 0 {
            training::refresh(control).await?;
        }
        planes.until_current().await?;
        window.table = control.publisher.current_version().await?.0;
        window.notes = notes;
        told(&window);
        windows.push(window);
    }
    Ok(windows)
}

/// Plays, and waits until everything that was picked is audited and stored.
async fn play_some(
    world: &World,
    planes: &Planes,
    from: u64,
    count: u64,
) -> anyhow::Result<Window> {
    let oracle = Answerer::Recorded(Arc::clone(&world.recorded));
    let url = format!("{}/v1", planes.url);
    let mut traffic = TrafficConfig::new(url, set::ROUTE.to_owned(), oracle, count);
    traffic.first_prompt = from;
    traffic.seed = SEED + from;
    traffic.feedback = false;
    traffic.slice = if world.slices {
        SliceLabel::OfPrompt
    } else {
        SliceLabel::None
    };
    traffic.load = Load::Closed {
        concurrency: CONCURRENCY,
    };
    let spent = planes.figure("spillway_audit_usd_total").await?;
    let report = play(traffic).await?;
    planes.until_none("spillway_audits_waiting").await?;
    planes.until_none("spillway_outcomes_queued").await?;
    let (best_quality, best_cost) = world.best_of(from, count);
    Ok(Window {
        requests: count,
        failed: report.failed,
        quality: report.quality_mean,
        cost: report.cost_nano_usd as f64 / 1e9,
        audit_cost: planes.figure("spillway_audit_usd_total").await? - spent,
        best_quality,
        best_cost,
        ..Window::default()
    })
}

/// One training run, to its end.
async fn learn(control: &Arc<Control>) -> anyhow::Result<String> {
    let mut progress = control.runs.watch();
    let run = match control.runs.going() {
        Some(going) => going.run,
        None => training::start(control).await?,
    };
    let ended = progress
        .wait_for(|p| {
            p.as_ref()
                .is_some_and(|p| p.run == run && p.ended.is_some())
        })
        .await?
        .clone();
    let ended = ended
        .and_then(|progress| progress.ended)
        .context("the run said no end")?;
    tracing::info!(reason = ended.reason, "trained");
    Ok(format!("{TRAINED}: {}", ended.result.name()))
}

fn tell_of(window: &Window) {
    say!(
        "{:>6} requests, {:>5} labels, table {:>3}: quality {:>5.1} %, cost {:>5.1} % (audits {:>6.1} %) of the best model's{}{}",
        window.until,
        window.labels,
        window.table,
        100.0 * window.quality_share(),
        100.0 * window.cost_share(),
        100.0 * window.audit_cost / window.best_cost,
        if window.failed > 0 {
            format!("; {} of {} failed", window.failed, window.requests)
        } else {
            String::new()
        },
        window
            .notes
            .iter()
            .fold(String::new(), |text, note| text + "; " + note),
    );
}
