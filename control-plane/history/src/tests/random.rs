//! Random outcomes, verdicts and audits: every variant of every enum can come up.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use spillway_routing::account::Account;
use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::conditions::{Gate, LaneState};
use spillway_routing::decide::{self, Considered, Decision, Limit, Need, Removal, Step, Why};
use spillway_routing::dialect::{Dialect, Reach};
use spillway_routing::encoder::{DIMENSIONS, EncoderId, Encoding};
use spillway_routing::features::{Facts, Features, Requirements};
use spillway_routing::head::Abstention;
use spillway_routing::id::{ProviderId, ProxyId, RequestId, RuleId, TableVersion};
use spillway_routing::outcome::{
    Answer, Attempt, AttemptResult, Audit, Ending, Outcome, Split, UsageSource, Verdict,
    VerdictSource,
};
use spillway_routing::overflow::Cause;
use spillway_routing::prompt::{Class, Form};
use spillway_routing::start::{Start, Starts};
use spillway_routing::tokens::{Family, Ratios, TextClass};
use spillway_routing::unit::{Bps, Millis, NanoUsd, Ppm, Tokens, UnixMillis};

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn bps() -> impl Strategy<Value = Bps> {
    (0u16..=10_000).prop_map(Bps::new)
}

fn tokens() -> impl Strategy<Value = Tokens> {
    any::<u32>().prop_map(Tokens)
}

fn millis() -> impl Strategy<Value = Millis> {
    any::<u64>().prop_map(Millis)
}

fn money() -> impl Strategy<Value = NanoUsd> {
    any::<u64>().prop_map(NanoUsd)
}

fn name<T: for<'a> From<&'a str> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    text().prop_map(|name| T::from(name.as_str()))
}

fn requirements() -> impl Strategy<Value = Requirements> {
    let forms = vec![Form::Text, Form::JsonObject, Form::JsonSchema];
    let reach = any::<u8>().prop_map(|bits| Reach::from_bits(bits.into()));
    let needs = (
        any::<bool>(),
        select(forms),
        any::<bool>(),
        of(tokens()),
        reach,
    );
    needs.prop_map(|(tools, form, vision, max_output, reach)| Requirements {
        tools,
        form,
        vision,
        max_output,
        reach,
    })
}

pub(super) fn facts() -> impl Strategy<Value = Facts> {
    let classes = vec![Class::Interactive, Class::Batch, Class::Background];
    let caller = (
        of(name()),
        of(name()),
        of(name()),
        vec((text(), text()), 0..3),
    );
    let wishes = (
        select(classes),
        any::<bool>(),
        prop_oneof![
            select(vec![
                Start::Unsaid,
                Start::Default,
                Start::Priority,
                Start::Flex
            ]),
            millis().prop_map(Start::Within),
        ],
        of(bps()),
        requirements(),
        select(Dialect::ALL.to_vec()),
        vec("[a-z]{1,8}", 0..3),
    );
    let counts = (
        any::<[u16; 3]>(),
        tokens(),
        select(TextClass::ALL.to_vec()),
        any::<[u16; Family::ALL.len()]>(),
    );
    let vectors = (
        vec(-1e30f32..1e30, 0..70),
        select(EncoderId::ALL.to_vec()),
        vec(any::<i8>(), DIMENSIONS),
    );
    (caller, wishes, counts, vectors).prop_map(|(caller, wishes, counts, vectors)| {
        let (route, key, slice, tags) = caller;
        let (class, stream, start, min_quality, requirements, dialect, own_keys) = wishes;
        let ([turns, images, tool_count], o200k, text_class, permille) = counts;
        let ratios = Ratios::recorded(&permille, text_class);
        let (features, encoder, encoding) = vectors;
        Facts {
            route,
            own_keys: own_keys
                .into_iter()
                .map(|id| ProviderId::new(&id))
                .collect(),
            kept_by: (turns % 2 == 1).then_some(Account(o200k.0)),
            dialect,
            key,
            slice,
            tags,
            class,
            stream,
            start,
            min_quality,
            requirements,
            turns,
            images,
            tool_count,
            o200k,
            text_class,
            ratios,
            features: Features::of(&features),
            encoder,
            encoding: Encoding(encoding.try_into().unwrap()),
        }
    })
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![
        Just(Why::BestValue),
        Just(Why::CheapestAboveFloor),
        Just(Why::Guarded),
        select(Abstention::ALL.to_vec()).prop_map(Why::Default),
        name::<RuleId>().prop_map(Why::Pinned),
        Just(Why::Cached),
        Just(Why::Explored),
        Just(Why::OnlyOne),
        Just(Why::MayWait),
        select(Cause::ALL.to_vec()).prop_map(Why::Overflowed),
    ]
}

fn removal() -> impl Strategy<Value = Removal> {
    prop_oneof![
        name::<RuleId>().prop_map(Removal::Rule),
        select(Need::ALL.to_vec()).prop_map(Removal::Lacks),
        (tokens(), tokens()).prop_map(|(needs, has)| Removal::ContextTooSmall { needs, has }),
        (tokens(), tokens()).prop_map(|(needs, has)| Removal::OutputTooShort { needs, has }),
        select(Tier::ALL.to_vec()).prop_map(Removal::OtherTier),
        bps().prop_map(Removal::HardlyInTime),
        Just(Removal::NotWorthWaiting),
        Just(Removal::NoPrice),
        Just(Removal::NoQuality),
        Just(Removal::Shut),
        Just(Removal::Full),
        (money(), money()).prop_map(|(cost, max)| Removal::TooDear { cost, max }),
        (millis(), millis()).prop_map(|(first_token, max)| Removal::TooSlow { first_token, max }),
        (bps(), bps()).prop_map(|(quality, min)| Removal::BelowMinimum { quality, min }),
        Just(Removal::PlanFull),
        Just(Removal::KeptForOverflow),
        (money(), money()).prop_map(|(spent, max)| Removal::OverflowSpent { spent, max }),
    ]
}

fn considered() -> impl Strategy<Value = Considered> {
    let fate = prop_oneof![
        why().prop_map(decide::Verdict::Chosen),
        any::<u8>().prop_map(decide::Verdict::Fallback),
        removal().prop_map(decide::Verdict::Removed),
    ];
    let names = (name(), name());
    let figures = (
        of(bps()),
        of(bps()),
        of(money()),
        tokens(),
        millis(),
        millis(),
    );
    (names, figures, any::<i64>(), fate).prop_map(|((lane, model), figures, utility, verdict)| {
        let (quality, quality_low, cost, output, first_token, total) = figures;
        Considered {
            lane,
            model,
            quality,
            quality_low,
            cost,
            output,
            first_token,
            total,
            utility,
            verdict,
        }
    })
}

fn decision() -> impl Strategy<Value = Decision> {
    let step = (name(), millis()).prop_map(|(lane, give_up)| Step { lane, give_up });
    let lists = (
        vec(step, 0..4),
        vec(considered(), 0..5),
        vec(select(Limit::RELAXED_IN_ORDER.to_vec()), 0..3),
    );
    let drawn = (
        of(select(Abstention::ALL.to_vec())),
        any::<bool>(),
        any::<u32>(),
    );
    (name(), lists, drawn, money()).prop_map(|(route, lists, drawn, baseline_cost)| {
        let (plan, trail, relaxed) = lists;
        let (abstention, explored, propensity) = drawn;
        Decision {
            route,
            plan,
            trail,
            abstention,
            explored,
            propensity: Ppm(propensity),
            baseline_cost,
            relaxed,
        }
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let results = select(AttemptResult::ALL.to_vec());
    (name(), millis(), millis(), results, of(any::<u16>())).prop_map(
        |(lane, start, end, result, status)| Attempt {
            lane,
            start,
            end,
            result,
            status,
        },
    )
}

fn state() -> impl Strategy<Value = LaneState> {
    let gates = select(Gate::ALL.to_vec());
    let starts = of(any::<u64>().prop_map(Starts::from_bits));
    let state = (gates, any::<u32>(), of(millis()), of(any::<u32>()), starts);
    let spill = (any::<u32>(), money(), money(), tokens());
    (state, spill).prop_map(|(state, (waiting, spent, overflowed, cached))| {
        let (gate, in_flight, first_token, per_token_us, starts) = state;
        LaneState {
            gate,
            in_flight,
            waiting,
            first_token,
            per_token_us,
            starts,
            spent,
            overflowed,
            cached,
        }
    })
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    let identity = (
        any::<[u8; 16]>(),
        any::<u64>(),
        name::<ProxyId>(),
        any::<u64>(),
    );
    let course = (
        facts(),
        vec((name(), state()), 0..3),
        of(decision()),
        vec(attempt(), 0..3),
        select(Ending::ALL.to_vec()),
        any::<u16>(),
    );
    let served = (of(name()), of(name()), of(select(Tier::ALL.to_vec())));
    let usage = (any::<[u32; 5]>(), any::<bool>());
    let figures = (money(), money(), of(millis()), millis());
    (identity, course, served, usage, figures).prop_map(
        |(identity, course, served, usage, figures)| {
            let (id, at, proxy, table) = identity;
            let (facts, conditions, decision, attempts, ending, status) = course;
            let (served, served_model, served_tier) = served;
            let ([input, cache_read, cache_write, output, reasoning], reported) = usage;
            let (cost, baseline_cost, first_token, total) = figures;
            Outcome {
                id: RequestId(id),
                at: UnixMillis(at),
                proxy,
                table: TableVersion(table),
                facts,
                conditions,
                decision,
                attempts,
                ending,
                status,
                served,
                served_model,
                served_tier,
                usage: Usage {
                    input: Tokens(input),
                    cache_read: Tokens(cache_read),
                    cache_write: Tokens(cache_write),
                    output: Tokens(output),
                    reasoning: Tokens(reasoning),
                },
                usage_source: if reported {
                    UsageSource::Reported
                } else {
                    UsageSource::Estimated
                },
                cost,
                baseline_cost,
                first_token,
                total,
            }
        },
    )
}

pub(super) fn verdict() -> impl Strategy<Value = Verdict> {
    let sources = select(VerdictSource::ALL.to_vec());
    (any::<[u8; 16]>(), sources, bps(), any::<u64>()).prop_map(|(request, source, score, at)| {
        Verdict {
            request: RequestId(request),
            source,
            score,
            at: UnixMillis(at),
        }
    })
}

pub(super) fn audit() -> impl Strategy<Value = Audit> {
    let answer = (name(), bps(), tokens(), tokens(), of(money()), of(millis())).prop_map(
        |(model, score, input, output, cost, latency)| Answer {
            model,
            score,
            input,
            output,
            cost,
            latency,
        },
    );
    let split = of(select(vec![Split::Train, Split::Test]));
    (text(), any::<u64>(), split, facts(), vec(answer, 0..4)).prop_map(
        |(id, at, split, facts, answers)| Audit {
            id,
            at: UnixMillis(at),
            split,
            facts,
            answers,
        },
    )
}
