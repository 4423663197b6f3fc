//! Single decisions, and what they must be.

use super::*;

#[test]
fn a_rule_that_pins_wins_and_the_rest_stay_as_fallbacks() {
    let rule = Rule {
        id: "legal-to-best".into(),
        when: vec![Match::Tag {
            name: "team".into(),
            value: "legal".into(),
        }],
        then: Action::Pin("p0:m0/standard".into()),
    };
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![rule]);
    let mut facts = facts(false, 10);
    let free = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(free.plan[0].lane.as_str(), "p0:m2/standard");
    facts.tags = vec![("team".into(), "legal".into())];
    let pinned = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(pinned.plan[0].lane.as_str(), "p0:m0/standard");
    assert_eq!(pinned.plan.len(), 3);
    assert_eq!(
        pinned.plan[1].lane.as_str(),
        "p1:m1/standard",
        "another provider comes first"
    );
}

#[test]
fn of_several_pins_the_first_rule_wins() {
    let pin = |id: &str, lane: &str| Rule {
        id: id.into(),
        when: vec![],
        then: Action::Pin(lane.into()),
    };
    let rules = vec![
        pin("first", "p1:m1/standard"),
        pin("second", "p0:m0/standard"),
    ];
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, rules);
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(
        decision.chosen().unwrap().verdict,
        Verdict::Chosen(Why::Pinned("first".into()))
    );
}

#[test]
fn relaxing_one_limit_leaves_the_others_standing() {
    let mut draft = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    draft.routes[0].first_token_max = Some(Millis(1));
    let table = Table::build(draft).unwrap();
    let facts = Facts {
        min_quality: Some(Bps::new(8_500)),
        ..facts(false, 10)
    };
    let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(decision.relaxed, vec![Limit::Latency]);
    assert_eq!(
        decision.chosen().unwrap().model.as_str(),
        "m0",
        "only m0 has the quality asked for"
    );
}

#[test]
fn exploring_stays_within_the_guard() {
    let spec = |quality| ModelSpec {
        quality,
        rate: 1,
        tools: true,
        priced: true,
        context: 100_000,
    };
    let mut draft = table(
        &[spec(9_000), spec(8_700)],
        Choice::Multiplier(0),
        10_000,
        vec![],
    )
    .draft()
    .clone();
    draft.routes[0].guard = Bps::new(100);
    let table = Table::build(draft).unwrap();
    for draw in 0..200u64 {
        let draw = Draw(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let decision =
            decide(&table, &facts(false, 10), &Conditions::default(), NOW, draw).unwrap();
        assert_eq!(decision.chosen().unwrap().model.as_str(), "m0");
    }
}

#[test]
fn where_no_quality_is_known_the_default_serves_and_not_the_cheapest() {
    let mut draft = table(&two(), Choice::Floor(Bps::new(9_500)), 0, vec![])
        .draft()
        .clone();
    draft.models.iter_mut().for_each(|model| model.prior = None);
    let table = Table::build(draft).unwrap();
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(
        decision.chosen().unwrap().verdict,
        Verdict::Chosen(Why::Default(Abstention::NotTrained))
    );
    assert_eq!(decision.chosen().unwrap().lane.as_str(), "p0:m0/standard");
}

#[test]
fn a_whole_answer_has_time_to_be_written() {
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let give_up = |stream| {
        let facts = Facts {
            stream,
            ..facts(false, 10)
        };
        let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
        decision
            .plan
            .iter()
            .map(|step| step.give_up.0)
            .collect::<Vec<u64>>()
    };
    assert_eq!(give_up(true), [15_000, 22_500, 30_000]);
    // 100 tokens at 15 ms, ten times over, for each lane up to its own.
    assert_eq!(give_up(false), [30_000, 52_500, 75_000]);
}

#[test]
fn fallbacks_visit_every_failure_domain_before_one_twice() {
    let spec = |quality, rate| ModelSpec {
        quality,
        rate,
        tools: true,
        priced: true,
        context: 100_000,
    };
    // p0 serves m0, m2, m4; p1 serves m1, m3.
    let specs = [
        spec(9_000, 5),
        spec(8_000, 1),
        spec(8_900, 5),
        spec(7_000, 1),
        spec(8_800, 5),
    ];
    let table = table(&specs, Choice::Multiplier(0), 0, vec![]);
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    let plan: Vec<&str> = decision
        .plan
        .iter()
        .map(|step| step.lane.as_str())
        .collect();
    assert_eq!(plan, ["p0:m0/standard", "p1:m1/standard", "p0:m2/standard"]);
}

#[test]
fn a_models_own_name_is_a_route_that_pins_it() {
    let mut facts = facts(false, 10);
    facts.route = Some("m1".into());
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(decision.plan.len(), 1);
    assert_eq!(decision.chosen().unwrap().model.as_str(), "m1");
}

#[test]
fn refusals_say_why() {
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let mut unknown = facts(false, 10);
    unknown.route = Some("nope".into());
    assert_eq!(
        decide(&table, &unknown, &Conditions::default(), NOW, Draw(0)),
        Err(Refusal::UnknownRoute("nope".into()))
    );
    let long = facts(false, 1_000_000);
    let refusal = decide(&table, &long, &Conditions::default(), NOW, Draw(0)).unwrap_err();
    assert!(refusal.to_string().contains("takes 100000"), "{refusal}");
    let shut = LaneState {
        gate: Gate::Shut,
        ..LaneState::default()
    };
    let conditions = Conditions {
        lanes: vec![shut; 3],
    };
    let refusal = decide(&table, &facts(false, 10), &conditions, NOW, Draw(0)).unwrap_err();
    assert!(matches!(refusal, Refusal::AllShut(lanes) if lanes.len() == 3));
}

#[test]
fn a_limit_that_nothing_meets_is_relaxed_and_said() {
    let mut table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    table.routes[0].max_cost = Some(NanoUsd(1));
    let table = Table::build(table).unwrap();
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(decision.relaxed, vec![Limit::Cost]);
}

#[test]
fn exploring_happens_at_its_share_and_says_its_odds() {
    let near = vec![
        ModelSpec {
            quality: 9_000,
            rate: 1,
            tools: true,
            priced: true,
            context: 100_000,
        },
        ModelSpec {
            quality: 8_800,
            rate: 1,
            tools: true,
            priced: true,
            context: 100_000,
        },
    ];
    let table = table(&near, Choice::Multiplier(0), 1_000, vec![]);
    let runs = 20_000u64;
    let mut explored = 0;
    for i in 0..runs {
        let id = RequestId(
            u128::from(i)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                .to_be_bytes(),
        );
        let decision = decide(
            &table,
            &facts(false, 10),
            &Conditions::default(),
            NOW,
            Draw::of(id),
        )
        .unwrap();
        explored += u64::from(decision.explored);
        let expected = if decision.explored { 0.0339 } else { 0.9661 };
        assert!((decision.propensity.share() - expected).abs() < 0.001);
    }
    let share = explored as f64 / runs as f64;
    assert!((share - 0.0339).abs() < 0.005, "{share}");
}

/// The cheapest model is also to be had at twice the price, with a cache that is cheap to read.
fn with_a_twin() -> (Table, usize) {
    let mut draft = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    let upstream = draft.upstreams.iter().find(|u| u.model.as_str() == "m2");
    let mut upstream = upstream.unwrap().clone();
    let lane = draft.lanes.iter().find(|lane| lane.upstream == upstream.id);
    let mut lane = lane.unwrap().clone();
    (upstream.id, upstream.provider) = ("p9:m2".into(), "p9".into());
    (lane.id, lane.upstream) = ("p9:m2/standard".into(), upstream.id.clone());
    let rates = &mut lane.price.as_mut().unwrap().rates;
    rates.input = NanoUsdPerMtok(2 * rates.input.0);
    rates.cache_read = Some(NanoUsdPerMtok(rates.input.0 / 20));
    draft.upstreams.push(upstream);
    draft.lanes.push(lane);
    let table = Table::build(draft).unwrap();
    let twin = table.lane_index(&"p9:m2/standard".into()).unwrap();
    (table, twin)
}

#[test]
fn a_model_that_an_alarm_named_is_not_chosen_by_its_quality() {
    let removed = |choice: Choice, suspended: &[&str]| {
        let mut draft = table(&two(), choice, 0, vec![]).draft().clone();
        draft.suspended = suspended.iter().map(|id| ModelId::new(id)).collect();
        let table = Table::build(draft).unwrap();
        let facts = facts(false, 10);
        let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
        let removed = decision
            .trail
            .iter()
            .filter(|line| line.verdict == Verdict::Removed(Removal::NoQuality));
        removed
            .map(|line| line.model.to_string())
            .collect::<Vec<_>>()
    };
    let learnt = Choice::Multiplier(1);
    assert_eq!(removed(learnt, &[]), [""; 0]);
    assert_eq!(removed(learnt, &["m2"]), ["m2"]);
    // The route's default is what is taken where nothing is known.
    assert_eq!(removed(learnt, &["m0", "m1", "m2"]), ["m1", "m2"]);
    // A floor says itself what models are worth.
    assert_eq!(removed(Choice::Floor(Bps::ZERO), &["m2"]), [""; 0]);
}

#[test]
fn a_warm_cache_chooses_between_the_lanes_of_one_model() {
    let (table, twin) = with_a_twin();
    let facts = facts(false, 10_000);
    let decided = |lane: usize, cached: u32| {
        let mut conditions = Conditions {
            lanes: vec![LaneState::default(); table.draft().lanes.len()],
        };
        conditions.lanes[lane].cached = Tokens(cached);
        decide(&table, &facts, &conditions, NOW, Draw(0)).unwrap()
    };
    let cold = decided(twin, 0);
    assert_eq!(cold.plan[0].lane.as_str(), "p0:m2/standard");
    let hardly = decided(twin, 2_000);
    assert_eq!(hardly.plan[0].lane, cold.plan[0].lane);
    let warm = decided(twin, 9_000);
    assert_eq!(warm.plan[0].lane.as_str(), "p9:m2/standard");
    assert_eq!(warm.chosen().unwrap().verdict, Verdict::Chosen(Why::Cached));
    // What is written down and reserved is what it costs if the cache gives nothing.
    let cost = |decision: &Decision| decision.chosen().unwrap().cost.unwrap();
    assert!(cost(&warm) > cost(&cold));
    // Another model is not chosen for its cache.
    let other = table.lane_index(&"p0:m0/standard".into()).unwrap();
    assert_eq!(decided(other, u32::MAX).plan, cold.plan);
}
