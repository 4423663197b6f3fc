//! How long it takes to count a committee's tables again: 12,000 prompts, 18 models.
//!
//! `cargo bench -p spillway-classifier --bench update`. Heads have the largest size that is
//! trained; prompts are noise, since what is measured is arithmetic. Once from a data set,
//! once from the audits that history hands out.

mod heads;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_classifier::dataset::Dataset;
use spillway_classifier::fit::update::update;
use spillway_routing::encoder::{DIMENSIONS, Encoding};
use spillway_routing::features::{FEATURES, Facts, Features};
use spillway_routing::head::Committee;
use spillway_routing::head::size::SLICES_MAX;
use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::outcome::{Answer, Audit};
use spillway_routing::unit::{Bps, NanoUsd, Tokens, UnixMillis};

const MODELS: usize = 18;
const PROMPTS: usize = 12_000;

fn facts(i: usize, dice: &mut Xoshiro256Plus) -> Facts {
    let features: [f32; FEATURES] = std::array::from_fn(|_| dice.gen_range(0.0..1.0));
    let encoding: [i8; DIMENSIONS] = std::array::from_fn(|_| dice.gen_range(-127..=127));
    Facts {
        slice: Some(SliceId::new(&format!("slice-{}", i % SLICES_MAX))),
        o200k: Tokens(100),
        features: Features::of(&features),
        encoding: Encoding(encoding),
        ..Facts::default()
    }
}

fn audits(models: &[ModelId]) -> Vec<Audit> {
    let mut dice = Xoshiro256Plus::seed_from_u64(1);
    let mut audit = |i: usize| Audit {
        id: format!("prompt-{i}"),
        at: UnixMillis(0),
        split: None,
        facts: facts(i, &mut dice),
        answers: models
            .iter()
            .map(|model| Answer {
                model: model.clone(),
                score: Bps::from_share(f64::from(u8::from(dice.gen_bool(0.7)))),
                input: Tokens(100),
                output: Tokens(200),
                cost: Some(NanoUsd(1_000)),
                latency: None,
            })
            .collect(),
    };
    (0..PROMPTS).map(&mut audit).collect()
}

fn again(committee: &Committee, audits: &[Audit]) -> Option<Committee> {
    update(committee, &Dataset::of(audits, Some(&committee.models)))
}

fn tables(criterion: &mut Criterion) {
    let committee = heads::committee(MODELS);
    let audits = audits(&committee.models);
    let data = Dataset::of(&audits, Some(&committee.models));
    let mut group = criterion.benchmark_group("update");
    group.sample_size(20);
    group.bench_function("from a data set", |bencher| {
        bencher.iter(|| update(black_box(&committee), black_box(&data)));
    });
    group.bench_function("from audits", |bencher| {
        bencher.iter(|| again(black_box(&committee), black_box(&audits)));
    });
    group.finish();
}

criterion_group!(benches, tables);
criterion_main!(benches);
