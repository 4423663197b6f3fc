//! Tests of the world: that there is something to learn in it, and that it is one world.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PROMPTS: u64 = 2_400;

/// Mean score per kind and model.
fn means(world: &World) -> BTreeMap<Kind, BTreeMap<&'static str, f64>> {
    let mut sums: BTreeMap<Kind, (f64, BTreeMap<&'static str, f64>)> = BTreeMap::new();
    for number in 0..PROMPTS {
        let prompt = world.prompt(number);
        let (count, scores) = sums.entry(prompt.kind).or_default();
        *count += 1.0;
        for model in world.models() {
            let score = world.score(model.name, &prompt.text).unwrap();
            *scores.entry(model.name).or_default() += score;
        }
    }
    sums.into_iter()
        .map(|(kind, (count, scores))| {
            (
                kind,
                scores
                    .into_iter()
                    .map(|(m, sum)| (m, sum / count))
                    .collect(),
            )
        })
        .collect()
}

fn best<'a>(scores: &BTreeMap<&'a str, f64>, among: impl Fn(&str) -> bool) -> (&'a str, f64) {
    let mut ranked: Vec<_> = scores.iter().filter(|(model, _)| among(model)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(a.1));
    (*ranked[0].0, *ranked[0].1)
}

fn cheap(world: &World) -> impl Fn(&str) -> bool {
    |name| world.model(name).unwrap().price.output_nano_usd < 1_000
}

#[test]
fn each_kind_has_its_own_best_cheap_model() {
    let world = World::new(42);
    let means = means(&world);
    let mut winners = BTreeSet::new();
    for kind in [
        Kind::Arithmetic,
        Kind::Code,
        Kind::Extraction,
        Kind::Translation,
    ] {
        let (winner, top) = best(&means[&kind], cheap(&world));
        let (_, second) = best(&means[&kind], |m| cheap(&world)(m) && m != winner);
        assert!(
            top - second > 0.1,
            "{kind:?}: {winner} {top} against {second}"
        );
        winners.insert(winner);
    }
    assert_eq!(winners.len(), 4, "{winners:?}");
}

#[test]
fn choosing_by_kind_beats_any_one_cheap_model_and_trivia_needs_a_dear_one() {
    let world = World::new(42);
    let means = means(&world);
    let by_kind = means
        .values()
        .map(|m| best(m, cheap(&world)).1)
        .sum::<f64>()
        / 6.0;
    for model in world.models().iter().filter(|m| cheap(&world)(m.name)) {
        let alone = means.values().map(|m| m[model.name]).sum::<f64>() / 6.0;
        assert!(
            by_kind > alone + 0.15,
            "{}: {alone} against {by_kind}",
            model.name
        );
    }
    let trivia = &means[&Kind::Trivia];
    assert!(best(trivia, |_| true).1 > best(trivia, cheap(&world)).1 + 0.2);
    for scores in means.values() {
        assert!(scores["sim-max"] > 0.85, "{scores:?}");
    }
}

#[test]
fn a_word_counting_learner_can_tell_the_kinds_apart() {
    let world = World::new(5);
    let words = |text: &str| -> BTreeSet<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut counts: BTreeMap<(Kind, String), f64> = BTreeMap::new();
    let mut totals: BTreeMap<Kind, f64> = BTreeMap::new();
    for number in 0..1_500 {
        let prompt = world.prompt(number);
        *totals.entry(prompt.kind).or_default() += 1.0;
        for word in words(&prompt.text) {
            *counts.entry((prompt.kind, word)).or_default() += 1.0;
        }
    }
    let guess = |text: &str| {
        let words = words(text);
        let odds = |kind: Kind| -> f64 {
            let seen = |word: &String| counts.get(&(kind, word.clone())).copied().unwrap_or(0.0);
            words
                .iter()
                .map(|word| ((seen(word) + 0.1) / (totals[&kind] + 1.0)).ln())
                .sum()
        };
        Kind::ALL
            .into_iter()
            .max_by(|a, b| odds(*a).total_cmp(&odds(*b)))
            .unwrap()
    };
    let held_out = (10_000..10_400).map(|number| world.prompt(number));
    let right = held_out
        .filter(|prompt| guess(&prompt.text) == prompt.kind)
        .count();
    assert!(right > 380, "{right} of 400");
}

#[test]
fn the_world_recognises_its_own_prompts() {
    let world = World::new(3);
    let mut intricate = 0;
    let mut texts = BTreeSet::new();
    for number in 0..PROMPTS {
        let prompt = world.prompt(number);
        assert_eq!(world.kind(&prompt.text), prompt.kind, "{}", prompt.text);
        assert_eq!(
            prompts::level_of(&prompt.text),
            prompt.level,
            "{}",
            prompt.text
        );
        intricate += usize::from(prompt.level == Level::Intricate);
        texts.insert(prompt.text);
    }
    assert!((680..920).contains(&intricate), "{intricate}");
    assert!(
        texts.len() as u64 > PROMPTS * 9 / 10,
        "{} distinct",
        texts.len()
    );
}

#[test]
fn intricate_prompts_are_harder() {
    let world = World::new(11);
    let mut sums = [(0.0, 0.0); 2];
    for number in 0..PROMPTS {
        let prompt = world.prompt(number);
        let slot = &mut sums[usize::from(prompt.level == Level::Intricate)];
        slot.0 += world.score("sim-mini", &prompt.text).unwrap();
        slot.1 += 1.0;
    }
    assert!(
        sums[0].0 / sums[0].1 > sums[1].0 / sums[1].1 + 0.15,
        "{sums:?}"
    );
}

#[test]
fn one_seed_is_one_world_and_unknown_things_are_answered_for() {
    let (one, same, other) = (World::new(1), World::new(1), World::new(2));
    assert_eq!(one.prompt(9), same.prompt(9));
    let text = one.prompt(9).text;
    assert_eq!(
        one.score("sim-pro", &text),
        same.score("alpha/sim-pro", &text)
    );
    assert_eq!(
        one.output_tokens("sim-pro", &text),
        same.output_tokens("sim-pro", &text)
    );
    assert_ne!(one.prompt(9), other.prompt(9));
    assert_eq!(one.score("gpt-99", &text), None);
    assert_eq!(one.kind("hm"), same.kind("hm"));
    assert!((0.0..=1.0).contains(&one.score("sim-nano", "hm").unwrap()));
}
